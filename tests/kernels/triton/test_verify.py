"""Verification by kernels commits what torch's commits: greedy, sampled, masked; one forbidden bit changes it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from holefill.model.request import Sampling
from holefill.model.spec import on_gpu
from holefill.model.spec.top import top_k
from holefill.model.spec.tree import DraftTree
from holefill.model.spec.verify import verify

VOCAB = 130
SAMPLINGS = [
    Sampling(),
    Sampling(temperature=0.8, seed=1),
    Sampling(temperature=1.2, top_k=5, seed=2),
    Sampling(temperature=1.0, top_p=0.7, seed=3),
    Sampling(temperature=1.0, top_k=9, top_p=0.6, seed=4),
]
TREE = DraftTree((3, 4, 5, 6, 7), (-1, 0, 0, 1, 3), (0, 1, 1, 2, 3), (1.0,) * 5, ("",) * 5, (0,) * 5)


@pytest.fixture
def by_kernels(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Where the tests run, the interpreter's CPU or a GPU."""
    monkeypatch.setattr(on_gpu, "serves", lambda logits: True)
    return monkeypatch


def logits(generator: torch.Generator) -> torch.Tensor:
    """The first path of the tree is likely, so that verification goes down it."""
    drawn = torch.randn(5, VOCAB, generator=generator, device=generator.device)
    for row, token in ((0, 4), (1, 6), (3, 7)):
        drawn[row, token] = 4.0
    return drawn


@pytest.mark.parametrize(("sampling", "masked"), [*((one, False) for one in SAMPLINGS), (SAMPLINGS[1], True)])
def test_verify(sampling: Sampling, masked: bool, by_kernels: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    target = logits(generator)
    mask = torch.rand(5, VOCAB, generator=generator, device=generator.device) < 0.7 if masked else None
    if mask is not None:
        mask[0, 4] = True
    for position in range(2):
        ours = verify(TREE, target, replace(sampling, seed=sampling.seed + position), position=position, mask=mask)
        with by_kernels.context() as patch:
            patch.setattr(on_gpu, "serves", lambda logits: False)
            other = replace(sampling, seed=sampling.seed + position)
            expected = verify(TREE, target, other, position=position, mask=mask)
        assert (ours.path, ours.tokens) == (expected.path, expected.tokens)


@pytest.mark.usefixtures("by_kernels")
def test_one_forbidden_token_changes_the_verdict(generator: torch.Generator) -> None:
    target = logits(generator)
    mask = torch.ones(5, VOCAB, dtype=torch.bool, device=generator.device)
    assert verify(TREE, target, Sampling(), mask=mask).path[:3] == (0, 1, 3)
    mask[0, 4] = False
    assert verify(TREE, target, Sampling(), mask=mask).path == (0,)


def test_top_tokens_are_those_of_torch(generator: torch.Generator) -> None:
    target = logits(generator)
    ids, log_probs = on_gpu.top(target)
    values, expected = top_k(target, 8)
    assert torch.equal(ids.long(), expected)
    torch.testing.assert_close(log_probs.softmax(-1), values.softmax(-1))
