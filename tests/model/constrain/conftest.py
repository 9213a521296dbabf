"""A small vocabulary that has every byte and what makes lexers stumble."""

from __future__ import annotations

import random
from functools import cache

import pytest

from holefill.model.constrain.languages import GRAMMAR_VERSION, automaton
from holefill.model.constrain.masks import Masks
from holefill.model.constrain.tables import load_or_build
from holefill.model.constrain.vocabulary import Vocabulary

_PIECES = (
    *('"""', "'''", 'f"', "rb'", '))', '])', '})', '()', '[]', '{}', '({', '${', '}`', '//', '/*', '*/', '</'),
    *('/>', '\n', '\n\n', '    ', '        ', '\n    ', '\n    x', '\n  return', ';\n\ny', ' return', 'return'),
    *(':', ':\n', '\\\n', '\r\n', '#', "# it's", "'a", ' <', '< ', '<div', '</div>', '=>', 'r#"', '"#', '@"'),
    *('$"', '#else', 'R"(', '\t', 'é', "'", "1'0", '{{', '}}', '!r}', ':>10', '\\N{', "'\\''", '")', "')", '",'),
    *('`', ': ', '\tx', ' \tx', '/x/g', '++', '--'),
)  # fmt: skip


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    rng = random.Random(0)
    made = ("".join(rng.choices("(){}[]'\"`\n :/<>#ax\\", k=rng.randint(2, 4))) for _ in range(400))
    texts = sorted({*(text.encode() for text in (*_PIECES, *made)), *(bytes((byte,)) for byte in range(256))})
    return Vocabulary([*texts, b"", b""], stop_ids=(len(texts),))


@cache
def masks_of(language: str, vocabulary: Vocabulary) -> Masks:
    lexer = automaton(language)
    return Masks(lexer, vocabulary, load_or_build(lexer.grammar, GRAMMAR_VERSION, vocabulary, None))
