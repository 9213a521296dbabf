"""Which part of the document the prompt shows: a prefix window whose start rarely moves, and the suffix's first tokens.

KV rows are reused only while the prompt's first tokens stay the same, so "the last N tokens", which slide with every
keystroke, would be a cold prefill each time. The window instead starts at one of a fixed set of *marks*: the first
line start at or after every multiple of a stride of characters from the start of the file. Marks do not depend on the
cursor. The last mark that leaves N tokens before the *cursor's line* is chosen (counting to the cursor itself would
flip back and forth: a word has fewer tokens once it is complete). The stride is about N/2 tokens, so the window holds
N to 1.5 N tokens and the cursor's line, and its start moves once per N/2 tokens typed. Text so dense that a stride
holds more than N/2 tokens gets a finer one. Only about 1.5 N tokens are ever tokenised, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holefill.context.provider import Tokenizer

_STRIDE_CHARS_PER_TOKEN = 3
"""Code has 3–4 characters per token; a low guess makes more windows start late enough at the first try."""
_MAX_CHARS_PER_TOKEN = 16
"""Bound on the text looked at: runs of blanks pack many characters into a token."""
_MIN_STRIDE_CHARS_PER_TOKEN = 0.25
"""A finer stride would move the start too often: even at one token per character this is a quarter of the window."""
_LONG_LINE = 400
"""Longer lines (minified or generated text) may be cut inside."""


@dataclass(frozen=True, slots=True)
class PrefixWindow:
    start: int
    """Offset in the prefix of the first character shown."""
    ids: tuple[int, ...]


def prefix_window(tokenizer: Tokenizer, prefix: str, tokens: int) -> PrefixWindow:
    """The cursor's line and ``tokens`` to 1.5 × ``tokens`` tokens before it, from a mark on; less in a short file."""
    if tokens <= 0:
        return PrefixWindow(len(prefix), ())
    settled = _settled(prefix)
    finest = max(1, int(tokens * _MIN_STRIDE_CHARS_PER_TOKEN))
    stride = max(finest, tokens * _STRIDE_CHARS_PER_TOKEN // 2)
    while True:
        start, counted = _last_mark(tokenizer, prefix[:settled], tokens, stride)
        if counted <= tokens * 3 // 2 or stride == finest:
            return PrefixWindow(start, tuple(tokenizer.encode(prefix[start:])))
        stride = max(finest, stride // 2)


def _settled(prefix: str) -> int:
    """Where the text that typing does not touch ends: at the cursor's line, or inside it when it is very long."""
    line = prefix.rfind("\n") + 1
    return line if len(prefix) - line <= _LONG_LINE else len(prefix) // _LONG_LINE * _LONG_LINE


def _last_mark(tokenizer: Tokenizer, settled: str, tokens: int, stride: int) -> tuple[int, int]:
    """The last mark with at least ``tokens`` tokens from it to the end of ``settled``, and how many these are."""
    floor = len(settled) - tokens * _MAX_CHARS_PER_TOKEN
    end, counted, index = len(settled), 0, len(settled) // stride
    while True:
        start = _mark(settled, index, stride)
        if start < end:
            counted += len(tokenizer.encode(settled[start:end]))
            end = start
        if counted >= tokens or index == 0 or index * stride <= floor:
            # Pieces tokenised apart count a few tokens more than the whole.
            exact = len(tokenizer.encode(settled[start:]))
            if exact >= tokens or index == 0 or index * stride <= floor:
                return start, exact
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
