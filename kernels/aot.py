"""Compiles every kernel without a GPU; `python -m holefill.kernels.aot` prints registers, stack and shared memory.

A stack means spilled registers. The compiler checks no limit of shared memory: ``LIMITS`` are ours, per block, from
NVIDIA's CUDA C++ programming guide (compute capabilities). Must run without TRITON_INTERPRET.

    --cap 80     only these targets (repeatable)
    --table      write kernels/aot_resources.md, the committed table, instead of printing JSON
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from holefill.kernels import attention, partial, quant_matmul, rms_norm, rope, sample, swiglu, token_mask, top
from holefill.kernels.jit import INSTALLED, interpreting
from holefill.kernels.segments import Visible

LIMITS = {80: 166_912, 90: 232_448, 121: 101_376}
"""Targets and their shared memory: A100, H100, and the newest that triton 3.9 compiles for (consumer Blackwell)."""
TABLE = Path(__file__).with_name("aot_resources.md")
POINTERS = {torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.float32: "*fp32"}
Constants = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One compilation: ``arguments`` maps names to Triton types; ``aligned`` ones are multiples of 16."""

    name: str
    kernel: Any
    arguments: dict[str, str]
    constants: Constants
    aligned: tuple[str, ...]
    warps: int = 4
    stages: int = 3


@dataclass(frozen=True, slots=True)
class Resources:
    """What one compilation takes. ``stack`` in bytes a thread, ``shared`` in bytes a block."""

    kernel: str
    cap: int
    registers: int
    stack: int
    shared: int


def attention_case(
    dtype: torch.dtype, head_dim: int, kv_heads: int, group: int, queries: int, visible: Visible, indexed: bool
) -> Case:
    launch = attention.launch_for(dtype, head_dim, kv_heads, group, queries * group, visible, indexed)
    element = POINTERS[dtype]
    arguments = {"queries": element, "keys": element, "values": element}
    arguments |= dict.fromkeys(("query_start", "key_start"), "*i32") | dict.fromkeys(("outs", "lses"), "*fp32")
    strides = [f"{of}{kind}" for of in ("query", "key", "value") for kind in ("_stride", "_head_stride")]
    arguments |= dict.fromkeys(strides, "i32") | {"n": "i32", "words": "i32", "scale_log2": "fp32"}
    constants: Constants = dict(launch.constants)
    for name, type_, used in (("pool_rows", "*i32", indexed), ("ancestors", "*i64", visible is Visible.BITS)):
        if used:
            arguments[name] = type_
        else:
            constants[name] = None
    aligned = (*(name for name, type_ in arguments.items() if type_.startswith("*")), *strides)
    rows = " indexed" if indexed else ""
    name = f"attention {visible.name.lower()}{rows} d{head_dim} group{group} rows{launch.constants['BLOCK_M']}"
    return Case(
        f"{name} {element[1:]}", attention._attend_kernel, arguments, constants, aligned, launch.warps, launch.stages
    )


def row_cases(dtype: torch.dtype, width: int, heads: int, kv_heads: int, head_dim: int) -> Iterator[Case]:
    e = POINTERS[dtype]
    pointers = {"outs": "*fp32", "lses": "*fp32", "out": e, "lse": "*fp32"}
    arguments = pointers | {"parts": "i32", "rows": "i32"}
    constants: Constants = dict(partial.merge_constants(head_dim))
    yield Case(f"merge d{head_dim} {e[1:]}", partial._merge_kernel, arguments, constants, tuple(pointers))
    pointers = dict.fromkeys(("x", "residual", "weight", "y", "total"), e)
    arguments = pointers | {"width": "i32", "eps": "fp32"}
    constants = dict(rms_norm.constants(width, residual=True))
    yield Case(f"rms_norm {width} {e[1:]}", rms_norm._rms_norm_kernel, arguments, constants, (*pointers, "width"))
    pointers = dict.fromkeys(("both", "y"), e)
    arguments = pointers | {"width": "i32"}
    constants = {"BLOCK": swiglu.BLOCK}
    yield Case(f"swiglu {e[1:]}", swiglu._swiglu_kernel, arguments, constants, (*pointers, "width"))
    pointers = dict.fromkeys(("qkv", "keys", "values", "queries"), e) | {
        "cos": "*fp32",
        "sin": "*fp32",
        "slots": "*i64",
    }
    strides = dict.fromkeys(("key_stride", "key_head_stride", "value_stride", "value_head_stride"), "i32")
    constants = dict(rope.constants(heads, kv_heads, head_dim))
    aligned = (*pointers, *strides)
    yield Case(
        f"rope {heads}/{kv_heads} d{head_dim} {e[1:]}", rope._rope_kernel, pointers | strides, constants, aligned
    )
    arguments = {"logits": "*fp32", "words": "*i32", "vocab": "i32", "word_count": "i32"}
    aligned = ("logits", "words")
    yield Case("token_mask fp32", token_mask._token_mask_kernel, arguments, {"BLOCK": token_mask.BLOCK}, aligned)


