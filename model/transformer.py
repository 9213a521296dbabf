"""The decoder of the qwen2 and llama families: rope → norm → attention → mlp → block → transformer.

A row's result must not depend on what else is in the forward, or speculative answers would differ from plain ones.
Linears are exact in that sense (one activation scale per row, integer sums), norms and rope work row by row, and
attention sums in an order that only positions decide (CPU; on a GPU it may differ in the last bits).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.kernels.grouped_linear import GroupedStack
from holefill.kernels.native_attention import native_attention, supports
from holefill.kernels.native_layers import LayerShape, LayerWeights, NativeLayers
from holefill.kernels.native_layers import supports as supports_layers
from holefill.kernels.quant_linear import QuantLinear, Weight
from holefill.kernels.row_attention import KeyPart, attend, key_parts
from holefill.model.checkpoint import open_checkpoint
from holefill.model.config import ModelConfig
from holefill.model.forms import choose_form
from holefill.model.kv.cache import KVCache
from holefill.model.packed import load_packed
from holefill.model.weights import Progress, Weights, load_dense

WeightFormat = Literal["packed", "native", "w8a8", "fp32", "bf16"]


def precise(backend: str) -> str:
    """Attention projections: 16-bit activations (0.5B, 3,072 positions: top-1 0.989 → 0.991, LOG.md)."""
    return "native-precise" if backend == "native" else backend


def refined(backend: str) -> str:
    """Head: 16-bit activations for the largest logits (top-1 → 0.993 with those of the projections, LOG.md)."""
    return "native-refined" if backend == "native" else backend


def native_layers(weights: Weights) -> NativeLayers | None:
    """All layers as one call; None where a matrix has no group-quantised form or this machine lacks the kernels."""
    config = weights.config
    if not supports_layers(config.head_dim):
        return None
    layers = []
    for at in (f"layers.{layer}" for layer in range(config.layers)):
        stacks = [weights[f"{at}.{name}"] for name in ("qkv", "o", "gate_up", "down")]
        qkv, o, gate_up, down = (stack if isinstance(stack, GroupedStack) else None for stack in stacks)
        if qkv is None or o is None or gate_up is None or down is None:
            return None
        bias = weights.vector(f"{at}.qkv_bias") if config.qkv_bias else None
        attn_norm, mlp_norm = (weights.vector(f"{at}.{name}") for name in ("attn_norm", "mlp_norm"))
        layers.append(LayerWeights(attn_norm, qkv, bias, o, mlp_norm, gate_up, down))
    return NativeLayers(layers, LayerShape(config.heads, config.kv_heads, config.head_dim, config.rms_eps))


class Rope:
    """Rotary positions, half-split: y = x·cos + swap(x)·sin, the sign of the rotation folded into the sine table."""

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        half = config.head_dim // 2
        exponents = torch.arange(half, dtype=torch.float32, device=device) / half
        self._frequencies = 1.0 / config.rope_theta**exponents
        if config.rope_divisors is not None:
            self._frequencies /= torch.tensor(config.rope_divisors, device=device)
        self._half = half

    def tables(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and signed sin [n, 1, head_dim], made once per forward and shared by all layers."""
        angles = positions.float()[:, None, None] * self._frequencies
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


class Attention:
    """Grouped-query attention over the cached rows and the new ones."""

    def __init__(self, weights: Weights, layer: int, rope: Rope, backend: str) -> None:
        config, at = weights.config, f"layers.{layer}"
        bias = weights.vector(f"{at}.qkv_bias") if config.qkv_bias else None
        self._layer, self._rope = layer, rope
        self._heads, self._kv_heads, self._head_dim = config.heads, config.kv_heads, config.head_dim
        self._qkv = QuantLinear(weights[f"{at}.qkv"], bias, backend=precise(backend))
        self._o = QuantLinear(weights[f"{at}.o"], backend=precise(backend))

    def __call__(self, x: Tensor, cache: KVCache, step: Step) -> Tensor:
        n, turned = x.shape[0], self._heads + self._kv_heads
        qkv = self._qkv(x).view(n, turned + self._kv_heads, self._head_dim)
        qk = self._rope.rotate(qkv[:, :turned], step.tables)
        keys, values = cache.write(self._layer, qk[:, self._heads :].transpose(0, 1), qkv[:, turned:].transpose(0, 1))
        q = qk[:, : self._heads]
        if step.native:
            out = native_attention(q, keys, values, step.hidden, self._head_dim**-0.5)
        else:
            out = self._attend(q, keys, values, step)
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
        self._gate_up = QuantLinear(weights[f"layers.{layer}.gate_up"], backend=backend)
        self._down = QuantLinear(weights[f"layers.{layer}.down"], backend=backend)

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

    def __call__(self, x: Tensor, cache: KVCache, step: Step) -> Tensor:
        x = x + self._attention(self._attn_norm(x), cache, step)
        return x.add_(self._mlp(self._mlp_norm(x)))


