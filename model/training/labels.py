"""What the loss terms read beside the text of a hole: types of its characters, statements before it, a renamed twin.

Written by whoever builds the data, who has a parser; this layer has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

TYPES: Mapping[str, str] = MappingProxyType(
    {
        "_": "white space",
        "k": "keyword",
        "v": "variable",
        "p": "parameter",
        "d": "defined name",
        "f": "called name",
        "a": "member",
        "t": "type",
        "n": "number",
        "s": "string",
        "o": "operator",
        "b": "bracket",
        "u": "punctuation",
        "c": "comment",
        "x": "other",
    }
)
"""Letter → what it stands for. The end of a middle is a type of its own, behind these."""
TYPE_OF = {letter: number for number, letter in enumerate(TYPES)}
SPACE = TYPE_OF["_"]
END_TYPE = len(TYPES)
NO_TYPE = -100
"""Of control tokens; what torch's cross-entropy leaves out."""
_RUN = re.compile(r"(\d+)(\D)")


@dataclass(frozen=True, slots=True)
class Labels:
    types: str
    """Of every character of prefix + middle + suffix, run by run: ``6k1_4v``."""
    statements: tuple[tuple[int, int], ...] = ()
    """Spans of the prefix, in characters: from a cardinal point to the end of its statement."""
    renamed: tuple[str, str, str] | None = None
    """Prefix, middle and suffix with other names for what is bound in them, consistently; None where nothing is."""

    @classmethod
    def read(cls, fields: Mapping[str, object]) -> Labels:
        """Of a JSON object. Raises TypeError or ValueError."""
        types, statements, renamed = fields["types"], fields.get("statements", ()), fields.get("renamed")
        if not isinstance(types, str) or not isinstance(statements, (list, tuple)):
            raise TypeError("labels without types")
        twin: tuple[str, str, str] | None = None
        if isinstance(renamed, (list, tuple)):
            prefix, middle, suffix = map(str, renamed)
            twin = (prefix, middle, suffix)
        return cls(types, tuple((int(first), int(last)) for first, last in statements), twin)


def packed_types(letters: str) -> str:
    """Run by run, as ``Labels.types`` has them."""
    return "".join(f"{len(match.group())}{match.group()[0]}" for match in re.finditer(r"(.)\1*", letters))


def spread_types(types: str) -> str:
    """One letter a character again."""
    return "".join(int(count) * letter for count, letter in _RUN.findall(types))


def token_spans(spellings: Sequence[bytes], text: str) -> Iterator[tuple[int, int]]:
    """First and last character + 1 of each token of ``text``; a token inside a character has that character."""
    chars = [index for index, char in enumerate(text) for _ in range(len(char.encode("utf-8", "replace")))]
    at = 0
    for spelling in spellings:
        first, at = min(at, len(chars)), at + len(spelling)
        inside = chars[first:at]
        yield (inside[0], inside[-1] + 1) if inside else (len(text), len(text))


def token_type(letters: str) -> int:
    """Of the token with these characters: that of its first one which is no white space."""
    return next((TYPE_OF.get(letter, SPACE) for letter in letters if letter != "_"), SPACE)
