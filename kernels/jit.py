"""Triton where it is installed; elsewhere the kernel files still import, for their references, and cannot launch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["INSTALLED", "cdiv", "interpreting", "jit", "on_device_of", "power_of_two", "tl"]

try:
    import triton
    import triton.language as tl

    INSTALLED = True
except ImportError:
    triton = tl = None
    INSTALLED = False


def jit(function: Callable[..., Any]) -> Any:
    """``triton.jit``, or the undecorated function, which nothing calls."""
    return triton.jit(function) if INSTALLED else function


def interpreting() -> bool:
    """Whether kernels run on the CPU, one program after the other: decided when triton was first imported."""
    return INSTALLED and type(_probe).__name__ == "InterpretedFunction"


def on_device_of(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current device, which need not be the tensor's. Nothing for CPU tensors."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


def power_of_two(n: int) -> int:
    """The next one, as ``tl.arange`` needs; 1 for 0."""
    return 1 << max(n - 1, 0).bit_length()


def _probe() -> None: ...


_probe = jit(_probe)