def choice_cases(vocab: int) -> Iterator[Case]:
    """Logits are fp32, as the transformer gives them."""
    pointers = {"logits": "*fp32", "values": "*fp32", "ids": "*i32", "lses": "*fp32"}
    constants: Constants = {"COUNT": top.TOP, "BLOCK": top.CHUNK}
    yield Case("top of a chunk fp32", top._chunk_top_kernel, pointers | {"vocab": "i32"}, constants, tuple(pointers))
    pointers = {"values": "*fp32", "ids": "*i32", "lses": "*fp32", "top_ids": "*i32", "log_probs": "*fp32"}
    constants = dict(top.row_constants(vocab))
    yield Case(f"top of {vocab}", top._row_top_kernel, pointers | {"chunks": "i32"}, constants, tuple(pointers))
    pointers = dict.fromkeys(("logits", "temperature", "top_p", "uniform"), "*fp32") | {"top_k": "*i32", "ids": "*i64"}
    constants = {"BLOCK": sample.BLOCK}
    yield Case("sample fp32", sample._sample_kernel, pointers | {"vocab": "i32"}, constants, tuple(pointers))


def linear_case(
    dtype: torch.dtype, n: int, bits: int, group: int, *, affine: bool, bias: bool, wide: bool = False
) -> Case:
    """``wide``: the result in fp32, as of the head."""
    e = POINTERS[dtype]
    arguments = {"x": e, "codes": "*u8", "scales": "*fp16", "y": "*fp32" if wide else e, "n": "i32"}
    arguments |= dict.fromkeys(("size", "outputs", "y_stride"), "i32")
    constants: Constants = dict(quant_matmul.constants(dtype, n, bits, group, affine=affine, bias=bias))
    for name, type_, used in (("mins", "*fp16", affine), ("bias", e, bias)):
        if used:
            arguments[name] = type_
        else:
            constants[name] = None
    aligned = tuple(name for name in arguments if name != "n")
    name = f"quant_matmul {bits} bits by {group} rows{constants['BLOCK_M']} {e[1:]}{' to fp32' if wide else ''}"
    return Case(name, quant_matmul._quant_matmul_kernel, arguments, constants, aligned)


def cases() -> Iterator[Case]:
    """The shapes of Qwen2.5-Coder 0.5B and 7B, and a head dimension that is no power of two; fp32 is for tests only."""
    bf16, fp16 = torch.bfloat16, torch.float16
    for head_dim, kv_heads in ((64, 2), (128, 4)):  # as the fused decoder launches them: rows of the pool by table
        for queries in (2, 32):  # 14 and 224 rows with the group: the least block, and the largest
            for visible in Visible:
                yield attention_case(bf16, head_dim, kv_heads, 7, queries, visible, indexed=True)
    yield attention_case(fp16, 80, 8, 4, 1, Visible.ALL, indexed=False)
    yield attention_case(bf16, 128, 4, 7, 32, Visible.ALL, indexed=False)
    yield attention_case(fp16, 128, 4, 7, 2, Visible.BITS, indexed=False)
    yield attention_case(bf16, 128, 4, 7, 512, Visible.CAUSAL, indexed=False)
    yield from row_cases(bf16, 3584, 28, 4, 128)
    yield from choice_cases(151_936)
    yield linear_case(bf16, 1, 4, 32, affine=True, bias=True)
    yield linear_case(bf16, 1, 8, 16, affine=False, bias=False)
    yield linear_case(fp16, 64, 4, 32, affine=True, bias=False)
    yield linear_case(bf16, 1, 8, 32, affine=False, bias=False, wide=True)


def compile_case(case: Case, cap: int) -> Resources:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = case.kernel.arg_names
    missing = set(names) - set(case.arguments) - set(case.constants)
    if missing:
        raise ValueError(f"{case.name}: no type for {sorted(missing)}")
    source = ASTSource(
        fn=case.kernel,
        signature={name: case.arguments.get(name, "constexpr") for name in names},
        constexprs={(names.index(name),): value for name, value in case.constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in case.aligned},
    )
    options = {"num_warps": case.warps, "num_stages": case.stages}
    compiled = triton.compile(source, target=GPUTarget("cuda", cap, 32), options=options)
    registers, stack = usage(compiled.asm["cubin"])
    return Resources(case.name, cap, registers, stack, compiled.metadata.shared)


def usage(cubin: bytes) -> tuple[int, int]:
    """Registers and stack bytes of a thread, from the object file: asking the runtime would need a driver."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    if found is None:
        raise RuntimeError(f"no resource usage in the output of {tool}:\n{text}")
    return int(found[1]), int(found[2])


def table(results: list[Resources], version: str) -> str:
    lines = [
        "# What the GPU kernels take",
        "",
        f"Compiled ahead of time with triton {version}; nothing here was run on a GPU.",
        "`python -m holefill.kernels.aot --table` writes this file, tests/kernels/test_triton.py holds it.",
        "Registers and stack bytes are a thread's (a stack means spills), shared bytes a block's.",
        "Targets: sm_80 (A100), sm_90 (H100), sm_121 (consumer Blackwell, the newest the compiler knows).",
        "",
        "| kernel | target | registers | stack | shared |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {r.kernel} | sm_{r.cap} | {r.registers} | {r.stack} | {r.shared} |" for r in results]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compile every Triton kernel without a GPU.")
    parser.add_argument("--cap", type=int, action="append", choices=sorted(LIMITS))
    parser.add_argument("--table", action="store_true", help="write the committed table")
    options = parser.parse_args(arguments)
    if not INSTALLED or interpreting():
        parser.error("needs triton (pip install 'holefill[gpu]') and TRITON_INTERPRET unset")
    import triton

    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # its default changes in triton 3.10
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        results = [compile_case(case, cap) for case in cases() for cap in options.cap or LIMITS]
    if options.table:
        TABLE.write_text(table(results, triton.__version__), encoding="utf-8")
    else:
        report = {"triton": triton.__version__, "results": [asdict(result) for result in results]}
        sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
