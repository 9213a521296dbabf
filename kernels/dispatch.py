"""Which kernels compute the ops of a model: decided once, when it is loaded, and logged with the reason.

    auto       Triton on a GPU, the compiled kernels on a CPU, torch where neither runs
    NAME       that set, or a ``KernelError`` that says why not; what a set has no kernel for (the norms of ``native``,
               an unquantised product) is torch's in every set, and the log says so

Nothing here imports Triton unless it is going to run: that costs a CPU process 0.3 s.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from holefill.kernels.native_attention import supports

if TYPE_CHECKING:
    from holefill.kernels.attention import Source

log = logging.getLogger(__name__)

Name = Literal["auto", "triton", "native", "torch", "reference"]
NAMES: tuple[Name, ...] = ("auto", "triton", "native", "torch", "reference")
Stored = Literal["dense", "rows", "native", "codes"]
"""How the matrices are kept: unquantised, int8 rows (w8a8), native groups, or ``kernels.group_codes``."""
LEAST_CAPABILITY = (8, 0)
"""bf16 products and asynchronous copies; the ahead-of-time tests start there too."""


class KernelError(ValueError):
    """The kernels asked for cannot run here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the choice depends on."""

    device: torch.device
    dtype: torch.dtype
    head_dim: int
    stored: Stored


@dataclass(frozen=True, slots=True)
class Choice:
    kernels: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    linear: Choice
    attention: Choice
    layer: Choice
    """Norms, rotary positions with the cache write, SwiGLU."""

    @property
    def fused(self) -> str | None:
        """The set whose ``Ops`` run the layers, or None where torch and native kernels do."""
        return self.attention.kernels if self.attention.kernels in ("triton", "reference") else None

    def __str__(self) -> str:
        choices = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{op} {choice.kernels} ({choice.reason})" for op, choice in choices)


def triton_obstacle(device: torch.device, *, asked: bool) -> str | None:
    """Why Triton cannot run on this device; the interpreter, for tests, only where it is asked for."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed: pip install 'holefill[gpu]'"
    if device.type == "cpu":
        from_environment = asked and _interpreting()
        return None if from_environment else "triton needs a GPU: choose --device cuda, or other kernels"
    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        return f"this GPU has compute capability {capability}, triton kernels need {LEAST_CAPABILITY}: choose torch"
    return None


def _interpreting() -> bool:
    from holefill.kernels.jit import interpreting

    return interpreting()


Obstacle = Callable[[Site, bool], "str | None"]
"""Why a set cannot compute an op at a site; the flag says whether it was asked for by name."""


def _none(site: Site, asked: bool) -> None:
    return None


def _triton(site: Site, asked: bool) -> str | None:
    if site.stored in ("rows", "native"):
        return f"the weights are in the CPU's {site.stored} form: choose weights packed or bf16 on a CUDA device"
    return triton_obstacle(site.device, asked=asked)


def _native_attention(site: Site, asked: bool) -> str | None:
    if site.stored != "native" and not asked:
        return "native attention goes with native weights"
    if site.device.type != "cpu" or site.dtype is not torch.float32:
        return f"native attention runs on the CPU in float32, not on {site.device.type} in {site.dtype}: choose torch"
    if not supports(site.head_dim):
        return f"no native attention here for heads of {site.head_dim} (AVX512 and a C++ compiler needed): choose torch"
    return None


def _stored_as(form: Stored, remedy: str) -> Obstacle:
    return lambda site, asked: None if site.stored == form else f"the weights are kept as {site.stored}: {remedy}"


def _torch(site: Site, asked: bool) -> str | None:
    return "grouped codes are read by triton alone: choose weights bf16" if site.stored == "codes" and asked else None


# One row an op: the sets that have kernels for it, best first.
LINEAR: Mapping[str, Obstacle] = {
    "triton": _triton,
    "native": _stored_as("native", "choose weights packed or native on a CPU"),
    "torch": _stored_as("rows", "choose weights w8a8"),
    "reference": _stored_as("codes", "choose other kernels"),
}
DENSE: Mapping[str, Obstacle] = {"torch": _none}
ATTENTION: Mapping[str, Obstacle] = {"triton": _triton, "native": _native_attention, "torch": _torch}
LAYER: Mapping[str, Obstacle] = {"triton": _triton, "torch": _torch}


def choose(site: Site, wanted: str = "auto") -> Plan:
    """Raises KernelError for a set that cannot run here, or that does not exist."""
    if wanted not in NAMES:
        raise KernelError(f"no kernels called {wanted}: choose one of {', '.join(NAMES)}")
    linear = DENSE if site.stored == "dense" else LINEAR
    plan = Plan(_choice(linear, site, wanted), _choice(ATTENTION, site, wanted), _choice(LAYER, site, wanted))
    log.info("kernels: %s", plan)
    return plan


def _choice(candidates: Mapping[str, Obstacle], site: Site, wanted: str) -> Choice:
    if wanted == "reference":
        return Choice("reference", "asked for")
    if wanted in candidates:
        obstacle = candidates[wanted](site, True)
        if obstacle is not None:
            raise KernelError(f"{wanted} kernels cannot be used: {obstacle}")
        return Choice(wanted, "asked for")
    if wanted != "auto":
        return Choice("torch", f"{wanted} has no kernel for it")
    obstacles: list[str] = []
    for name, of in candidates.items():
        obstacle = of(site, False)
        if obstacle is None:
            return Choice(name, "; ".join(obstacles) or "the fastest here")
        obstacles.append(f"no {name}: {obstacle}")
    raise KernelError("; ".join(obstacles))


@dataclass(frozen=True, slots=True)
class Ops:
    """The ops of a decoder layer beside its products, all of one set. Shapes: the file of each op."""

    rms_norm: Callable[[Tensor, Tensor | None, Tensor, float], tuple[Tensor, Tensor]]
    rope: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
    attend: Callable[[Tensor, Sequence[Source], float], Tensor]
    swiglu: Callable[[Tensor], Tensor]


def ops(kernels: str) -> Ops:
    """Of ``Plan.fused``."""
    from holefill.kernels import attention, partial, rms_norm, rope, swiglu

    if kernels == "triton":

        def attend(queries: Tensor, sources: Sequence[Source], scale: float) -> Tensor:
            return attention.attend_all(queries, sources, scale).out

        return Ops(rms_norm.rms_norm, rope.rope, attend, swiglu.swiglu)

    def reference_norm(x: Tensor, residual: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        y, total = rms_norm.reference(x, residual, weight, eps)
        return y.to(x.dtype), total

    def reference_rope(qkv: Tensor, cos: Tensor, sin: Tensor, slots: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        queries, new_keys, new_values = rope.reference(qkv, cos, sin, slots, keys, values)
        keys[slots], values[slots] = new_keys[slots], new_values[slots]
        return queries

    def reference_attend(queries: Tensor, sources: Sequence[Source], scale: float) -> Tensor:
        parts = [attention.reference(queries, source, scale) for source in sources]
        return partial.reference(*partial.stack(parts), queries.dtype).out

    return Ops(reference_norm, reference_rope, reference_attend, lambda both: swiglu.reference(both).to(both.dtype))
