"""AddressSanitizer and UBSan over every native kernel, in a program of their own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from holefill.kernels import library


def test_sanitizers_are_clean(tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ here")
    program = tmp_path / "sanitize"
    source = Path(__file__).with_name("sanitize.cpp")
    native = sorted(Path(library.__file__).parent.glob("native/*.cpp"))
    flags = ["-O1", "-g", "-std=c++17", "-fopenmp", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(
        [compiler, *flags, "-Wno-maybe-uninitialized", f"-I{native[0].parent}", "-o", program, source, *native],
        check=True,
        timeout=300,
    )
    done = subprocess.run([program], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
