"""The decoder of ``model.blocks`` written for gradients: frozen weights, and a low-rank addition on every linear.

Sequences of a batch are laid end to end, so no row is padding: linears see all rows at once, attention runs sequence
by sequence. y = x Wᵀ + scale · (x Aᵀ) Bᵀ with A [r, in], B [out, r]; B starts at zero (LoRA, Hu et al. 2021).
A learned prefix is rows of keys and values in front of every sequence, of no position (Li and Liang 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from holefill.model.blocks import RmsNorm, Rope
from holefill.model.config import ModelConfig
from holefill.model.training.examples import Example
from holefill.model.weights import Weights

ADAPTED = ("qkv", "o", "gate_up", "down")


@dataclass(frozen=True, slots=True)
class LoraShape:
    """What is trained: a low-rank addition on every linear of all layers, or of the last ones only; or a prefix."""

    rank: int = 16
    alpha: float = 32.0
    last: int = 0
    """How many layers, counted from the head; 0: all. Nothing is propagated back below them."""
    whole: bool = False
    """Any change at all, not one of low rank: as many numbers as the weights have."""
    prefix: int = 0
    """Rows of keys and values of every layer, instead of any addition."""

    @property
    def scale(self) -> float:
        return 1.0 if self.whole else self.alpha / self.rank


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch laid end to end."""

    ids: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    rows: Tensor
    """Rows whose next token counts in the loss: those that predict the middle and its end token."""
    targets: Tensor

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Packed:
        lengths = tuple(len(example.ids) for example in examples)
        rows: list[int] = []
        targets: list[int] = []
        first = 0
        for example in examples:
            rows += range(first + example.start - 1, first + len(example.ids) - 1)
            targets += example.ids[example.start :]
            first += len(example.ids)
        return cls(
            torch.tensor([id_ for example in examples for id_ in example.ids]),
            torch.cat([torch.arange(length) for length in lengths]),
            lengths,
            torch.tensor(rows),
            torch.tensor(targets),
        )

    def to(self, device: torch.device) -> Packed:
        moved = (tensor.to(device) for tensor in (self.ids, self.positions, self.rows, self.targets))
        ids, positions, rows, targets = moved
        return Packed(ids, positions, self.lengths, rows, targets)


def new_factors(config: ModelConfig, shape: LoraShape, seed: int) -> dict[str, Tensor]:
    """fp32 master factors, ``layers.N.SLOT.a`` and ``.b``; the same for the same seed on every machine.

    Of a ``whole`` change the smaller factor is the identity and is not trained. A prefix is ``layers.N.prefix.k`` and
    ``.v`` [kv_heads, rows, head_dim]; its values start at zero.
    """
    generator = torch.Generator().manual_seed(seed)
    if shape.prefix:
        return _new_prefix(config, shape.prefix, generator)
    q_width, kv_width = config.heads * config.head_dim, config.kv_heads * config.head_dim
    sizes = {
        "qkv": (q_width + 2 * kv_width, config.hidden_size),
        "o": (config.hidden_size, q_width),
        "gate_up": (2 * config.intermediate_size, config.hidden_size),
        "down": (config.hidden_size, config.intermediate_size),
    }
    factors: dict[str, Tensor] = {}
    for layer in range(max(0, config.layers - shape.last) if shape.last else 0, config.layers):
        for slot in ADAPTED:
            rows, columns = sizes[slot]
            if shape.whole:
                same, change = torch.eye(min(rows, columns)), torch.zeros(rows, columns).requires_grad_()
                pair = (same, change) if columns <= rows else (change, same)
                factors[f"layers.{layer}.{slot}.a"], factors[f"layers.{layer}.{slot}.b"] = pair
                continue
            a = torch.empty(shape.rank, columns).uniform_(-1.0, 1.0, generator=generator)
            factors[f"layers.{layer}.{slot}.a"] = (a / columns**0.5).requires_grad_()
            factors[f"layers.{layer}.{slot}.b"] = torch.zeros(rows, shape.rank).requires_grad_()
    return factors


