"""HumanEval-FIM (Qwen2.5-Coder protocol): the first generated line against the missing one."""

from __future__ import annotations


def _body(text: str) -> str:
    """Without the newline that most outputs of this set start with."""
    if text.startswith(("\n", " \n")):
        return text.split("\n", 1)[1]
    return text


def first_line(text: str) -> str:
    """Second line when the output starts with ``\\n`` or `` \\n``, else the first; stripped."""
    return _body(text).split("\n", 1)[0].strip()


def first_line_complete(text: str) -> bool:
    """Nothing generated after ``text`` can change its ``first_line`` (a lone space may still begin `` \\n``)."""
    return "\n" in _body(text)


def first_line_match(prediction: str, target: str) -> bool:
    return first_line(prediction) == target.strip()
