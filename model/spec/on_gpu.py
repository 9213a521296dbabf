"""Which token, on a GPU: one launch for all nodes of a tree, where torch takes several passes over the vocabulary.

The law is that of ``model.spec.verify``; only tokens exactly equal to the last one that ``top_p`` keeps are treated
otherwise (all are kept), and sums are fp32.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence

import torch

from holefill.kernels.dispatch import triton_obstacle
from holefill.model.request import Sampling

log = logging.getLogger(__name__)


def serves(logits: torch.Tensor) -> bool:
    """Whether these kernels run where the logits are."""
    return logits.is_cuda and _serves(logits.device)


@functools.cache
def _serves(device: torch.device) -> bool:
    obstacle = triton_obstacle(device, asked=False)
    log.info("token choice on %s: %s", device, "triton" if obstacle is None else f"torch ({obstacle})")
    return obstacle is None


def top(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The 8 likeliest of every row: ids and log-probabilities [n, 8]."""
    from holefill.kernels import top as kernel

    return kernel.top(logits.contiguous())


def draw(logits: torch.Tensor, sampling: Sampling, noise: Sequence[float]) -> torch.Tensor:
    """A token of every row of its law under ``sampling``, at quantile ``noise`` [n] of it; int64 [n]."""
    from holefill.kernels import sample as kernel

    n, vocab = logits.shape

    def every(value: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.full((n,), value, dtype=dtype, device=logits.device)

    return kernel.sample(
        logits.contiguous(),
        every(sampling.temperature, torch.float32),
        every(sampling.top_k or vocab, torch.int32),
        every(sampling.top_p, torch.float32),
        torch.tensor(noise, dtype=torch.float32).to(logits.device),
    )


def masked(logits: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """A copy with −inf where ``allowed`` (bool [n, vocab], on any device) is not; an eighth of it is moved."""
    from holefill.kernels import token_mask as kernel

    copy = logits.clone(memory_format=torch.contiguous_format)
    kernel.token_mask(copy, kernel.pack(allowed).to(logits.device))
    return copy
