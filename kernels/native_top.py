"""The 8 likeliest tokens of every row on the CPU, in one pass; what ``kernels.top`` is on a GPU.

Shapes
    logits     [n, vocab]      fp32
    ids        [n, 8]          int32, likeliest first, the lowest id first among equals; −1 where there is none
    log_probs  [n, 8]          fp32, over the whole row; −inf where there is none

V = 151,936, one Zen 5 core: see LOG.md; torch took an argmax, a top-k and a log-softmax for it.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import torch
from torch import Tensor

from holefill.kernels.library import library, threads

TOP = 8


def top(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(ids, log_probs). Raises ValueError for what ``serves`` does not take."""
    kernel = _kernel()
    if kernel is None or not serves(logits):
        raise ValueError(f"no native kernel here for the top of {logits.dtype} {tuple(logits.shape)}: use torch")
    n, vocab = logits.shape
    ids, log_probs = torch.empty((n, TOP), dtype=torch.int32), torch.empty((n, TOP))
    kernel(logits.data_ptr(), n, vocab, logits.stride(0), ids.data_ptr(), log_probs.data_ptr(), threads())
    return ids, log_probs


def serves(logits: Tensor) -> bool:
    """Whether it runs here (built, and AVX-512) for this dtype, place and layout."""
    fits = logits.dim() == 2 and logits.dtype == torch.float32 and logits.device.type == "cpu"
    return fits and logits.stride(1) == 1 and _kernel() is not None


@functools.cache
def _kernel() -> Callable[..., None] | None:
    native = library()
    if native is None or not native.holefill_top_supported():
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    kernel: Callable[..., None] = native.holefill_top
    native.holefill_top.argtypes = [pointer, number, number, number, pointer, pointer, ctypes.c_int]
    native.holefill_top.restype = None
    return kernel
