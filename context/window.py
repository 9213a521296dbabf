"""Which part of the document the prompt shows: a prefix window whose start rarely moves, and the suffix's first tokens.

KV rows are reused only while the prompt's first tokens stay the same, so "the last N tokens", which slide with every
keystroke, would be a cold prefill each time. The window instead starts at one of a fixed set of *marks*: the first
line start at or after every multiple of a stride of characters from the start of the file. Marks do not depend on the
cursor. The last mark that still leaves N tokens before the cursor is chosen; the stride is about N/2 tokens, so the
window holds N to 1.5 N tokens and its start moves once per N/2 tokens typed. Text so dense that a stride holds more
than N/2 tokens gets a finer one. Only about 1.5 N tokens are ever tokenised, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holefill.context.provider import Tokenizer

_STRIDE_CHARS_PER_TOKEN = 3
"""Code has 3–4 characters per token; a low guess makes more windows start late enough at the first try."""
_MAX_CHARS_PER_TOKEN = 16
"""Bound on the text looked at: runs of blanks pack many characters into a token."""
_MIN_STRIDE = 16
_LONG_LINE = 400
"""Longer lines (minified or generated text) may be cut inside."""


@dataclass(frozen=True, slots=True)
class PrefixWindow:
    start: int
    """Offset in the prefix of the first character shown."""
    ids: tuple[int, ...]


def prefix_window(tokenizer: Tokenizer, prefix: str, tokens: int) -> PrefixWindow:
    """The last ``tokens`` to 1.5 × ``tokens`` tokens of ``prefix``, from a mark on; fewer where the file is short."""
    if tokens <= 0:
        return PrefixWindow(len(prefix), ())
    stride = max(_MIN_STRIDE, tokens * _STRIDE_CHARS_PER_TOKEN // 2)
    floor = max(0, len(prefix) - tokens * _MAX_CHARS_PER_TOKEN)
    while True:
        window = _at_last_mark(tokenizer, prefix, tokens, stride, floor)
        if len(window.ids) <= tokens * 3 // 2 or stride <= _MIN_STRIDE:
            return window
        stride //= 2


def _at_last_mark(tokenizer: Tokenizer, prefix: str, tokens: int, stride: int, floor: int) -> PrefixWindow:
    end, counted, index = len(prefix), 0, len(prefix) // stride
    while True:
        start = _mark(prefix, index, stride)
        if start < end:
            counted += len(tokenizer.encode(prefix[start:end]))
            end = start
        if counted >= tokens or index == 0:
            ids = tuple(tokenizer.encode(prefix[start:]))
            # Pieces tokenised apart count a few tokens more than the whole.
            if len(ids) >= tokens or index == 0:
                return PrefixWindow(start, ids)
        elif index * stride <= floor:
            return PrefixWindow(start, tuple(tokenizer.encode(prefix[start:])))
        index -= 1


def _mark(prefix: str, index: int, stride: int) -> int:
    """The first line start from stride ``index`` on; only in a very long line, the place where the stride starts."""
    start = index * stride
    if start == 0:
        return 0
    reach = max(stride, _LONG_LINE)
    newline = prefix.find("\n", start - 1, min(start + reach, len(prefix)))
    if newline < 0:
        newline = prefix.rfind("\n", max(0, start - reach), start)
    return start if newline < 0 else newline + 1


def suffix_window(tokenizer: Tokenizer, suffix: str, tokens: int) -> tuple[int, ...]:
    """The first ``tokens`` tokens of ``suffix``."""
    if tokens <= 0:
        return ()
    head: Sequence[int] = tokenizer.encode(suffix[: tokens * _MAX_CHARS_PER_TOKEN * 2])
    return tuple(head[:tokens])
