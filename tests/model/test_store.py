"""The store against a real package index made of files: the real `pip download` runs, only the wheels are small."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from holefill.model.errors import PullError, UnknownModelError
from holefill.model.known import HubFile, KnownModel, WheelParts, known_models
from holefill.model.sources import HubSource, PipFetch, Progress, WheelMirror
from holefill.model.store import ModelStore

PARTS = [os.urandom(70_000), os.urandom(70_000), os.urandom(1_234)]
WHOLE = b"".join(PARTS)
MIRROR = WheelParts(package="tiny-weights-part{part}", version="1.0", member="data/part{part:02d}.bin", parts=3)
TINY = KnownModel(
    name="tiny", family="qwen2", file="tiny.gguf", size=len(WHOLE), sha256=hashlib.sha256(WHOLE).hexdigest(),
    licence="Apache-2.0", hub=HubFile("nobody/tiny", "main"), mirror=MIRROR,
)  # fmt: skip


def write_wheel(folder: Path, part: int, data: bytes, extra: dict[str, str] | None = None) -> Path:
    package, info = f"tiny_weights_part{part}", f"tiny_weights_part{part}-1.0.dist-info"
    wheel = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{package}/data/part{part:02d}.bin", data)
        for name, text in (extra or {}).items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-weights-part{part}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes for its only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for part, data in enumerate(PARTS, 1):
        write_wheel(folder, part, data)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


class Counting:
    """The real fetch, counted, and failing where told."""

    def __init__(self, fail_at: int = 0) -> None:
        self.asked: list[str] = []
        self.fail_at = fail_at

    def __call__(self, requirement: str, folder: Path, on_bytes: Callable[[int], None]) -> Path:
        self.asked.append(requirement)
        if len(self.asked) == self.fail_at:
            raise PullError("the line was cut")
        return PipFetch(poll_seconds=0.02)(requirement, folder, on_bytes)


def store_at(root: Path, fetch: Counting | None = None, model: KnownModel = TINY) -> ModelStore:
    return ModelStore(root, {"tiny": model}, (WheelMirror(fetch or Counting()),), "tiny")


def leftovers(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


def test_pull_installs_the_exact_file_and_nothing_else(index: Path, tmp_path: Path) -> None:
    store = store_at(tmp_path / "models")
    seen: list[tuple[int, int, str]] = []
    path = store.pull("tiny", lambda *step: seen.append(step))
    assert path.read_bytes() == WHOLE
    assert leftovers(store.root) <= {"tiny/tiny.gguf", "tiny/verified.json", "tiny/lock"}
    assert store.find("tiny") == store.resolve("tiny") == path
    assert all(0 <= done <= total == TINY.size for done, total, _ in seen)
    assert seen[-1][0] == TINY.size


def test_pull_of_a_present_model_fetches_nothing(index: Path, tmp_path: Path) -> None:
    store_at(tmp_path).pull("tiny")
    fetch = Counting()
    store_at(tmp_path, fetch).pull("tiny")
    assert fetch.asked == []


def test_nothing_in_a_wheel_is_run(index: Path, tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')"
    write_wheel(index, 1, PARTS[0], {"tiny_weights_part1/__init__.py": trap, "evil.pth": f"import os; {trap}"})
    store_at(tmp_path / "models").pull("tiny")
    assert not (tmp_path / "ran").exists()
    assert not list((tmp_path / "models").rglob("*.py"))


def test_a_cut_pull_continues_with_the_missing_parts(index: Path, tmp_path: Path) -> None:
    with pytest.raises(PullError, match=r"line was cut.*run `holefill model pull tiny` again"):
        store_at(tmp_path, Counting(fail_at=3)).pull("tiny")
    assert store_at(tmp_path).find("tiny") is None
    fetch = Counting()
    assert store_at(tmp_path, fetch).pull("tiny").read_bytes() == WHOLE
    assert fetch.asked == ["tiny-weights-part3==1.0"]


def test_bytes_written_after_the_journal_are_dropped(index: Path, tmp_path: Path) -> None:
    with pytest.raises(PullError):
        store_at(tmp_path, Counting(fail_at=2)).pull("tiny")
    with (tmp_path / "tiny" / "staging" / "assembly").open("ab") as file:
        file.write(b"half a part, then the power went")
    fetch = Counting()
    assert store_at(tmp_path, fetch).pull("tiny").read_bytes() == WHOLE
    assert len(fetch.asked) == 2


def test_a_broken_journal_starts_again(index: Path, tmp_path: Path) -> None:
    with pytest.raises(PullError):
        store_at(tmp_path, Counting(fail_at=2)).pull("tiny")
    (tmp_path / "tiny" / "staging" / "assembly.json").write_text('{"parts": 1')
    assert store_at(tmp_path).pull("tiny").read_bytes() == WHOLE


def test_wrong_bytes_are_never_installed_nor_kept(index: Path, tmp_path: Path) -> None:
    write_wheel(index, 2, os.urandom(70_000))
    with pytest.raises(PullError, match="wrong SHA-256") as error:
        store_at(tmp_path).pull("tiny")
    assert "\n" not in str(error.value)
    assert store_at(tmp_path).find("tiny") is None
    assert leftovers(tmp_path / "tiny") <= {"lock"}
    write_wheel(index, 2, PARTS[1])
    assert store_at(tmp_path).pull("tiny").read_bytes() == WHOLE


def test_a_short_part_is_named_by_size(index: Path, tmp_path: Path) -> None:
    write_wheel(index, 3, PARTS[2][:-1])
    with pytest.raises(PullError, match=f"{TINY.size - 1} bytes instead of {TINY.size}"):
        store_at(tmp_path).pull("tiny")


def test_a_part_larger_than_the_model_is_refused_unread(index: Path, tmp_path: Path) -> None:
    write_wheel(index, 1, bytes(50_000_000))  # deflates to 50 kB: a zip bomb in small
    with pytest.raises(PullError, match="at most"):
        store_at(tmp_path).pull("tiny")


@pytest.mark.parametrize("damage", ["truncate", "flip", "no member"])
def test_a_damaged_wheel_is_fetched_again(index: Path, tmp_path: Path, damage: str) -> None:
    wheel = index / "tiny_weights_part2-1.0-py3-none-any.whl"
    good = wheel.read_bytes()
    if damage == "truncate":
        wheel.write_bytes(good[: len(good) // 2])
    elif damage == "flip":
        wheel.write_bytes(good[:5000] + bytes([good[5000] ^ 1]) + good[5001:])
    else:
        with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(index / "new", "w") as new:
            for info in archive.infolist():
                if not info.filename.endswith(".bin"):
                    new.writestr(info, archive.read(info))
        (index / "new").replace(wheel)
    with pytest.raises(PullError, match="part2") as error:
        store_at(tmp_path).pull("tiny")
    assert "\n" not in str(error.value)
    wheel.write_bytes(good)
    fetch = Counting()
    assert store_at(tmp_path, fetch).pull("tiny").read_bytes() == WHOLE
    assert fetch.asked[0] == "tiny-weights-part2==1.0"


def test_too_little_space_is_said_before_anything_is_fetched(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    fetch = Counting()
    with pytest.raises(PullError, match="HOLEFILL_HOME"):
        store_at(tmp_path, fetch).pull("tiny")
    assert fetch.asked == []


def test_a_disk_that_fills_up_is_one_line_and_resumes(index: Path, tmp_path: Path) -> None:
    class Full(Counting):
        def __call__(self, requirement: str, folder: Path, on_bytes: Callable[[int], None]) -> Path:
            if "part2" in requirement:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().__call__(requirement, folder, on_bytes)

    with pytest.raises(PullError, match="is full: free some space"):
        store_at(tmp_path, Full()).pull("tiny")
    fetch = Counting()
    assert store_at(tmp_path, fetch).pull("tiny").read_bytes() == WHOLE
    assert len(fetch.asked) == 2


def test_no_network_names_both_sources_and_a_way_out(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wheel in index.iterdir():
        wheel.unlink()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    store = ModelStore(tmp_path / "models", {"tiny": TINY}, (HubSource(), WheelMirror()), "tiny")
    with pytest.raises(PullError) as error:
        store.pull("tiny")
    message = str(error.value)
    assert "Hugging Face hub: http://127.0.0.1:9 is unreachable" in message
    assert "package mirror: pip download tiny-weights-part1==1.0 failed" in message
    assert "use it by path" in message
    assert "\n" not in message


def test_an_unreachable_hub_falls_over_to_the_mirror(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    store = ModelStore(tmp_path / "models", {"tiny": TINY}, (HubSource(), WheelMirror()), "tiny")
    assert store.pull("tiny").read_bytes() == WHOLE


def test_the_first_source_that_proves_itself_wins(index: Path, tmp_path: Path) -> None:
    class Liar:
        name = "liar"

        def offers(self, model: KnownModel) -> bool:
            return True

        def fetch(self, model: KnownModel, staging: Path, progress: Progress) -> Path:
            path = staging / "lie"
            path.write_bytes(bytes(model.size))
            return path

    store = ModelStore(tmp_path / "models", {"tiny": TINY}, (Liar(), WheelMirror()), "tiny")
    assert store.pull("tiny").read_bytes() == WHOLE


PULLER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_store import WheelMirror, ModelStore, KnownModel, MIRROR
model = KnownModel("tiny", "qwen2", "tiny.gguf", {size}, {sha!r}, "x", None, MIRROR)
steps = []
store = ModelStore(Path({root!r}), {{"tiny": model}}, (WheelMirror(),), "tiny")
print(store.pull("tiny", lambda *step: steps.append(step[2])))
print("fetched" if any("mirror" in step for step in steps) else "waited")
"""


