"""All layers of a decoder in one native call: what lies between two products costs no torch operation.

Shapes
    x             [n, hidden]                          float32, replaced by the result
    cos, sin      [n, 1, dim]                          float32, the sign of the rotation folded into sin
    keys, values  [layers, kv_heads, capacity, dim]    float32 or float16
    rows          [length + n]                         int32, the row of each token; the last n are written
    hidden        [n, n]                               bool, [i, j]: new row i does not see new row j; None is causal

The same operations as ``model.blocks`` on the native back end, but for the order of fp32 sums in a
norm. Rows do not know of each other, as in ``grouped_linear`` and ``native_attention``.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holefill.kernels.grouped_linear import AVX512_VNNI, GroupedStack, kernels
from holefill.kernels.library import library, threads
from holefill.kernels.native_attention import check_cache, check_rows
from holefill.kernels.native_attention import supports as supports_attention

_PARTS = 3
_NO_KERNEL, _STOPPED = 1, 2  # outcomes, as native/layers.h has them


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to a product: y += (x aᵀ) bᵀ for a [r, in], b [out, r]."""

    a: GroupedStack
    b: GroupedStack


NO_ADDITIONS: tuple[LowRank | None, ...] = (None, None, None, None)


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer; the memory of its tensors is used as it lies."""

    attn_norm: Tensor
    qkv: GroupedStack
    qkv_bias: Tensor | None
    o: GroupedStack
    mlp_norm: Tensor
    gate_up: GroupedStack
    down: GroupedStack
    additions: tuple[LowRank | None, ...] = NO_ADDITIONS
    """To each of ``matrices``."""

    def matrices(self) -> tuple[GroupedStack, ...]:
        return self.qkv, self.o, self.gate_up, self.down


@dataclass(frozen=True, slots=True)
class LayerShape:
    heads: int
    kv_heads: int
    head_dim: int
    eps: float


def supports(head_dim: int) -> bool:
    """Whether this machine runs it: built, AVX512-VNNI, and attention compiled for this head size."""
    found = kernels()
    return found is not None and found.isa >= AVX512_VNNI and supports_attention(head_dim)


class _Matrix(ctypes.Structure):
    _fields_ = (
        ("packed", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("out", "bits", "group", "affine")),
    )


class _Linear(ctypes.Structure):
    _fields_ = (
        ("parts", _Matrix * _PARTS),
        ("count", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("bias", ctypes.c_void_p),
    )


class _LowRank(ctypes.Structure):
    _fields_ = (("a", _Linear), ("b", _Linear))


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, _Linear) for name in ("qkv", "o", "gate_up", "down")),
        *((f"{name}_more", _LowRank) for name in ("qkv", "o", "gate_up", "down")),
        *((name, ctypes.c_void_p) for name in ("attn_norm", "mlp_norm")),
    )


class _Shape(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("layers", "hidden", "heads", "kv_heads", "dim")),
        ("eps", ctypes.c_double),
    )


class _Call(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "cos", "sin", "keys", "values", "rows", "hidden", "stop")),
        *((name, ctypes.c_int64) for name in ("n", "length", "capacity", "half", "wanted")),
    )


class NativeLayers:
    """Raises ValueError for weights whose shapes do not fit each other; ask ``supports`` first."""

    __slots__ = ("_hidden", "_isa", "_shape", "_sizes", "_table", "_weights")

    def __init__(self, weights: Sequence[LayerWeights], shape: LayerShape, *, isa: int | None = None) -> None:
        """``isa``: of ``kernels.grouped_linear``, AVX512-VNNI or more; None: the one that single products use."""
        found = kernels()
        if found is None:
            raise ValueError("the native kernels are not built: reinstall with a C++ compiler")
        self._isa = found.isa if isa is None else isa
        for layer in weights:
            _check(layer, shape)
        self._weights = tuple(weights)  # whose memory the table points into
        self._shape, self._hidden = shape, weights[0].qkv.shape[1]
        self._table = (_Layer * len(weights))(*(_layer(layer) for layer in weights))
        self._sizes = _Shape(
            *(len(weights), self._hidden, shape.heads, shape.kv_heads, shape.head_dim, shape.eps),
        )

    def adapted(self, additions: Sequence[tuple[LowRank | None, ...]]) -> NativeLayers:
        """The same weights with these additions, one tuple a layer."""
        pairs = zip(self._weights, additions, strict=True)
        return NativeLayers([replace(weights, additions=more) for weights, more in pairs], self._shape, isa=self._isa)

    def __call__(
        self,
        x: Tensor,
        tables: tuple[Tensor, Tensor],
        keys: Tensor,
        values: Tensor,
        rows: Tensor,
        hidden: Tensor | None,
        stop: ctypes.c_int32 | None = None,
        wanted: int = 0,
    ) -> bool:
        """Replaces x and writes the n new rows of keys and values. Raises ValueError for a wrong shape or dtype.

        ``wanted``: the first row that the caller reads, 0 to n; what x holds before it is of no use. Most rows of a
        prompt are asked for keys and values only, and those the last layer has before it attends.

        ``stop``: polled in every layer. Once another thread has made it nonzero the call ends with False, and x and the
        new rows hold nothing of use.
        """
        n, dim = x.shape[0], self._shape.head_dim
        cache = (len(self._weights), self._shape.kv_heads, keys.shape[2], dim)
        _require("x", x, (n, self._hidden))
        half = check_cache(keys, values)
        _require("keys", keys, cache, keys.dtype)
        _require("values", values, cache, keys.dtype)
        cos, sin = (table.contiguous() for table in tables)
        for table in (cos, sin):
            _require("cos and sin", table, (n, 1, dim))
        check_rows(rows, keys.shape[2])
        if len(rows) < n:
            raise ValueError(f"{len(rows)} rows are too few for {n} new tokens")
        if hidden is not None and (hidden.dtype != torch.bool or hidden.shape != (n, n)):
            raise ValueError(f"hidden must be bool [{n}, {n}], not {hidden.dtype} {tuple(hidden.shape)}")
        if not 0 <= wanted <= n:
            raise ValueError(f"wanted must be 0 to {n}, not {wanted}")
        mask = None if hidden is None else hidden.contiguous()
        call = _Call(
            *(x.data_ptr(), cos.data_ptr(), sin.data_ptr(), keys.data_ptr(), values.data_ptr()),
            *(rows.data_ptr(), None if mask is None else mask.data_ptr()),
            *(None if stop is None else ctypes.addressof(stop), n, len(rows) - n, keys.shape[2], half, wanted),
        )
        outcome = _kernel()(ctypes.byref(self._sizes), self._table, ctypes.byref(call), self._isa, threads())
        if outcome == _NO_KERNEL:
            raise ValueError("no native layers for this head size, these weight formats or these instructions")
        return outcome != _STOPPED


def _check(layer: LayerWeights, shape: LayerShape) -> None:
    hidden, attended = layer.qkv.shape[1], shape.heads * shape.head_dim
    inner = layer.down.shape[1]
    wanted = (
        (attended + 2 * shape.kv_heads * shape.head_dim, hidden),
        (hidden, attended),
        (2 * inner, hidden),
        (hidden, inner),
    )
    found = tuple(matrix.shape for matrix in layer.matrices())
    if found != wanted or shape.heads % shape.kv_heads:
        raise ValueError(f"matrices {found} must be {wanted} for {shape}")
    for matrix, more in zip(layer.matrices(), layer.additions, strict=True):
        if more is not None and (more.a.shape[1], more.b.shape) != (
            matrix.shape[1],
            (matrix.shape[0], more.a.shape[0]),
        ):
            raise ValueError(f"an addition of {more.a.shape} and {more.b.shape} does not fit a matrix {matrix.shape}")
    if any(len(matrix.parts) > _PARTS for matrix in layer.matrices()):
        raise ValueError(f"a product has at most {_PARTS} parts")
    _require("a norm", layer.attn_norm, (hidden,))
    _require("a norm", layer.mlp_norm, (hidden,))
    if layer.qkv_bias is not None:
        _require("the bias", layer.qkv_bias, (wanted[0][0],))


def _require(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> None:
    if tensor.dtype != dtype or tensor.shape != shape or not tensor.is_contiguous() or tensor.is_cuda:
        raise ValueError(
            f"{name} must be dense {dtype} {list(shape)} on the CPU, not {tensor.dtype} {tuple(tensor.shape)}"
        )


def _layer(layer: LayerWeights) -> _Layer:
    bias = None if layer.qkv_bias is None else layer.qkv_bias.data_ptr()
    return _Layer(
        *(_linear(layer.qkv, bias), _linear(layer.o), _linear(layer.gate_up), _linear(layer.down)),
        *(_LowRank() if more is None else _LowRank(_linear(more.a), _linear(more.b)) for more in layer.additions),
        *(layer.attn_norm.data_ptr(), layer.mlp_norm.data_ptr()),
    )


def _linear(stack: GroupedStack, bias: int | None = None) -> _Linear:
    parts = [_Matrix(part.packed.data_ptr(), part.shape[0], part.bits, part.group, part.affine) for part in stack.parts]
    return _Linear((_Matrix * _PARTS)(*parts), len(parts), stack.shape[1], bias)


@functools.cache
def _kernel() -> Callable[..., int]:
    native = library()
    if native is None:
        raise ValueError("the native kernels are not built: reinstall with a C++ compiler")
    native.holefill_layer_bytes.restype = ctypes.c_int64
    assert native.holefill_layer_bytes() == ctypes.sizeof(_Layer), "native/layers.cpp declares other fields"
    kernel: Callable[..., int] = native.holefill_layers
    return kernel
