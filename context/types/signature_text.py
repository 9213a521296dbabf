"""Signatures as they are written (Python, TypeScript) → parameters and return type."""

from __future__ import annotations

import re
from functools import lru_cache

from holefill.context.types.oracle import Parameter

_RETURN = re.compile(r"^\s*(?:->|:)\s*(.+)$", re.S)
_WORDS = re.compile(r"^(?:export |async |static |public |private |protected |bound |def |function |method )+")


def parameters_in(signature: str) -> tuple[str, tuple[Parameter, ...]]:
    """The signature without the words before its name, and its parameters; marks (`*`, `/`) are none."""
    label = _WORDS.sub("", signature)
    start = label.find("(")
    if start < 0:
        return label, ()
    depth, begin = 0, start + 1
    found: list[str] = []
    for index in range(start, len(label)):
        char = label[index]
        depth += _step(label, index)
        if (char == "," and depth == 1) or depth == 0:
            found.append(label[begin:index].strip())
            begin = index + 1
        if depth == 0:
            break
    return label, tuple(Parameter(one) for one in found if one and one not in ("*", "/"))


@lru_cache(4096)
def return_type(signature: str) -> str:
    """Behind the parameters' closing bracket; empty when nothing is written."""
    start = signature.find("(")
    depth = 0
    for index in range(start, len(signature)) if start >= 0 else ():
        depth += _step(signature, index)
        if depth == 0:
            match = _RETURN.match(signature[index + 1 :])
            return match[1].strip() if match else ""
    return ""


def _step(text: str, index: int) -> int:
    """+1 at an opening bracket, -1 at a closing one; the `>` of an arrow is none."""
    char = text[index]
    if char == ">":
        return 0 if text[index - 1] in "-=" else -1
    return (char in "([{<") - (char in ")]}")
