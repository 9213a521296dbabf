"""Commit replay: cut a prediction to its hole, by the kind of the hole (shared data README, "Commit replay")."""

from __future__ import annotations

from holefill.evaluation.metrics.brackets import argument_end, statement_end, unmatched_closer
from holefill.evaluation.metrics.exact_match import code_lines


def cut_to_hole(text: str, kind: str, target: str, language: str) -> str:
    """``line``: first line; ``statement`` and ``lines``: as many non-blank lines as the target; ``call``: the list.

    Typed holes: an argument, a statement, or (``member``) the first identifier.
    """
    end = hole_end(text, kind, target, language)
    return text if end is None else text[:end]


def hole_end(text: str, kind: str, target: str, language: str) -> int | None:
    """Where the hole ends in ``text``; None while more text could still belong to it."""
    match kind:
        case "line":
            return _index(text, "\n")
        case "call":
            return unmatched_closer(text, language)
        case "call_arg" | "ctor_arg":
            return argument_end(text, language)
        case "annotated_assign" | "return":
            return statement_end(text, language)
        case "member":
            return next((i for i, char in enumerate(text) if not (char.isalnum() or char == "_")), None)
        case "statement" | "lines":
            return _lines_end(text, max(1, len(code_lines(target))))
        case _:
            raise ValueError(f"unknown hole kind {kind!r}")


def _index(text: str, char: str) -> int | None:
    found = text.find(char)
    return None if found < 0 else found


def _lines_end(text: str, wanted: int) -> int | None:
    """Index of the newline that ends the ``wanted``-th non-blank line."""
    seen = start = 0
    while (end := text.find("\n", start)) >= 0:
        seen += bool(text[start:end].strip())
        if seen == wanted:
            return end
        start = end + 1
    return None
