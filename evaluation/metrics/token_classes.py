"""CodeFill's view of a completion (PAPERS §2.21): scores per class of token, and of its first n tokens.

Tokens and their classes are pygments'; white space and comments are no tokens. All values 0–100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Literal, Name, Number, Operator, Punctuation, String, Text, _TokenType

from holefill.evaluation.metrics.rouge import lcs_length

FIRST = (1, 2, 4, 8)
_CLASSES: tuple[tuple[_TokenType, str], ...] = (
    (Name, "name"),
    (Keyword, "keyword"),
    (Number, "number"),
    (String, "string"),
    (Literal, "number"),
    (Operator, "operator"),
    (Punctuation, "punctuation"),
)
_LEXERS = {"tsx": "typescript"}


@dataclass(frozen=True, slots=True)
class ClassedToken:
    start: int
    text: str
    name: str
    """Of its class: name, keyword, number, string, operator or punctuation."""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def classed_tokens(code: str, language: str) -> list[ClassedToken]:
    lexer = get_lexer_by_name(_LEXERS.get(language, language), stripnl=False, ensurenl=False)
    found = []
    for start, kind, text in lexer.get_tokens_unprocessed(code):
        name = next((name for parent, name in _CLASSES if kind in parent), None)
        if name is not None and text.strip() and kind not in Comment and kind not in Text:
            found.append(ClassedToken(start, text, name))
    return found


def rouge_l_by_class(prediction: str, target: str, language: str) -> Mapping[str, float]:
    """ROUGE-L over the tokens of one class at a time; classes that the target lacks are absent."""
    mine, gold = classed_tokens(prediction, language), classed_tokens(target, language)
    classes = dict.fromkeys(token.name for token in gold)
    return {name: 100 * _rouge_l(_texts(mine, name), _texts(gold, name)) for name in classes}


def first_tokens(prediction: str, target: str, language: str) -> Mapping[str, float]:
    """``em/first n`` and ``rouge_l/first n`` of the first n tokens, for each n that the target has."""
    mine = [token.text for token in classed_tokens(prediction, language)]
    gold = [token.text for token in classed_tokens(target, language)]
    lengths = [n for n in FIRST if n <= len(gold)]
    exact = {f"em/first {n}": 100.0 * (mine[:n] == gold[:n]) for n in lengths}
    return exact | {f"rouge_l/first {n}": 100 * _rouge_l(mine[:n], gold[:n]) for n in lengths}


def token_scores(prediction: str, target: str, language: str) -> dict[str, float]:
    by_class = rouge_l_by_class(prediction, target, language)
    return {f"rouge_l/{name}": value for name, value in by_class.items()} | dict(
        first_tokens(prediction, target, language)
    )


def mean_by_class(values: Sequence[tuple[int, float]], code: str, language: str) -> Mapping[str, float]:
    """``values`` belong to characters of ``code``; the mean of those inside each class of token, × 100."""
    groups: dict[str, list[float]] = {}
    tokens = classed_tokens(code, language)
    for position, value in values:
        inside = next((token.name for token in tokens if token.start <= position < token.end), None)
        if inside is not None:
            groups.setdefault(inside, []).append(value)
    return {name: 100 * sum(members) / len(members) for name, members in groups.items()}


def _texts(tokens: Sequence[ClassedToken], name: str) -> list[str]:
    return [token.text for token in tokens if token.name == name]


def _rouge_l(mine: Sequence[str], gold: Sequence[str]) -> float:
    return 2 * lcs_length(mine, gold) / (len(mine) + len(gold)) if mine or gold else 1.0
