"""A row's attention: right, and bitwise the same alone and among draft siblings."""

from __future__ import annotations

import random

import pytest
import torch

from holefill.kernels.row_attention import MAX_ROWS, PART, attend, key_parts, reference

HEADS, GROUP, DIM = 2, 7, 64


def random_parents(rng: random.Random, n: int) -> list[int]:
    return [-1, *(rng.randrange(node) for node in range(1, n))]


def ancestors(parents: list[int], node: int) -> list[int]:
    path = [node]
    while parents[path[-1]] >= 0:
        path.append(parents[path[-1]])
    return path[::-1]


@pytest.mark.parametrize("length", [16, 37, 120, 126, 127, 128, 190, 250, 300, 380, 510, 577, 900, 1150])
def test_a_row_is_bitwise_the_same_alone_and_in_any_tree(length: int) -> None:
    rng = random.Random(length)
    generator = torch.Generator().manual_seed(length)
    for n in (2, 3, 5, 8, 13, 17, 33, MAX_ROWS):
        parents = random_parents(rng, n)
        keys, values = torch.randn(2, HEADS, length + n, DIM, generator=generator)
        queries = torch.randn(HEADS, GROUP, n, DIM, generator=generator)
        depth = [len(ancestors(parents, node)) - 1 for node in range(n)]
        hidden = torch.ones(n, n, dtype=torch.bool)
        for node in range(n):
            hidden[node, ancestors(parents, node)] = False
        scores = torch.matmul(queries.reshape(HEADS, -1, DIM), keys.transpose(1, 2))
        scores.view(HEADS, GROUP, n, -1)[..., -n:].masked_fill_(hidden, float("-inf"))
        expected = reference(scores, values)
        out = attend(scores.clone(), values, key_parts(length, length + torch.tensor(depth)))
        assert torch.allclose(out, expected, atol=2e-5)
        for node in {1, n // 2, n - 1}:
            rows = [*range(length), *(length + step for step in ancestors(parents, node))]
            alone_keys, alone_values = keys[:, rows].contiguous(), values[:, rows].contiguous()
            alone_scores = torch.matmul(queries[:, :, node].contiguous(), alone_keys.transpose(1, 2))
            end = len(rows) - 1
            alone = attend(alone_scores, alone_values, key_parts(end, torch.tensor([end])))
            assert torch.equal(alone, out.view(HEADS, GROUP, n, DIM)[:, :, node])


def test_parts_cover_every_row_once() -> None:
    for length in (0, 1, PART - 1, PART, PART + 1, 1000):
        positions = length + torch.tensor([0, 1, 1, 2, 2, 3])
        seen = torch.zeros(length + len(positions))
        for part in key_parts(length, positions):
            seen[part.start : part.end] += 1.0 if part.member is None else part.member
        assert seen.eq(1).all()


def test_the_plain_form_fails_the_same_check() -> None:
    """Why this file exists; should torch ever pass, it may go."""
    generator = torch.Generator().manual_seed(0)
    differing = 0
    for length in range(40, 900, 20):
        values = torch.randn(HEADS, length + 8, DIM, generator=generator)
        scores = torch.randn(HEADS, GROUP, length + 8, generator=generator)
        scores[..., length : length + 7] = float("-inf")
        rows = [*range(length), length + 7]
        with_gap = torch.matmul(scores.softmax(-1), values)
        differing += not torch.equal(with_gap, torch.matmul(scores[..., rows].softmax(-1), values[:, rows]))
    assert differing > 0
