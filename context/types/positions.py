"""Character offsets ↔ LSP positions (UTF-16 columns), and paths ↔ file URIs, for the child processes we ask."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from urllib.parse import unquote, urlparse

from holefill.context.items import CharOffset
from holefill.context.types.transport import Json


def position_of(text: str, offset: int) -> Json:
    line = text.count("\n", 0, offset)
    before = text[text.rfind("\n", 0, offset) + 1 : offset]
    return {"line": line, "character": _units(before)}


class LineIndex:
    """Positions of one text → offsets; the lines are found once."""

    def __init__(self, text: str) -> None:
        self._text = text
        # One longer per line for its line end; what follows the last line is no line.
        self._starts = list(accumulate((len(line) + 1 for line in text.split("\n")), initial=0))[:-1]

    def offset_of(self, position: Json) -> CharOffset | None:
        if not isinstance(position, dict):
            return None
        line, units = position.get("line"), position.get("character")
        if not isinstance(line, int) or not isinstance(units, int) or line < 0:
            return None
        if line >= len(self._starts):
            return CharOffset(len(self._text))
        start = self._starts[line]
        end = self._starts[line + 1] - 1 if line + 1 < len(self._starts) else len(self._text)
        content = self._text[start:end]
        if content.isascii():
            return CharOffset(start + min(units, len(content)))
        used = 0
        for index, char in enumerate(content):
            if used >= units:
                return CharOffset(start + index)
            used += 2 if ord(char) > 0xFFFF else 1
        return CharOffset(start + len(content))


def offset_of(text: str, position: Json) -> CharOffset | None:
    return LineIndex(text).offset_of(position)


def uri_of(path: str) -> str:
    return Path(path).absolute().as_uri()


def path_of(uri: str) -> str:
    parsed = urlparse(uri)
    path = unquote(parsed.path)
    return path[1:] if len(path) > 2 and path[2] == ":" else path  # /C:/… on Windows


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
