"""The parts of the decoder in torch operations, bottom up: rope, norm, attention, mlp, block.

``kernels.native_layers`` computes the same in one call where it can; ``model.training.network`` with gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.kernels.native_attention import native_attention
from holefill.kernels.row_attention import KeyPart, attend
from holefill.model.adapters import AdaptableLinear
from holefill.model.config import ModelConfig
from holefill.model.kv.cache import Index, KVCache
from holefill.model.weights import Weights


class Rope:
    """Rotary positions, half-split: y = x·cos + swap(x)·sin, the sign of the rotation folded into the sine table."""

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        half = config.head_dim // 2
        exponents = torch.arange(half, dtype=torch.float32, device=device) / half
        self.frequencies = 1.0 / config.rope_theta**exponents
        if config.rope_divisors is not None:
            self.frequencies /= torch.tensor(config.rope_divisors, device=device)
        self._half = half

    def tables(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and signed sin [n, 1, head_dim], made once per forward and shared by all layers."""
        angles = positions.float()[:, None, None] * self.frequencies
        sin = angles.sin()
        return angles.cos().repeat(1, 1, 2), torch.cat((-sin, sin), dim=-1)

    def rotate(self, x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        """x [n, heads, head_dim]."""
        cos, sin = tables
        swapped = torch.cat((x[..., self._half :], x[..., : self._half]), dim=-1)
        return (x * cos).add_(swapped * sin).to(x.dtype)


class RmsNorm:
    def __init__(self, weight: Tensor, eps: float) -> None:
        self._weight, self._eps = weight, eps

    def __call__(self, x: Tensor) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self._eps)
        return (wide * scale).to(x.dtype) * self._weight


@dataclass(frozen=True, slots=True)
class Step:
    """What all layers of one forward share."""

    tables: tuple[Tensor, Tensor]
    hidden: Tensor | None
    """bool [n, n] over the new rows, True = may not see; None when there is one."""
    parts: list[KeyPart]
    """How torch attention cuts its sums; empty where it does not."""
    native: bool
    """Whether the compiled attention runs; its result for a row depends on nothing but what the row sees."""
    table: Tensor
    """int32 [cached + n], the pool row of every key; the compiled attention's."""
    new: Index
    seen: Index
    """The pool rows of the new tokens, and of all: as torch indexes them."""


class Attention:
    """Grouped-query attention over the cached rows and the new ones."""

    def __init__(self, weights: Weights, layer: int, rope: Rope, backend: str) -> None:
        config, at = weights.config, f"layers.{layer}"
        bias = weights.vector(f"{at}.qkv_bias") if config.qkv_bias else None
        self._layer, self._rope = layer, rope
        self._heads, self._kv_heads, self._head_dim = config.heads, config.kv_heads, config.head_dim
        self._qkv = AdaptableLinear(f"{at}.qkv", weights[f"{at}.qkv"], bias, backend=backend)
        self._o = AdaptableLinear(f"{at}.o", weights[f"{at}.o"], backend=backend)
        self.linears = (self._qkv, self._o)

    def __call__(self, x: Tensor, cache: KVCache, step: Step) -> Tensor:
        n, turned = x.shape[0], self._heads + self._kv_heads
        qkv = self._qkv(x).view(n, turned + self._kv_heads, self._head_dim)
        qk = self._rope.rotate(qkv[:, :turned], step.tables)
        keys, values = cache.keys[self._layer], cache.values[self._layer]
        keys[:, step.new] = qk[:, self._heads :].transpose(0, 1)
        values[:, step.new] = qkv[:, turned:].transpose(0, 1)
        q = qk[:, : self._heads]
        if step.native:
            out = native_attention(q, keys, values, step.hidden, self._head_dim**-0.5, step.table)
        else:
            out = self._attend(q, keys[:, step.seen], values[:, step.seen], step)
        return self._o(out.reshape(n, -1).to(x.dtype))

    def _attend(self, q: Tensor, keys: Tensor, values: Tensor, step: Step) -> Tensor:
        """[n, heads, head_dim] of torch products: on a GPU, and where the native kernel does not run."""
        n = q.shape[0]
        # The heads that share a KV head become rows of one product: [kv_head, group · n, head_dim].
        q = q.mul(self._head_dim**-0.5).transpose(0, 1).reshape(self._kv_heads, -1, self._head_dim)
        scores = torch.matmul(q.to(keys.dtype), keys.transpose(1, 2))
        if step.hidden is not None:
            scores.view(self._heads, n, -1)[..., -n:].masked_fill_(step.hidden, float("-inf"))
        parts = step.parts
        out = attend(scores.float(), values, parts) if parts else torch.matmul(scores.softmax(dim=-1), values)
        return out.view(self._heads, n, self._head_dim).transpose(0, 1)


class Mlp:
    """down(silu(gate x) · up x)."""

    def __init__(self, weights: Weights, layer: int, backend: str) -> None:
        self._width = weights.config.intermediate_size
        at = f"layers.{layer}"
        self._gate_up = AdaptableLinear(f"{at}.gate_up", weights[f"{at}.gate_up"], backend=backend)
        self._down = AdaptableLinear(f"{at}.down", weights[f"{at}.down"], backend=backend)
        self.linears = (self._gate_up, self._down)

    def __call__(self, x: Tensor) -> Tensor:
        both = self._gate_up(x)
        return self._down(F.silu(both[:, : self._width]).mul_(both[:, self._width :]))


class Block:
    def __init__(self, weights: Weights, layer: int, rope: Rope, backend: str) -> None:
        eps = weights.config.rms_eps
        self._attn_norm = RmsNorm(weights.vector(f"layers.{layer}.attn_norm"), eps)
        self._attention = Attention(weights, layer, rope, backend)
        self._mlp_norm = RmsNorm(weights.vector(f"layers.{layer}.mlp_norm"), eps)
        self._mlp = Mlp(weights, layer, backend)
        self.linears = (*self._attention.linears, *self._mlp.linears)

    def __call__(self, x: Tensor, cache: KVCache, step: Step) -> Tensor:
        x = x + self._attention(self._attn_norm(x), cache, step)
        return x.add_(self._mlp(self._mlp_norm(x)))
