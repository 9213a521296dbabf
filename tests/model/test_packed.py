"""The packed file: made once, mapped afterwards, made again when anything about it or its source is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from holefill.kernels import grouped_linear
from holefill.model import packed, transformer
from holefill.model.forms import FORMS, Form, choose_form
from holefill.model.packed import fingerprint_of, packed_paths
from holefill.model.transformer import Transformer

IDS = torch.arange(30)


def save(folder: Path, seed: int = 0, tied: bool = True, hidden: int = 64) -> Path:
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=300,
        hidden_size=hidden,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.2,
        tie_word_embeddings=tied,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packed, "user_cache_path", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache"


@pytest.fixture(autouse=True, params=sorted(FORMS))
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Form:
    """Every test runs on each form this machine has, not only on the one it would choose."""
    if request.param == "native" and grouped_linear.kernels() is None:
        pytest.skip("no native kernels here: no C++ compiler or no AVX2")
    chosen = choose_form(request.param)
    monkeypatch.setattr(transformer, "choose_form", lambda _: chosen)
    return chosen


def logits(path: Path, calls: list[float] | None = None) -> torch.Tensor:
    progress = None if calls is None else lambda _, fraction: calls.append(fraction)
    model = Transformer.load(path, device="cpu", progress=progress)
    return model.forward(IDS, model.new_cache(64), logit_rows=slice(None))


@pytest.mark.parametrize("tied", [True, False])
def test_second_start_reads_the_packed_file(tmp_path: Path, tied: bool, form: Form) -> None:
    hidden = 128 if form.name == "cuda-grouped" else 64  # its kernel reads runs of 128, narrower weights stay dense
    folder = save(tmp_path / "m", tied=tied, hidden=hidden)
    first: list[float] = []
    second: list[float] = []
    fresh = logits(folder, first)
    assert first == sorted(first)
    assert first[-1] == 1.0
    torch.testing.assert_close(logits(folder, second), fresh, atol=0, rtol=0)
    assert second == []
    exact = Transformer.load(folder, device="cpu", weights="fp32")
    reference = exact.forward(IDS, exact.new_cache(64), logit_rows=slice(None))
    assert 0 < float((fresh - reference).abs().max()) < 0.1 * float(reference.abs().max())


def flip(data: bytearray) -> None:
    data[len(data) // 3] ^= 1


def cut(data: bytearray) -> None:
    del data[-50:]


def zero_page(data: bytearray) -> None:
    data[8192:12288] = bytes(4096)


def other_version(data: bytearray) -> None:
    at = data.rindex(b'"version": 2')
    data[at : at + 12] = b'"version": 9'


def other_version_of_the_form(data: bytearray) -> None:
    at = data.rindex(b'"form_version": ') + len(b'"form_version": ')
    data[at : at + 1] = b"9"


def empty(data: bytearray) -> None:
    data.clear()


@pytest.mark.parametrize("damage", [flip, cut, zero_page, other_version, other_version_of_the_form, empty])
def test_a_damaged_file_is_made_again(tmp_path: Path, form: Form, damage: Callable[[bytearray], None]) -> None:
    folder = save(tmp_path / "m")
    fresh = logits(folder)
    target = packed_paths(folder, form)[0]
    good = target.read_bytes()
    data = bytearray(good)
    damage(data)
    target.write_bytes(data)
    calls: list[float] = []
    torch.testing.assert_close(logits(folder, calls), fresh, atol=0, rtol=0)
    assert calls
    assert target.read_bytes() == good


def test_another_model_at_the_same_path(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", seed=0)
    before, key = logits(folder), fingerprint_of(folder)
    save(folder, seed=1)
    assert fingerprint_of(folder) != key
    assert not torch.allclose(logits(folder), before)


def test_unwritable_folder_uses_the_user_cache(tmp_path: Path, user_cache: Path, form: Form) -> None:
    folder = save(tmp_path / "m")
    packed_paths(folder, form)[0].mkdir()  # a folder in the file's place: fails for root too
    fresh = logits(folder)
    calls: list[float] = []
    assert len(list(user_cache.rglob(f"*.{form.name}"))) == 1
    torch.testing.assert_close(logits(folder, calls), fresh, atol=0, rtol=0)
    assert calls == []


def test_nowhere_to_write(tmp_path: Path, user_cache: Path, form: Form, caplog: pytest.LogCaptureFixture) -> None:
    folder = save(tmp_path / "m")
    packed_paths(folder, form)[0].mkdir()
    user_cache.write_text("in the way")
    assert torch.isfinite(logits(folder)).all()
    assert "every start will quantise" in caplog.text


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "m")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(packed, "_write", full)
    logits(folder)
    assert not [path for path in folder.iterdir() if path.suffix not in (".json", ".safetensors", ".lock")]


def test_processes_may_pack_at_once(tmp_path: Path) -> None:
    folder = save(tmp_path / "m")
    script = (
        "import sys, torch; from pathlib import Path; from holefill.model.transformer import Transformer\n"
        "model = Transformer.load(Path(sys.argv[1]), device='cpu')\n"
        "print(float(model.forward(torch.arange(30), model.new_cache(64)).double().sum()))"
    )
    command = [sys.executable, "-P", "-c", script, str(folder)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(set(outputs)) == 1
