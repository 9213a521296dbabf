"""DotPrompts (monitors4codegen): next identifier (NIM), identifier sequence (ISM) and prefix (PM) match.

NIM: the first token is equal. ISM: length of the matching prefix of the identifier list over its true length. PM: the
same over all tokens. Tokens are pygments' (white space and comments dropped), as in the published evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Name, Text, Whitespace

_LEXERS = {"tsx": "typescript"}


def lex(code: str, language: str) -> list[tuple[bool, str]]:
    """(is an identifier, text) of every token but white space and comments."""
    lexer: Lexer = get_lexer_by_name(_LEXERS.get(language, language), stripnl=False)
    return [
        (kind in Name, text)
        for kind, text in lexer.get_tokens(code)
        if kind not in Text and kind not in Whitespace and kind not in Comment and text.strip()
    ]


def _prefix_share(mine: Sequence[str], gold: Sequence[str]) -> float:
    matching = 0
    for left, right in zip(mine, gold, strict=False):
        if left != right:
            break
        matching += 1
    return matching / len(gold) if gold else 1.0


def next_identifier_match(prediction: str, target: str, language: str) -> bool:
    mine, gold = lex(prediction, language), lex(target, language)
    return bool(mine) and bool(gold) and mine[0][1] == gold[0][1]


def identifier_sequence_match(prediction: str, target: str, language: str) -> float:
    mine, gold = lex(prediction, language), lex(target, language)
    return _prefix_share([text for named, text in mine if named], [text for named, text in gold if named])


def prefix_match(prediction: str, target: str, language: str) -> float:
    mine, gold = lex(prediction, language), lex(target, language)
    return _prefix_share([text for _, text in mine], [text for _, text in gold])
