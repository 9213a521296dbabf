"""How likely the target says what the draft model guesses: SpecDec++'s acceptance head (PAPERS.md 2.13).

The paper reads the draft model's last hidden state. A forward gives logits only, which are a linear map of that state,
so the head reads what they say of the guess: the eight best log-probabilities, the entropy and margin made of them, and
where in the round the guess stands. That is 13 numbers in place of 896, needs no access to the model's inside, and
fits any model of the vocabulary's size; what the state knows beyond its next token is lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from holefill.model.errors import ModelError
from holefill.model.spec.top import WIDTH

FOLDER = Path(__file__).with_name("acceptance_heads")
VERSION = 1
"""Raise it when the same numbers would mean another probability."""
BLOCKS = 3
"""Residual blocks x + SiLU(Wx), each with its own W; the released code repeats one by mistake."""
REJECTION_WEIGHT = 6.0
"""Of a rejected guess in the loss (the paper's). It moves the log-odds by its logarithm, which serving adds back, so
that what comes out is a probability and not only an order."""
FEATURES = WIDTH + 5
LOWEST = -12.0
"""Log-probabilities are cut here."""

Floats = npt.NDArray[np.float32]


class AcceptanceError(ModelError):
    """A head that cannot be read, or is of other models."""


@dataclass(frozen=True, slots=True)
class HeadCard:
    """What a head says of itself."""

    target: str
    """``base_hash`` of the model whose word it foretells."""
    draft: str
    pairs: int = 0
    """Guesses it was trained on."""
    data: str = ""
    """Hash of the data manifest."""
    commit: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    """On held-out packages."""
    version: int = VERSION


def features(log_probs: Floats, depth: npt.ArrayLike, previous: npt.ArrayLike, path: npt.ArrayLike) -> Floats:
    """[n, FEATURES] of n guesses, each the likeliest of its row.

    ``log_probs`` [n, 8] of the draft model, likeliest first; ``depth`` [n]: 1 for a round's first guess;
    ``previous``, ``path`` [n]: log-probability of the guess before, and of all before together (0 at depth 1).
    """
    cut = np.clip(log_probs, LOWEST, 0.0)
    p = np.exp(cut)
    rest = np.clip(1.0 - p.sum(-1), 1e-6, 1.0)
    entropy = -(p * cut).sum(-1) - rest * np.log(rest)  # of nine outcomes: no pass over the whole vocabulary
    single = (entropy, cut[:, 0] - cut[:, 1], np.log(depth), np.clip(previous, LOWEST, 0), np.clip(path, LOWEST, 0))
    return np.concatenate((cut, np.stack(single, -1)), -1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class AcceptanceHead:
    """normalise → linear → BLOCKS × (x + SiLU(Wx + b)) → linear → log-odds."""

    card: HeadCard
    tensors: Mapping[str, Floats]

    def probability(self, rows: Floats) -> Floats:
        """[n] of ``features`` [n, FEATURES]: P(the target says the same | it said all before it)."""
        t = self.tensors
        x = ((rows - t["mean"]) / t["scale"]) @ t["in.weight"].T + t["in.bias"]
        for block in range(BLOCKS):
            y = x @ t[f"block{block}.weight"].T + t[f"block{block}.bias"]
            x = x + y / (1.0 + np.exp(-np.clip(y, -60.0, 60.0)))
        odds = (x @ t["out.weight"].T + t["out.bias"])[:, 0] + np.log(REJECTION_WEIGHT)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -60.0, 60.0))), np.float32)


def shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    blocks: dict[str, tuple[int, ...]] = {f"block{block}.weight": (hidden, hidden) for block in range(BLOCKS)}
    blocks |= {f"block{block}.bias": (hidden,) for block in range(BLOCKS)}
    ends = {"in.weight": (hidden, FEATURES), "in.bias": (hidden,), "out.weight": (1, hidden), "out.bias": (1,)}
    return {"mean": (FEATURES,), "scale": (FEATURES,), **ends, **blocks}


def save_head(path: Path, head: AcceptanceHead) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(dict(head.tensors), part, metadata={"holefill": json.dumps(asdict(head.card))})
    part.replace(path)


def load_head(path: Path, target: str, draft: str) -> AcceptanceHead:
    """Raises AcceptanceError unless it was trained for the models of these hashes (``adapter_file.base_hash``)."""
    card, tensors = _read(path)
    if (card.target, card.draft) != (target, draft):
        raise AcceptanceError(
            f"{path.name} was trained for another pair of models (target {card.target[:12]}, draft {card.draft[:12]}) "
            f"than this one ({target[:12]}, {draft[:12]}): train one with `holefill train acceptance`"
        )
    return AcceptanceHead(card, tensors)


def shipped_head(target: str, draft: str) -> AcceptanceHead | None:
    """The head that comes with the package for this pair; None where none does."""
    for path in sorted(FOLDER.glob("*.safetensors")):
        card, tensors = _read(path)
        if (card.target, card.draft) == (target, draft):
            return AcceptanceHead(card, tensors)
    return None


def _read(path: Path) -> tuple[HeadCard, dict[str, Floats]]:
    try:
        with safe_open(path, "np") as opened:
            text = (opened.metadata() or {}).get("holefill")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
        card = HeadCard(**json.loads(text or "null"))
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise AcceptanceError(
            f"{path} cannot be read as an acceptance head ({error}): train it again with `holefill train acceptance`"
        ) from error
    if card.version != VERSION:
        raise AcceptanceError(f"{path} has format {card.version}, this version reads {VERSION}: train it again")
    wide = tensors.get("in.bias")
    if wide is None or {name: tensor.shape for name, tensor in tensors.items()} != shapes(len(wide)):
        raise AcceptanceError(f"{path} does not have the tensors of an acceptance head: train it again")
    return card, tensors
