# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803  (compile-time constants of a kernel are capitals)
"""logits[i, t] = −inf where bit t of row i's mask is 0, in place. Grammar constraints, one mask a draft node.

Shapes
    logits  [n, vocab]           fp16, bf16 or fp32, written in place
    words   [n, ⌈vocab / 32⌉]    int32; bit t % 32 of word t // 32, 1 = allowed (the layout grammar libraries use)
"""

from __future__ import annotations

import torch
from torch import Tensor

from holefill.kernels.jit import cdiv, jit, on_device_of, tl

BLOCK = 4096
WORD = 32


def pack(allowed: Tensor) -> Tensor:
    """bool [n, vocab] → int32 words; bits past the vocabulary are 0."""
    n, vocab = allowed.shape
    padded = torch.zeros(n, cdiv(vocab, WORD) * WORD, dtype=torch.int64, device=allowed.device)
    padded[:, :vocab] = allowed
    words = (padded.view(n, cdiv(vocab, WORD), WORD) << torch.arange(WORD, device=allowed.device)).sum(-1)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).int()


def reference(logits: Tensor, words: Tensor) -> Tensor:
    """A masked copy."""
    token = torch.arange(logits.shape[1], device=logits.device)
    allowed = (words[:, token // WORD] >> (token % WORD)) & 1 == 1
    return logits.masked_fill(~allowed, float("-inf"))


@jit
def _token_mask_kernel(logits, words, vocab, word_count, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    token = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = token < vocab
    word = tl.load(words + row * word_count + token // 32, mask=inside, other=0)
    forbidden = ((word >> (token % 32)) & 1) == 0
    tl.store(logits + row * vocab + token, float("-inf"), mask=inside & forbidden)  # allowed logits are never read


def token_mask(logits: Tensor, words: Tensor) -> None:
    """Both contiguous. Raises ValueError where the words do not cover the vocabulary."""
    n, vocab = logits.shape
    if words.shape != (n, cdiv(vocab, WORD)):
        raise ValueError(f"a mask of {tuple(words.shape)} words does not fit logits of {(n, vocab)}")
    if n:
        with on_device_of(logits):
            _token_mask_kernel[(n, cdiv(vocab, BLOCK))](logits, words, vocab, words.shape[1], BLOCK=BLOCK)
