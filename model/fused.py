"""The decoder of ``model.transformer`` out of fused kernels: about ten launches a layer, and no decision of the host
between them, so that a CUDA graph can hold a whole forward.

Attention goes over parts that ``kernels.partial`` merges: the cached rows, which all new rows see, and the new rows
among themselves by an ancestor mask; a chain of new rows is one causal part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from holefill.kernels.attention import Source
from holefill.kernels.dispatch import Ops, Plan, ops
from holefill.kernels.group_codes import CodesStack
from holefill.kernels.quant_linear import QuantLinear, Weight
from holefill.kernels.quant_matmul import stacked_matmul
from holefill.kernels.segments import WORD, Segments, Visible, ancestor_words
from holefill.model.weights import Weights

BOUNDS = 8
"""Leading numbers of ``Inputs.packed``: start and end of queries, cached rows, new rows and both."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """n new rows behind ``length`` cached ones, in one int64 tensor, so that one copy brings them to the device.

    packed: bounds · ancestor words [n · words] · pool rows of all keys [max_keys, two in a number] · those of the new
    ones [n] · ids [n] · positions [n], each run padded to even length, because Triton compiles another kernel for a
    pointer off its 16 bytes.
    """

    packed: Tensor
    n: int
    words: int
    """Ancestor words a row; 0: each row sees the rows before it."""
    max_keys: int
    """Cached and new rows that the launches reach: at least length + n."""

    @classmethod
    def of(
        cls, ids: Tensor, positions: Tensor, sees: Tensor | None, rows: Tensor, max_keys: int | None = None
    ) -> Inputs:
        """ids, positions [n]; ``sees`` bool [n, n], new row i sees new row j; None: causal; ``rows`` int32
        [length + n], every key's row of the pool. All on the CPU."""
        n, end = len(ids), len(rows)
        length, max_keys = end - n, end if max_keys is None else max_keys
        words = 0 if sees is None else -(-n // WORD)
        bits = torch.empty(0, dtype=torch.int64) if sees is None else ancestor_words(sees).flatten()
        every = torch.nn.functional.pad(rows, (0, 2 * _pairs(max_keys) - end)).view(torch.int64)
        runs = [torch.tensor([0, n, 0, length, length, end, 0, end]), bits, every, rows[length:].long(), ids, positions]
        packed = torch.cat([torch.nn.functional.pad(run, (0, len(run) % 2)) for run in runs])
        return cls(packed, n, words, max_keys)

    @property
    def cached(self) -> int:
        """Known on the CPU only; a graph reaches ``max_keys``."""
        return int(self.packed[3])


def _pairs(keys: int) -> int:
    """Numbers that hold so many rows, an even count."""
    return -(-keys // 4) * 2


@dataclass(frozen=True, slots=True)
class Rows:
    """The inputs on the device, taken apart."""

    ids: Tensor
    cos: Tensor
    sin: Tensor
    slots: Tensor
    segments: tuple[tuple[Segments, Visible], ...]
    """One source a part: the cached rows if any, then the new ones."""
    words: Tensor | None

    def sources(self, keys: Tensor, values: Tensor) -> list[Source]:
        return [
            Source(keys, values, segments, visible, self.words if visible is Visible.BITS else None)
            for segments, visible in self.segments
        ]


def linear(weight: Weight, bias: Tensor | None, kernels: str, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """``dtype`` of the result of quantised weights; others keep x's."""
    if isinstance(weight, CodesStack) and kernels == "triton":
        return lambda x: stacked_matmul(x, weight, bias, dtype)
    return QuantLinear(weight, bias, backend=kernels)


class FusedBlock:
    def __init__(self, weights: Weights, layer: int, plan: Plan, layer_ops: Ops) -> None:
        config, at = weights.config, f"layers.{layer}"
        dtype = weights.vector("norm").dtype
        bias = weights.vector(f"{at}.qkv_bias") if config.qkv_bias else None
        self._ops, self._eps, self._scale = layer_ops, config.rms_eps, config.head_dim**-0.5
        self._attn_norm, self._mlp_norm = weights.vector(f"{at}.attn_norm"), weights.vector(f"{at}.mlp_norm")
        self._qkv = linear(weights[f"{at}.qkv"], bias, plan.linear.kernels, dtype)
        self._o, self._gate_up, self._down = (
            linear(weights[f"{at}.{name}"], None, plan.linear.kernels, dtype) for name in ("o", "gate_up", "down")
        )

    def __call__(
        self, x: Tensor, stream: Tensor | None, rows: Rows, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``x`` is what the layer before adds to its ``stream``; returns the same two of this layer.

        keys, values [pool rows, kv_heads, head_dim].
        """
        y, stream = self._ops.rms_norm(x, stream, self._attn_norm, self._eps)
        queries = self._ops.rope(self._qkv(y), rows.cos, rows.sin, rows.slots, keys, values)
        mixed = self._ops.attend(queries, rows.sources(keys, values), self._scale)
        y, stream = self._ops.rms_norm(self._o(mixed.reshape(len(x), -1)), stream, self._mlp_norm, self._eps)
        return self._down(self._ops.swiglu(self._gate_up(y))), stream


class FusedDecoder:
    """All layers and the head. ``frequencies`` [head_dim / 2]: the rotary ones."""

    def __init__(self, weights: Weights, frequencies: Tensor, plan: Plan) -> None:
        assert plan.fused is not None
        self._ops = ops(plan.fused)
        self._frequencies = frequencies
        self._embed: Weight = weights["embed"]
        self._blocks = [FusedBlock(weights, layer, plan, self._ops) for layer in range(weights.config.layers)]
        self._norm, self._eps = weights.vector("norm"), weights.config.rms_eps
        # Logits in fp32: rounded to bf16, the two likeliest tokens of a row are often equal.
        self._head = linear(weights.head, None, plan.linear.kernels, torch.float32)

    def __call__(
        self, inputs: Inputs, packed: Tensor, keys: Tensor, values: Tensor, logit_rows: slice | Tensor
    ) -> Tensor:
        """Logits in fp32 of the rows asked for; writes the new rows' keys and values.

        ``packed`` is ``inputs.packed`` on the device. keys, values [layers, kv_heads, pool rows, head_dim].
        """
        rows = self._rows(inputs, packed)
        x = self._embed[rows.ids] if isinstance(self._embed, Tensor) else self._embed.rows(rows.ids)
        x, stream = x.to(self._norm.dtype), None
        for block, k, v in zip(self._blocks, keys.transpose(1, 2), values.transpose(1, 2), strict=True):
            x, stream = block(x, stream, rows, k, v)
        wanted = x[logit_rows]
        assert stream is not None, "a model has layers"
        y, _ = self._ops.rms_norm(wanted, stream[logit_rows], self._norm, self._eps)
        return self._head(y).float()

    def _rows(self, inputs: Inputs, packed: Tensor) -> Rows:
        n, even = inputs.n, inputs.n + inputs.n % 2
        bits = inputs.words * n
        queries, prefix, new, every = packed[:BOUNDS].int().view(4, 2)
        table = BOUNDS + bits + bits % 2
        after = table + _pairs(inputs.max_keys)
        pool = packed[table:after].view(torch.int32)
        slots, ids, positions = (packed[after + run * even :][:n] for run in range(3))
        angles = positions.float()[:, None] * self._frequencies
        if inputs.words == 0:
            segments = ((Segments(queries, every, n, inputs.max_keys, pool), Visible.CAUSAL),)
            return Rows(ids, angles.cos(), angles.sin(), slots, segments, None)
        words = packed[BOUNDS : BOUNDS + bits].view(n, inputs.words)
        cached = (Segments(queries, prefix, n, inputs.max_keys - n, pool), Visible.ALL)
        among = (Segments(queries, new, n, n, pool), Visible.BITS)
        parts = (cached, among) if inputs.max_keys > n else (among,)
        return Rows(ids, angles.cos(), angles.sin(), slots, parts, words)
