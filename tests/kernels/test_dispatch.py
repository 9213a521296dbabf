"""Which kernels are chosen where, and that a wish that cannot be met is an error that says what to do."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from typing import get_args

import pytest
import torch

from holefill.kernels import native_attention
from holefill.kernels.dispatch import NAMES, KernelError, Plan, Site, Stored, choose
from holefill.model.serving.commands import KernelName

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def site(stored: Stored, device: torch.device = CPU, head_dim: int = 64) -> Site:
    return Site(device, torch.float32 if device.type == "cpu" else torch.bfloat16, head_dim, stored)


def names(plan: Plan) -> tuple[str, str, str]:
    return plan.linear.kernels, plan.attention.kernels, plan.layer.kernels


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's answers; nothing is computed on it."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def native_where_built(head_dim: int = 64) -> str:
    return "native" if native_attention.supports(head_dim) else "torch"


def test_auto_on_a_cpu() -> None:
    assert names(choose(site("dense"))) == ("torch", "torch", "torch")
    assert names(choose(site("rows"))) == ("torch", "torch", "torch")
    assert names(choose(site("native"))) == ("native", native_where_built(), "torch")
    assert names(choose(site("native", head_dim=48))) == ("native", "torch", "torch")


@pytest.mark.usefixtures("with_gpu")
def test_auto_on_a_gpu() -> None:
    assert names(choose(site("codes", GPU))) == ("triton", "triton", "triton")
    assert names(choose(site("dense", GPU))) == ("torch", "triton", "triton")
    assert choose(site("codes", GPU)).fused == "triton"
    assert choose(site("dense")).fused is None


def test_an_old_gpu_is_served_by_torch(with_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    plan = choose(site("dense", GPU))
    assert names(plan) == ("torch", "torch", "torch")
    assert "(7, 5)" in plan.attention.reason
    with pytest.raises(KernelError, match="choose torch"):
        choose(site("dense", GPU), "triton")


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(KernelError, match="pip install"):
        choose(site("dense"), "triton")


@pytest.mark.parametrize("stored", ["dense", "rows", "native", "codes"])
def test_reference_computes_everything(stored: Stored) -> None:
    assert names(choose(site(stored), "reference")) == ("reference",) * 3


@pytest.mark.parametrize(
    ("wanted", "where", "remedy"),
    [
        ("triton", site("dense"), "choose --device cuda"),
        ("triton", site("native"), "choose weights packed"),
        ("native", site("rows"), "choose weights packed or native"),
        ("native", site("native", head_dim=48), "heads of 48"),
        ("native", site("dense", GPU), "choose torch"),
        ("torch", site("native"), "choose weights w8a8"),
        ("torch", site("codes"), "choose weights"),
        ("cuda", site("dense"), "choose one of auto, triton, native, torch, reference"),
    ],
)
def test_a_wish_that_cannot_be_met_raises(wanted: str, where: Site, remedy: str) -> None:
    with pytest.raises(KernelError, match=remedy):
        choose(where, wanted)


def test_what_a_set_has_no_kernel_for_is_torchs_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    if not native_attention.supports(64):
        pytest.skip("no native attention on this machine")
    with caplog.at_level(logging.INFO):
        plan = choose(site("dense"), "native")
    assert names(plan) == ("torch", "native", "torch")
    assert "linear torch (native has no kernel for it)" in caplog.text


def test_the_command_offers_every_set() -> None:
    assert get_args(KernelName) == NAMES


def test_a_cpu_process_does_not_import_triton() -> None:
    code = (
        "import sys, torch\n"
        "from holefill.kernels import dispatch\n"
        "from holefill.model.transformer import Transformer\n"
        "dispatch.choose(dispatch.Site(torch.device('cpu'), torch.float32, 64, 'dense'))\n"
        "sys.exit('triton' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
