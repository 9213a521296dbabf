"""Verification is lossless: greedy by path match, sampling by distribution tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from holefill.kernels import native_top
from holefill.kernels.top import reference
from holefill.model.request import Sampling
from holefill.model.spec.top import likeliest, top_k
from holefill.model.spec.tree import DraftTree, TreeBuilder
from holefill.model.spec.verify import distribution, draw, reject_siblings, uniform, verify

SAMPLES = 200_000
MAX_TOTAL_VARIATION = 0.01
VOCABULARY = 32
LOG_PROB_TOLERANCE = 64 * torch.finfo(torch.float32).eps
"""fp32 sums of a few thousand exponentials, relative to the log-probability."""


def small_tree() -> DraftTree:
    builder = TreeBuilder(0)
    a = builder.add(0, 3, 0.5, "t", 1)
    builder.add(0, 5, 0.3, "t", 1)
    builder.add(a, 5, 0.5, "t", 1)
    return builder.tree()


def one_hot(*tokens: int, size: int = 8) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(tokens), size).float() * 10


@pytest.mark.parametrize(
    ("best", "path", "tokens"),
    [
        ((3, 5, 0, 7), (0, 1, 3), (3, 5, 7)),
        ((5, 1, 2, 4), (0, 2), (5, 2)),
        ((6, 1, 1, 1), (0,), (6,)),
    ],
)
def test_greedy_takes_the_matching_path(best: tuple[int, ...], path: tuple[int, ...], tokens: tuple[int, ...]) -> None:
    logits = one_hot(*best)
    verdict = verify(small_tree(), logits, Sampling())
    assert (verdict.path, verdict.tokens) == (path, tokens)
    expected = [logits[node].log_softmax(-1)[token].item() for node, token in zip(path, tokens, strict=True)]
    assert verdict.logprobs == pytest.approx(expected, abs=1e-5)


def test_a_mask_changes_the_target_and_nothing_else() -> None:
    mask = torch.ones(4, 8, dtype=torch.bool)
    mask[0, 3] = False
    logits = one_hot(3, 5, 2, 7) + one_hot(5, 0, 0, 0) * 0.5
    assert verify(small_tree(), logits, Sampling(), mask=mask).tokens == (5, 2)


def chi(counts: np.ndarray, law: torch.Tensor) -> float:
    return float(np.abs(counts / counts.sum() - law.numpy()).sum() / 2)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_sibling_rejection_reproduces_the_target(temperature: float) -> None:
    """Siblings drawn without replacement from a draft law that disagrees with the target."""
    generator = torch.Generator().manual_seed(int(temperature * 10))
    target = torch.randn(VOCABULARY, generator=generator).div(temperature).softmax(-1).double()
    draft = torch.randn(VOCABULARY, generator=generator).softmax(-1).double()
    siblings = torch.multinomial(draft.expand(SAMPLES, -1), 3, generator=generator)
    noise = torch.rand(SAMPLES, 3, generator=generator, dtype=torch.double)
    accepted, residual = reject_siblings(target.expand(SAMPLES, -1), draft.expand(SAMPLES, -1), siblings, noise)
    drawn = torch.multinomial(residual, 1, generator=generator)[:, 0]
    chosen = torch.where(accepted >= 0, siblings.gather(1, accepted.clamp(min=0)[:, None])[:, 0], drawn)
    counts = np.bincount(chosen.numpy(), minlength=VOCABULARY)
    assert chi(counts, target) <= MAX_TOTAL_VARIATION
    assert 0.3 < float((accepted >= 0).double().mean()) < 1  # both branches were taken


def test_distribution_test_rejects_a_planted_fault() -> None:
    """Accepting without the residual (the usual mistake) must not pass."""
    generator = torch.Generator().manual_seed(3)
    target = torch.randn(VOCABULARY, generator=generator).softmax(-1).double()
    draft = torch.randn(VOCABULARY, generator=generator).softmax(-1).double()
    siblings = torch.multinomial(draft.expand(SAMPLES, -1), 3, generator=generator)
    noise = torch.rand(SAMPLES, 3, generator=generator, dtype=torch.double)
    accepted, _ = reject_siblings(target.expand(SAMPLES, -1), draft.expand(SAMPLES, -1), siblings, noise)
    drawn = torch.multinomial(target.expand(SAMPLES, -1), 1, generator=generator)[:, 0]
    chosen = torch.where(accepted >= 0, siblings.gather(1, accepted.clamp(min=0)[:, None])[:, 0], drawn)
    assert chi(np.bincount(chosen.numpy(), minlength=VOCABULARY), target) > MAX_TOTAL_VARIATION


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_inverse_law_draw_reproduces_the_target(temperature: float) -> None:
    """The draw ``verify`` makes for chosen drafts, over the noise of 2·10⁵ positions."""
    logits = torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(8))
    law = distribution(logits, Sampling(temperature=temperature))[0]
    noise = torch.tensor([uniform(11, position) for position in range(SAMPLES)], dtype=torch.double)
    chosen = torch.searchsorted(law.cumsum(-1), noise * law.sum(), right=True)
    assert [draw(law, float(u)) for u in noise[:500]] == chosen[:500].tolist()
    assert chi(np.bincount(chosen.numpy(), minlength=VOCABULARY), law) <= MAX_TOTAL_VARIATION


@pytest.mark.parametrize("sampled_draft", [False, True])
def test_tree_verification_reproduces_the_joint_law(sampled_draft: bool) -> None:
    """verify() itself: pairs of tokens over a two-level tree, V = 4, against the product of conditionals."""
    samples = 1_500
    vocabulary = 4
    generator = torch.Generator().manual_seed(2)
    table = torch.randn(
        vocabulary + 1, vocabulary, generator=generator
    )  # row t: logits after token t; last: at the root
    draft_law = torch.randn(vocabulary, generator=generator).softmax(-1).double()
    counts = np.zeros((vocabulary, vocabulary))
    draws = torch.multinomial(draft_law.expand(samples * 3, -1), 2, generator=generator).tolist()
    for sample in range(samples):
        first, second = draws[3 * sample] if sampled_draft else (1, 2)
        builder = TreeBuilder(0)
        nodes = [builder.add(0, first, 0.5, "t", 1), builder.add(0, second, 0.5, "t", 1)]
        below = draws[3 * sample + 1] if sampled_draft else (0, 3)
        for token in below:
            builder.add(nodes[0], token, 0.5, "t", 1)
        tree = builder.tree()
        logits = table[[vocabulary, *tree.token[1:]]]
        draft = draft_law.expand(len(tree), -1) if sampled_draft else None
        tokens = verify(tree, logits, Sampling(temperature=1.0, seed=sample), draft=draft).tokens
        if len(tokens) == 1:  # the next step, from the text so far
            step = verify(
                DraftTree.root(tokens[0]), table[[tokens[0]]], Sampling(temperature=1.0, seed=sample), position=1
            )
            tokens = (*tokens, *step.tokens)
        counts[tokens[0], tokens[1]] += 1
    law = table.double().softmax(-1)
    joint = law[vocabulary][:, None] * law[:vocabulary]
    assert (
        np.abs(counts / samples - joint.numpy()).sum() / 2 <= 0.045
    )  # 16 cells, 3,000 samples: mean 0.026, one in 10⁴ above


def test_same_seed_same_text_with_and_without_drafts() -> None:
    table = torch.randn(8, 8, generator=torch.Generator().manual_seed(4))
    for seed in range(200):
        sampling = Sampling(temperature=1.0, seed=seed)
        plain = [0]
        for position in range(6):
            plain += verify(DraftTree.root(plain[-1]), table[[plain[-1]]], sampling, position=position).tokens
        fast = [0]
        while len(fast) < len(plain):
            builder = TreeBuilder(fast[-1])
            parent = 0
            for token in ((fast[-1] + 1) % 8, (fast[-1] + 3) % 8):
                builder.add(0, token, 0.3, "t", 1)
            for token in range(8):
                builder.add(1, token, 0.1, "t", 1)
            tree = builder.tree()
            fast += verify(tree, table[list(tree.token)], sampling, position=len(fast) - 1 + parent).tokens
        assert fast[: len(plain)] == plain


def test_top_p_and_top_k_cut_the_law() -> None:
    logits = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0]])
    assert (distribution(logits, Sampling(temperature=1.0, top_k=2)) > 0).sum() == 2
    assert (distribution(logits, Sampling(temperature=1.0, top_p=0.7)) > 0).sum() == 2
    assert distribution(logits, Sampling(temperature=1.0, top_p=0.7)).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("vocabulary", [8, 100, 128, 1000, 4099])
def test_block_search_equals_torch(vocabulary: int) -> None:
    generator = torch.Generator().manual_seed(vocabulary)
    logits = torch.randn(5, vocabulary, generator=generator)
    values, indices = top_k(logits, 8)
    expected = logits.topk(8)
    assert torch.equal(values, expected.values)
    assert torch.equal(indices, expected.indices)
    coarse = logits.round()  # ties
    order = coarse.sort(descending=True, stable=True).indices[:, :8]
    assert torch.equal(top_k(coarse, 8)[1], order)


@pytest.mark.parametrize("vocabulary", [5, 8, 100, 128, 1000, 4099])
@pytest.mark.parametrize("native", [True, False])
def test_the_likeliest_with_ties_and_forbidden_tokens(
    vocabulary: int, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(native_top, "serves", lambda logits: False)
    generator = torch.Generator().manual_seed(vocabulary)
    logits = (torch.randn(6, vocabulary, generator=generator) * 3).round()
    logits[1, ::2] = logits[2, 1:] = logits[5] = float("-inf")
    top = likeliest(logits)
    ids, log_probs = reference(logits[:5])
    assert np.array_equal(top.ids[:5], ids.numpy())
    assert (top.ids[5] == -1).all()
    np.testing.assert_allclose(top.log_probs[:5], log_probs.numpy(), rtol=LOG_PROB_TOLERANCE, atol=LOG_PROB_TOLERANCE)