class Transformer:
    """One model, ready. Holds no state of a sequence: that is the ``KVCache`` of each call."""

    def __init__(self, weights: Weights, *, device: torch.device | str = "cpu", backend: str = "torch") -> None:
        self.config = weights.config
        self.device = torch.device(device)
        self.dtype = weights.vector("norm").dtype
        self._native = backend == "native" and supports(self.config.head_dim)
        self._embed: Weight = weights["embed"]
        self._rope = Rope(self.config, self.device)
        self._blocks = [Block(weights, layer, self._rope, backend) for layer in range(self.config.layers)]
        self._one_call = native_layers(weights) if self._native and backend == "native" else None
        self._layers = self._one_call
        self._norm = RmsNorm(weights.vector("norm"), self.config.rms_eps)
        self._head = QuantLinear(weights.head, backend=refined(backend))

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: str = "auto",
        weights: WeightFormat = "packed",
        progress: Progress | None = None,
    ) -> Transformer:
        """A GGUF file or a Hugging Face folder. Raises CheckpointError.

        ``auto`` takes a CUDA device in bf16 where there is one. On a CPU ``packed`` is ``native`` where its kernels run
        fast and ``w8a8`` elsewhere; either writes a packed file beside the model the first time, or in the user's cache
        folder where that is not writable, and maps it afterwards.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        target = torch.device(device)
        if weights in ("packed", "native", "w8a8") and target.type == "cpu":
            form = choose_form(None if weights == "packed" else weights)
            return load_packed(path, form, lambda ready: cls(ready, device=target, backend=form.backend), progress)
        dtype = torch.float32 if weights == "fp32" else torch.bfloat16
        return cls(load_dense(open_checkpoint(path), dtype, target, progress), device=target)

    def new_cache(self, capacity: int) -> KVCache:
        return KVCache(self.config, capacity, dtype=self.dtype, device=self.device)

    @torch.inference_mode()
    def forward(
        self,
        ids: Tensor,
        cache: KVCache,
        *,
        positions: Tensor | None = None,
        tree_mask: Tensor | None = None,
        logit_rows: slice | Tensor | None = None,
    ) -> Tensor:
        """Appends n rows to ``cache``; returns logits [r, vocab] in fp32 of the rows asked for (default: the last).

        ids [n]; positions [n], default: behind the cache. ``tree_mask[i, j]``: row i may see new row j (itself
        included); None is causal. Every row sees all rows that were in the cache. A failed forward appends nothing.
        """
        n, device = ids.shape[0], self.device
        cache.reserve(n)
        ids = ids.to(device)
        if positions is None:
            positions = torch.arange(cache.length, cache.length + n, device=device)
        hidden = None
        if tree_mask is not None:
            hidden = tree_mask.to(device).logical_not()
        elif n > 1 and self._layers is None:
            hidden = torch.ones(n, n, dtype=torch.bool, device=device).triu_(1)
        native = self._native and cache.keys.dtype == torch.float32
        on_cpu = device.type == "cpu" and self.dtype == torch.float32
        parts = key_parts(cache.length, positions) if on_cpu and not native else []
        step = Step(self._rope.tables(positions.to(device)), hidden, parts, native)
        x = self._embed[ids] if isinstance(self._embed, Tensor) else self._embed.rows(ids)
        if self._layers is not None:
            self._layers(x, step.tables, cache.keys, cache.values, cache.length, hidden)
        else:
            for block in self._blocks:
                x = block(x, cache, step)
        cache.length += n
        rows = slice(n - 1, n) if logit_rows is None else logit_rows
        return self._head(self._norm(x[rows])).float()
