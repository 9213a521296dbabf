"""A text for a hole → its longest beginning after which the file closes and parses again; whole lines of a block
between braces are kept, and the block closed.

The lexers of the masks say where that can be (``model/constrain``; no torch), the parser which of those places leaves
no error that the hole itself did not have. For texts that somebody else than the model ended.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from holefill.context.syntax import languages as parsers
from holefill.context.syntax.parsing import Parsed, error_bytes, parse
from holefill.context.syntax.repair import repair
from holefill.lsp_server.brackets import unmatched_openers
from holefill.model.constrain.documents import Documents, can_close
from holefill.model.constrain.languages import FRAGMENTS, LANGUAGES, automaton
from holefill.model.constrain.lexing import State, Suffix

MAX_BYTES = 256 * 1024
"""Of a file: a longer one takes too long to lex."""
MAX_PARSES = 12


class Closer:
    """Goes on from where it read and parsed a file before, so that between two keys it costs little. Any thread may
    call."""

    def __init__(self) -> None:
        self._documents = Documents()
        self._parsed: dict[str, Parsed] = {}
        """The last file of each language."""
        self._lock = threading.Lock()

    def read(self, prefix: str, suffix: str, language: str) -> None:
        """What every ``part`` at this hole needs first."""
        self.part("_", prefix, suffix, language)

    def part(self, text: str, prefix: str, suffix: str, language: str) -> str:
        """``text`` itself where it closes, and where nothing can be told: the user is in the middle of an edit."""
        if language not in LANGUAGES or language not in parsers.LANGUAGES:
            return text
        before, after = prefix.encode("utf-8", "replace"), suffix.encode("utf-8", "replace")
        if len(before) + len(after) > MAX_BYTES:
            return text
        with self._lock:
            document = self._documents.of(automaton(language), before)
            state, rest = document.before(before), document.after(after)
            if not state or not can_close(document.automaton, state, rest, language in FRAGMENTS):
                return text
            candidates = list(_candidates(text, prefix, language, state, rest))
            breaks = ("", "\n") if rest.own_line else ("",)
            return self._first_parsing(candidates, breaks, prefix, suffix, language)

    def _first_parsing(
        self, candidates: list[str], breaks: tuple[str, ...], prefix: str, suffix: str, language: str
    ) -> str:
        """The first that brings no error into the file, before one of ``breaks``; empty where each does."""
        if not candidates:
            return ""
        mended = repair(language, prefix + suffix, len(prefix), self._parsed.get(language))
        parsed = self._parsed[language] = mended.parsed
        for candidate in candidates:
            for line_break in breaks:
                parsed = parse(language, prefix + candidate + line_break + suffix, parsed)
                if error_bytes(parsed) <= mended.errors:
                    return candidate
        return ""


def _candidates(text: str, prefix: str, language: str, state: State, rest: Suffix) -> Iterator[str]:
    """Beginnings that close, the longest first; before them the blocks it opened closed, where itself it does not.

    ``state`` is the lexer's at the end of ``prefix``.
    """
    lexer = automaton(language)
    states = [state]
    for char in text:
        states.append(lexer.run(states[-1], char.encode("utf-8", "replace")))
    ends = [end for end in _ends(text) if states[end] and rest.closes(states[end])]
    braced = "" if ends and ends[0] == len(text) else _braced(text, prefix, language)
    if braced and (after_braces := lexer.run(state, braced.encode("utf-8", "replace"))) and rest.closes(after_braces):
        yield braced
    yield from (text[:end] for end in ends[:MAX_PARSES])


def _braced(text: str, prefix: str, language: str) -> str:
    """Whole lines in blocks that the text has opened are kept, and the blocks closed; empty where that is not so."""
    lines = (prefix[prefix.rfind("\n") + 1 :] + text.rstrip()).split("\n")
    opened = unmatched_openers(text, language)
    if not opened or opened.strip("{") or len(lines) < 2:
        return ""
    heads = [line for line in lines if unmatched_openers(line, language) == "{"][-len(opened) :]
    if len(heads) < len(opened):
        return ""
    indents = [head[: len(head) - len(head.lstrip())] for head in reversed(heads)]
    return text.rstrip() + "".join(f"\n{indent}}}" for indent in indents)


def _ends(text: str) -> Iterator[int]:
    """Places to end at, the last first: the text's own end, else never inside of a word or behind white space."""
    for end in range(len(text), 0, -1):
        inside = _is_word(text[end - 1]) and _is_word(text[end : end + 1])
        if end == len(text) or not (inside or text[end - 1].isspace()):
            yield end


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
