"""The decoder of the qwen2 and llama families, of the parts in ``model.blocks`` or as one native call.

A row's result must not depend on what else is in the forward, or speculative answers would differ from plain ones.
Linears are exact in that sense (one activation scale per row, integer sums), norms and rope work row by row, and
attention sums in an order that only positions decide (CPU; on a GPU it may differ in the last bits).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from holefill.kernels import dispatch
from holefill.kernels.grouped_linear import GroupedStack
from holefill.kernels.native_layers import LayerShape, LayerWeights, LowRank, NativeLayers
from holefill.kernels.native_layers import supports as supports_layers
from holefill.kernels.quant_linear import QuantLinear, Weight
from holefill.kernels.row_attention import key_parts
from holefill.model.adapter_file import Adapter, load_adapter
from holefill.model.adapters import low_rank, merged
from holefill.model.blocks import Block, RmsNorm, Rope, Step
from holefill.model.cancel import Interrupt, Interrupted
from holefill.model.checkpoint import open_checkpoint
from holefill.model.errors import EngineError
from holefill.model.forms import choose_form
from holefill.model.kv.cache import KVCache
from holefill.model.kv.pool import TokenPool, row_bytes
from holefill.model.packed import load_packed
from holefill.model.weights import Progress, Weights, load_dense

if TYPE_CHECKING:
    from holefill.model.graphs import Forwards

log = logging.getLogger(__name__)

WeightFormat = Literal["packed", "native", "w8a8", "fp32", "bf16"]


def refined(backend: str) -> str:
    """Head: 16-bit activations for the largest logits (0.5B, 3,072 positions: top-1 0.989 → 0.991, LOG.md)."""
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


GPU_ROWS = 4096
"""Of a new pool on a GPU, where memory is taken at once; it doubles as it fills."""


class Transformer:
    """One model, ready. Holds no state of a sequence: that is the ``KVCache`` of each call."""

    def __init__(
        self,
        weights: Weights,
        *,
        device: torch.device | str = "cpu",
        backend: str = "torch",
        kernels: dispatch.Name = "auto",
        graphs: bool = True,
    ) -> None:
        """``backend`` is that of the weights' form. Raises KernelError where ``kernels`` cannot run here."""
        self.config = weights.config
        self.device = torch.device(device)
        self.dtype = weights.vector("norm").dtype
        site = dispatch.Site(self.device, self.dtype, self.config.head_dim, _stored(weights, backend))
        self.kernels = dispatch.choose(site, kernels)
        self._rope = Rope(self.config, self.device)
        self._cache_dtype = self.dtype
        self._forwards: Forwards | None = None
        if self.kernels.fused is not None:
            self._forwards = _fused(weights, self._rope, self.device, self.kernels, graphs=graphs)
            return
        backend = self.kernels.linear.kernels
        self._native = self.kernels.attention.kernels == "native"
        self._embed: Weight = weights["embed"]
        self._blocks = [Block(weights, layer, self._rope, backend) for layer in range(self.config.layers)]
        self._one_call = native_layers(weights) if self._native and backend == "native" else None
        self._layers = self._one_call
        if self._one_call is not None:
            self._cache_dtype = torch.float16  # half the memory; 8-bit activations round 16 times as coarsely
        self._norm = RmsNorm(weights.vector("norm"), self.config.rms_eps)
        self._head = QuantLinear(weights.head, backend=refined(backend))

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: str = "auto",
        weights: WeightFormat = "packed",
        kernels: dispatch.Name = "auto",
        adapter: Path | None = None,
        progress: Progress | None = None,
    ) -> Transformer:
        """A GGUF file or a Hugging Face folder. Raises CheckpointError, and EngineError for kernels that cannot run.

        ``adapter``: a low-rank adapter's file; AdapterError when it belongs to another model. On a CUDA device it is
        merged into bf16 weights, elsewhere added (see ``model.adapters``).

        ``auto`` takes a CUDA device where there is one. On a CPU ``packed`` is ``native`` where its kernels run
        fast and ``w8a8`` elsewhere; on a CUDA device it is a GGUF file's own codes, or bf16 for a folder and without
        Triton. A quantised form writes a packed file beside the model the first time, or in the user's cache folder
        where that is not writable, and maps it afterwards.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        target = torch.device(device)
        name = _form_name(path, target, weights, kernels)
        if adapter is not None and name == "cuda-grouped":
            name = None  # the fused forwards read the base's codes alone
        try:
            if name is None:
                dtype = torch.float32 if weights == "fp32" else torch.bfloat16
                dense = load_dense(open_checkpoint(path), dtype, target, progress)
                if adapter is not None and target.type != "cpu":
                    return cls(merged(dense, load_adapter(adapter, path, dense.config)), device=target, kernels=kernels)
                return cls(dense, device=target, kernels=kernels).adapted(adapter, path)
            form = choose_form(None if name == "best" else name)
            dtype = torch.float32 if target.type == "cpu" else torch.bfloat16

            def build(ready: Weights) -> Transformer:
                placed = ready.to(target, dtype) if form.backend == "codes" else ready
                return cls(placed, device=target, backend=form.backend, kernels=kernels)

            return load_packed(path, form, build, progress).adapted(adapter, path)
        except dispatch.KernelError as error:
            raise EngineError(str(error)) from error

    def adapted(self, adapter: Path | None, base: Path) -> Transformer:
        """This model with the adapter of that file, which must be of ``base``; itself when there is none."""
        if adapter is not None:
            self.adapt(load_adapter(adapter, base, self.config))
        return self

    def adapt(self, adapter: Adapter | None) -> None:
        """Exchanges the adapter between forwards, without reading weights; rows cached before are of the old one."""
        if self.device.type != "cpu" or self._forwards is not None:
            raise EngineError("on this device an adapter is part of the weights: load the model again to change it")
        if self._one_call is not None:  # then the blocks never compute
            self._layers = self._one_call if adapter is None else self._one_call.adapted(self._additions(adapter))
            return
        for block in self._blocks:
            for linear in block.linears:
                linear.adapt(adapter)

    def _additions(self, adapter: Adapter) -> list[tuple[LowRank | None, ...]]:
        """For each layer, to qkv, o, gate_up and down."""
        pairs = [[adapter.pair(linear.name) for linear in block.linears] for block in self._blocks]
        return [tuple(None if pair is None else low_rank(*pair) for pair in layer) for layer in pairs]

    @property
    def row_bytes(self) -> int:
        """Memory of one token's keys and values."""
        return row_bytes(self.config, self._cache_dtype)

    def new_pool(self, rows: int) -> TokenPool:
        first = rows if self.device.type == "cpu" else min(rows, GPU_ROWS)
        return TokenPool(self.config, first, rows, dtype=self._cache_dtype, device=self.device)

    def new_cache(self, capacity: int) -> KVCache:
        """A sequence with a pool of its own, which grows up to the model's context."""
        limit = self.config.max_context
        rows = max(1, min(capacity, limit))
        cache = TokenPool(self.config, rows, limit, dtype=self._cache_dtype, device=self.device).sequence()
        cache.reserve(rows)
        return cache

    @torch.inference_mode()
    def forward(
        self,
        ids: Tensor,
        cache: KVCache,
        *,
        positions: Tensor | None = None,
        tree_mask: Tensor | None = None,
        logit_rows: slice | Tensor | None = None,
        interrupt: Interrupt | None = None,
    ) -> Tensor:
        """Appends n rows to ``cache``; returns logits [r, vocab] in fp32 of the rows asked for (default: the last).

        ids [n]; positions [n], default: behind the cache. ``tree_mask[i, j]``: row i may see new row j (itself
        included); None is causal. Every row sees all rows that were in the cache. A failed forward appends nothing.
        ``interrupt`` is polled between layers, on a GPU before the first one only; raises ``Interrupted``.
        """
        n, device = ids.shape[0], self.device
        interrupt = interrupt or Interrupt()
        if interrupt.is_set():
            raise Interrupted
        cache.reserve(n)
        rows = slice(n - 1, n) if logit_rows is None else logit_rows
        if self._forwards is not None:
            at = torch.arange(cache.length, cache.length + n) if positions is None else positions
            logits = self._forwards(ids, cache, at, tree_mask, rows)
            cache.length += n
            return logits
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
        tables, length, table = self._rope.tables(positions.to(device)), cache.length, cache.table(n)
        x = self._embed[ids] if isinstance(self._embed, Tensor) else self._embed.rows(ids)
        if self._layers is not None:
            wanted = _first(rows, n)
            if not self._layers(x, tables, cache.keys, cache.values, table, hidden, interrupt.flag, wanted):
                raise Interrupted
        else:
            new, seen = cache.index(length, length + n), cache.index(0, length + n)
            step = Step(tables, hidden, parts, native, table, new, seen)
            for block in self._blocks:
                if interrupt.is_set():
                    raise Interrupted
                x = block(x, cache, step)
        cache.length += n
        return self._head(self._norm(x[rows])).float()


