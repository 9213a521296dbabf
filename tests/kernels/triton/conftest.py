"""Kernel tests run in a process of their own, because Triton decides at its first import how kernels run.

    TRITON_INTERPRET=1 pytest tests/kernels/triton      interpreter, no GPU
    pytest tests/kernels/triton                         natively, where there is a CUDA device

Without either nothing is collected here; a full run starts the first form (tests/kernels/test_triton.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    import numpy as np
    import triton.language as tl
    from triton.runtime.interpreter import TensorHandle

    Operation = Callable[..., TensorHandle]

INTERPRET = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRET else "cuda"

collect_ignore_glob = [] if INTERPRET or torch.cuda.is_available() else ["test_*.py"]


def repair_bf16() -> None:
    """The interpreter keeps bf16 as raw 16-bit integers and computes on those without an error (triton 3.6 – 3.9).

    So dots are done on widened operands, as a GPU does, and any other bf16 arithmetic raises: kernels must widen first.
    It also cuts fp32 to bf16 where a GPU rounds to the nearest even: twice the error, always towards zero.
    """
    import triton.language as tl
    from triton.runtime import interpreter

    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    dot, binary, unary = builder.create_dot, builder.binary_op, builder.unary_op
    convert: Callable[..., np.ndarray] = interpreter._convert_float

    def is_bf16(x: object) -> bool:
        return isinstance(x, handle) and x.dtype.scalar == tl.bfloat16

    def widened(x: TensorHandle) -> TensorHandle:
        if not is_bf16(x):
            return x
        data = convert(x.data, tl.bfloat16, tl.float32, None).view("float32")
        return handle(data, tl.float32)

    def checked(function: Operation) -> Operation:
        def call(self: object, *arguments: object) -> TensorHandle:
            if any(is_bf16(argument) for argument in arguments):
                raise TypeError("bf16 arithmetic under the interpreter: widen to fp32 first")
            return function(self, *arguments)

        return call

    def rounded(data: np.ndarray, source: tl.dtype, target: tl.dtype, mode: object) -> np.ndarray:
        if (source, target) != (tl.float32, tl.bfloat16):
            return convert(data, source, target, mode)
        return torch.tensor(data.view("float32")).bfloat16().view(torch.int16).numpy().view("uint16")

    interpreter._convert_float = rounded
    builder.create_dot = lambda self, a, b, d, *rest: dot(self, widened(a), widened(b), d, *rest)
    builder.binary_op, builder.unary_op = checked(binary), checked(unary)


if INTERPRET:
    repair_bf16()


@pytest.fixture(scope="session")
def device() -> str:
    return DEVICE


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator(device=DEVICE).manual_seed(7)