def _new_prefix(config: ModelConfig, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    factors: dict[str, Tensor] = {}
    for layer in range(config.layers):
        keys = torch.empty(config.kv_heads, rows, config.head_dim).uniform_(-1.0, 1.0, generator=generator)
        factors[f"layers.{layer}.prefix.k"] = keys.requires_grad_()
        factors[f"layers.{layer}.prefix.v"] = torch.zeros_like(keys).requires_grad_()
    return factors


class TrainableNetwork:
    """``weights`` are dense and stay as they are; ``factors`` are the parameters (empty: the plain model).

    ``beneath``: factors of an adapter whose addition stays as it is, the scale already in ``b``; so are those of
    ``beside``, which may change between forwards.
    """

    def __init__(
        self,
        weights: Weights,
        factors: Mapping[str, Tensor],
        scale: float,
        beneath: Mapping[str, Tensor] = MappingProxyType({}),
        beside: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        config = weights.config
        self._weights, self._factors = weights, factors
        self._additions = ((beneath, 1.0), (factors, scale), *(((beside, 1.0),) if beside else ()))
        self._config = config
        self.device = weights.vector("norm").device
        self._rope = Rope(config, self.device)
        names = [f"layers.{layer}.{which}_norm" for layer in range(config.layers) for which in ("attn", "mlp")]
        self._norms = {name: RmsNorm(weights.vector(name), config.rms_eps) for name in (*names, "norm")}

    def embedded(self, ids: Tensor) -> Tensor:
        """[len(ids), hidden_size]."""
        return F.embedding(ids, self._dense("embed"))

    def states(self, batch: Packed, inputs: Tensor | None = None) -> Tensor:
        """[tokens, hidden_size] of all rows behind the last layer. ``inputs`` take the place of the ids' embeddings."""
        tables = self._rope.tables(batch.positions)
        x = self.embedded(batch.ids) if inputs is None else inputs
        for layer in range(self._config.layers):
            x = x + self._attention(f"layers.{layer}", self._norm(f"layers.{layer}.attn_norm", x), batch, tables)
            x = x + self._mlp(f"layers.{layer}", self._norm(f"layers.{layer}.mlp_norm", x))
        return x

    def normed(self, states: Tensor) -> Tensor:
        """What the head reads."""
        return self._norm("norm", states)

    def head(self, states: Tensor) -> Tensor:
        """fp32 [rows, vocab] of some rows of ``states``."""
        head = self._weights.head
        assert isinstance(head, Tensor)
        return F.linear(self.normed(states), head).float()

    def logits(self, batch: Packed) -> Tensor:
        """fp32 [len(batch.rows), vocab]: the head runs only where the loss looks."""
        return self.head(self.states(batch)[batch.rows])

    def loss(self, batch: Packed, states: Tensor | None = None) -> Tensor:
        """Mean over the tokens of all middles and their ends; from ``states`` where the batch has been run."""
        states = self.states(batch) if states is None else states
        return F.cross_entropy(self.head(states[batch.rows]), batch.targets)

    def _dense(self, name: str) -> Tensor:
        weight = self._weights[name]
        assert isinstance(weight, Tensor), name
        return weight

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return self._norms[name](x)

    def _linear(self, slot: str, x: Tensor, bias: Tensor | None = None) -> Tensor:
        y = F.linear(x, self._dense(slot), bias)
        for factors, scale in self._additions:
            a, b = factors.get(f"{slot}.a"), factors.get(f"{slot}.b")
            if a is not None and b is not None:
                y = y + F.linear(F.linear(x, a.to(x)), (b * scale).to(x))
        return y

    def _attention(self, at: str, x: Tensor, batch: Packed, tables: tuple[Tensor, Tensor]) -> Tensor:
        config = self._config
        turned = config.heads + config.kv_heads
        bias = self._weights.vector(f"{at}.qkv_bias") if config.qkv_bias else None
        qkv = self._linear(f"{at}.qkv", x, bias).view(len(x), turned + config.kv_heads, config.head_dim)
        qk = self._rope.rotate(qkv[:, :turned], tables)
        before = self._factors.get(f"{at}.prefix.k"), self._factors.get(f"{at}.prefix.v")
        outputs: list[Tensor] = []
        first = 0
        for length in batch.lengths:
            rows = slice(first, first + length)
            parts = (qk[rows, : config.heads], qk[rows, config.heads :], qkv[rows, turned:])
            q, k, v = (part.transpose(0, 1) for part in parts)
            if before[0] is not None and before[1] is not None:
                k, v = torch.cat((before[0].to(k), k), dim=1), torch.cat((before[1].to(v), v), dim=1)
            out = causal_attention(q, k, v)
            outputs.append(out.transpose(0, 1).reshape(length, -1))
            first += length
        return self._linear(f"{at}.o", torch.cat(outputs))

    def _mlp(self, at: str, x: Tensor) -> Tensor:
        gate, up = self._linear(f"{at}.gate_up", x).chunk(2, dim=-1)
        return self._linear(f"{at}.down", F.silu(gate) * up)


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """[heads, n, d] of q [heads, n, d] and k, v [kv_heads, m, d]; of the keys the last n are the rows' own, and all see
    those before.

    On a CPU as plain products: torch's fused one takes 1.5–2.5 times as long there, forward and backward, at the
    150–250 rows of an example (one Zen 5 core, bf16: 7.1 against 2.8 ms and 11.6 against 7.7).
    """
    heads, n, d = q.shape
    groups, m, _ = k.shape
    if q.device.type != "cpu":
        if m > n:
            seen = torch.ones(n, m, dtype=torch.bool, device=q.device).tril_(m - n)
            return F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=seen, enable_gqa=True)[0]
        fused = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, enable_gqa=True)
        return fused[0]
    scores = torch.bmm((q * d**-0.5).reshape(groups, -1, d), k.transpose(1, 2)).view(heads, n, m)
    hidden = torch.ones(n, m, dtype=torch.bool).triu_(m - n + 1)
    shares = scores.masked_fill(hidden, float("-inf")).softmax(dim=-1)
    return torch.bmm(shares.view(groups, -1, m), v).view(heads, n, d)