def test_two_processes_pull_once_and_agree(index: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    code = PULLER.format(tests=str(Path(__file__).parent), size=TINY.size, sha=TINY.sha256, root=str(root))
    pullers = [
        subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        for _ in range(2)
    ]
    outputs = [puller.communicate(timeout=60)[0].split() for puller in pullers]
    assert [puller.returncode for puller in pullers] == [0, 0]
    assert sorted(words[-1] for words in outputs) == ["fetched", "waited"]
    assert (root / "tiny" / "tiny.gguf").read_bytes() == WHOLE


def test_a_killed_pull_leaves_nothing_installed_and_resumes(index: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    code = PULLER.format(tests=str(Path(__file__).parent), size=TINY.size, sha=TINY.sha256, root=str(root))
    puller = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, cwd=tmp_path)
    journal = root / "tiny" / "staging" / "assembly.json"
    while not journal.exists() and puller.poll() is None:
        pass
    puller.kill()
    puller.communicate()
    fetch = Counting()
    assert store_at(root, fetch).pull("tiny").read_bytes() == WHOLE
    assert len(fetch.asked) < 3


def test_a_file_changed_after_the_pull_is_hashed_and_refused(index: Path, tmp_path: Path) -> None:
    store = store_at(tmp_path)
    path = store.pull("tiny")
    stamp = path.stat().st_mtime_ns
    path.write_bytes(bytes(TINY.size))
    os.utime(path, ns=(stamp + 1, stamp + 1))
    assert store.find("tiny") is None
    with pytest.raises(UnknownModelError, match="holefill model pull tiny"):
        store.resolve("tiny")
    assert store.pull("tiny").read_bytes() == WHOLE


def test_a_start_does_not_hash_a_proven_file(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(tmp_path)
    path = store.pull("tiny")

    def fail(path: Path) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr("holefill.model.store.sha256", fail)
    assert store.find("tiny") == path


def test_remove_frees_the_model_and_an_unfinished_pull(index: Path, tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.pull("tiny")
    assert store.remove("tiny") >= TINY.size
    assert store.find("tiny") is None
    with pytest.raises(UnknownModelError, match="model list"):
        store.remove("nothing")


def test_add_resolves_by_name_until_the_file_goes(tmp_path: Path) -> None:
    store = store_at(tmp_path / "models")
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(b"GGUF....")
    store.add("mine", mine)
    assert store.resolve("mine") == mine
    assert [entry.name for entry in store.entries()] == ["tiny", "mine"]
    mine.unlink()
    with pytest.raises(UnknownModelError, match="is gone"):
        store.resolve("mine")
    store.remove("mine")
    with pytest.raises(UnknownModelError, match="no model and no file"):
        store.resolve("mine")
    for bad in ("tiny", "a/b", "../x", "", "-x"):
        with pytest.raises(UnknownModelError):
            store.add(bad, mine)


def test_paths_resolve_only_to_what_can_be_a_model(tmp_path: Path) -> None:
    store = store_at(tmp_path / "models")
    gguf, text, folder = tmp_path / "m.gguf", tmp_path / "notes.txt", tmp_path / "hf"
    gguf.write_bytes(b"GGUF....")
    text.write_text("hello")
    folder.mkdir()
    assert store.resolve(str(gguf)) == gguf
    with pytest.raises(UnknownModelError, match="no GGUF file"):
        store.resolve(str(text))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(UnknownModelError, match=r"no tokenizer\.json"):
        store.resolve(str(folder))
    (folder / "tokenizer.json").write_text("{}")
    assert store.resolve(str(folder)) == folder
    with pytest.raises(UnknownModelError, match="did you mean tiny"):
        store.resolve("tinny")


def test_the_table_is_complete() -> None:
    table = known_models()
    assert table.default in table.models
    for model in table.models.values():
        assert len(model.sha256) == 64
        assert model.hub is not None
        assert model.mirror is not None
        assert model.mirror.package.format(part=1) != model.mirror.package.format(part=2)


def test_home_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLEFILL_HOME", str(tmp_path))
    assert ModelStore.default().root == tmp_path / "models"


def test_importing_the_store_loads_neither_torch_nor_the_hub() -> None:
    code = "import holefill.model.store, sys; print(sorted({'torch', 'huggingface_hub', 'httpx'} & set(sys.modules)))"
    output = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"