def _first(rows: slice | Tensor, n: int) -> int:
    """The first of the rows asked for among n; n for none."""
    asked = torch.arange(n)[rows]
    return int(asked.min()) if len(asked) else n


def _stored(weights: Weights, backend: str) -> dispatch.Stored:
    if backend == "torch":
        return "dense" if isinstance(weights.head, Tensor) else "rows"
    return "native" if backend == "native" else "codes"


def _fused(weights: Weights, rope: Rope, device: torch.device, plan: dispatch.Plan, *, graphs: bool) -> Forwards:
    """Imported here: the fused kernels bring Triton in, which a CPU process has no use for."""
    from holefill.model.fused import FusedDecoder
    from holefill.model.graphs import CudaRecorder, Forwards

    record = CudaRecorder(device) if graphs and device.type == "cuda" and plan.fused == "triton" else None
    return Forwards(FusedDecoder(weights, rope.frequencies, plan), device, record)


def _form_name(path: Path, device: torch.device, weights: WeightFormat, kernels: str) -> str | None:
    """The packed form to load, ``best`` for this CPU's, None for unquantised weights. Raises EngineError."""
    obstacle = dispatch.triton_obstacle(device, asked=True) if kernels == "triton" else None
    if obstacle is not None:  # before a file is packed for nothing
        raise EngineError(f"triton kernels cannot be used: {obstacle}")
    if weights in ("fp32", "bf16"):
        return None
    on_cpu = device.type == "cpu"
    if weights != "packed":
        if not on_cpu:
            raise EngineError(f"weights {weights} are a CPU's: choose packed or bf16 on {device}")
        return weights
    if on_cpu:
        return {"triton": "cuda-grouped", "native": "native", "torch": "w8a8"}.get(kernels, "best")
    if path.is_dir() or kernels == "torch":
        return None
    obstacle = dispatch.triton_obstacle(device, asked=False)
    if obstacle is None or kernels == "reference":
        return "cuda-grouped"
    if kernels == "auto":
        log.warning("unquantised weights in bf16, on torch's kernels: %s", obstacle)
    return None
