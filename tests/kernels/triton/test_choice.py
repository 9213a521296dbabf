"""Top tokens and sampling equal their references; every kept token is drawn over exactly its share of [0, 1)."""

from __future__ import annotations

import pytest
import torch

from holefill.kernels import sample, top

LOG_PROB_TOLERANCE = 64 * torch.finfo(torch.float32).eps
"""fp32 sums of up to a few thousand exponentials, relative to the log-probability."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("n", "vocab"), [(0, 5), (1, 1), (3, 17), (2, 130), (2, 4129)])
def test_top(dtype: torch.dtype, n: int, vocab: int, generator: torch.Generator) -> None:
    logits = (torch.randn(n, vocab, generator=generator, device=generator.device) * 4).to(dtype)
    logits[:, 5:12] = 3.0  # equals, in order of their ids
    logits[:, 14::3] = float("-inf")
    ids, log_probs = top.top(logits)
    expected_ids, expected = top.reference(logits)
    assert torch.equal(ids, expected_ids)
    torch.testing.assert_close(log_probs.double(), expected, rtol=LOG_PROB_TOLERANCE, atol=LOG_PROB_TOLERANCE)
    if vocab > top.TOP and n:
        lost = logits.clone()
        lost[0, int(expected_ids[0, -1])] = float("-inf")
        assert not torch.equal(top.top(lost)[0], expected_ids)
        changed = logits.clone()
        changed[0, expected_ids[0].long()] += 0.5
        with pytest.raises(AssertionError):
            torch.testing.assert_close(top.top(changed)[1].double(), expected, rtol=LOG_PROB_TOLERANCE, atol=1e-5)


def test_a_row_of_nothing_has_no_top(device: str) -> None:
    ids, log_probs = top.top(torch.full((1, 20), float("-inf"), device=device))
    assert ids.eq(-1).all()
    assert log_probs.isneginf().all()


CUTS = [(1.0, 130, 1.0), (0.7, 130, 0.6), (1.3, 5, 1.0), (1.0, 1, 1.0), (1.0, 20, 0.9), (0.2, 130, 1e-6)]


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), CUTS)
def test_every_kept_token_is_drawn_over_its_share(
    temperature: float, top_k: int, top_p: float, generator: torch.Generator
) -> None:
    device = generator.device
    logits = torch.randn(130, generator=generator, device=device) * 2
    logits[::7] = float("-inf")
    probs = sample.kept_probabilities(logits, temperature, top_k, top_p)
    end = probs.cumsum(0)
    at = (probs > 1e-5).nonzero()[:, 0][:24]  # wider than fp32's error of a sum
    inside = torch.stack([end[at] - probs[at] * share for share in (0.95, 0.05)]).flatten()
    expected = at.repeat(2)

    def full(value: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.full((len(inside),), value, dtype=dtype, device=device)

    arguments = (full(temperature, torch.float32), full(top_k, torch.int32), full(top_p, torch.float32))
    rows = logits.expand(len(inside), -1).contiguous()
    drawn = sample.sample(rows, *arguments, inside.float())
    assert torch.equal(drawn, expected)
    assert torch.equal(sample.reference(rows, *arguments, inside.float()), expected)


def test_each_row_has_its_own_settings(generator: torch.Generator) -> None:
    device = generator.device
    logits = torch.randn(3, 17, generator=generator, device=device).half()
    temperature = torch.tensor([1.0, 0.5, 2.0], device=device)
    top_k = torch.tensor([17, 1, 3], dtype=torch.int32, device=device)
    top_p = torch.tensor([0.5, 1.0, 0.99], device=device)
    uniform = torch.tensor([0.3, 0.9, 0.6], device=device)
    drawn = sample.sample(logits, temperature, top_k, top_p, uniform)
    assert torch.equal(drawn, sample.reference(logits, temperature, top_k, top_p, uniform))
    assert drawn[1] == logits[1].argmax()
    assert sample.sample(logits[:0], temperature[:0], top_k[:0], top_p[:0], uniform[:0]).shape == (0,)


def test_equal_tokens_at_the_cut_are_all_kept(device: str) -> None:
    logits = torch.tensor([[2.0, 1.0, 1.0, 0.0, 1.0]], device=device).expand(4, -1).contiguous()
    ones = torch.ones(4, device=device)
    uniform = torch.tensor([0.2, 0.5, 0.7, 0.95], device=device)
    drawn = sample.sample(logits, ones, (2 * ones).int(), ones, uniform)
    assert drawn.tolist() == [0, 1, 2, 4]


def test_a_wrong_cut_is_noticed(generator: torch.Generator) -> None:
    """One token fewer kept: the shares of all others grow, and some draw changes."""
    device = generator.device
    logits = torch.randn(1, 17, generator=generator, device=device).expand(16, -1).contiguous()
    ones, uniform = torch.ones(16, device=device), torch.arange(16, device=device) / 16
    expected = sample.reference(logits, ones, (5 * ones).int(), ones, uniform)
    assert not torch.equal(sample.sample(logits, ones, (4 * ones).int(), ones, uniform), expected)
