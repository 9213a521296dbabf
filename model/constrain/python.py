"""Python: indentation, all kinds of strings, f-strings (nested, with format specs), comments, brackets.

Code stands in one of three places, and a mode's name ends in it: ``0`` outside brackets, where a newline ends the
logical line; ``B`` inside brackets; ``F`` directly inside the braces of an f-string, where a colon starts the spec.
"""

from __future__ import annotations

from holefill.model.constrain.grammar import DIGITS, LETTERS, PUNCTUATION, SPACE, WORD, Builder, Grammar, Layout

PLACES = "0BF"
QUOTES = ("'", '"', "'''", '"""')
BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"))
_OPERATORS = bytes(byte for byte in PUNCTUATION if byte not in b"()[]{}'\"#\\:$?`")


def python() -> Grammar:
    b = Builder("python")
    for place in PLACES:
        b.mode(f"code{place}", final=place == "0")
    _line_start(b)
    for place in PLACES:
        _code(b, place)
        for quote in QUOTES:
            _string(b, quote, place)
    for quote in QUOTES:
        _f_string(b, quote)
    return b.finish("line")


def _line_start(b: Builder) -> None:
    """``line`` and, after a block head, ``block``: blank and comment lines do not count."""
    for line, check in (("line", Layout.KNOWN), ("block", Layout.DEEPER)):
        b.mode(line, final=True)
        b.on(line, SPACE, line, layout=Layout.COLUMN)
        b.on(line, "\n", line, layout=Layout.NEWLINE)
        b.on(line, "#", f"{line}#")
        b.mode(f"{line}#", final=line == "line")
        b.on(f"{line}#", "\n", line, layout=Layout.NEWLINE)
        b.otherwise(f"{line}#", f"{line}#")
        _tokens(b, line, "0", check)


def _code(b: Builder, place: str) -> None:
    code = f"code{place}"
    b.on(code, SPACE, code)
    _newline(b, code, place, "line")
    _tokens(b, code, place, Layout.NONE)
    _words(b, place)
    b.on(f"comment{place}", "\n", "line" if place == "0" else code, layout=_line_layout(place))
    b.otherwise(f"comment{place}", f"comment{place}")
    b.on(f"joined{place}", "\r", f"joined{place}")
    b.on(f"joined{place}", "\n", code)
    if place == "0":
        b.mode("comment0", final=True)
        b.on("head0", SPACE, "head0")
        _newline(b, "head0", place, "block")
        b.on("head0", "#", "headcomment")
        b.on("headcomment", "\n", "block", layout=Layout.NEWLINE)
        b.otherwise("headcomment", "headcomment")
        b.on("head0", "\\", "headjoined")
        b.on("headjoined", "\r", "headjoined")
        b.on("headjoined", "\n", "head0")
        b.like("head0", code)


def _line_layout(place: str) -> Layout:
    return Layout.NEWLINE if place == "0" else Layout.NONE


def _newline(b: Builder, mode: str, place: str, line: str) -> None:
    b.on(mode, "\n", line if place == "0" else mode, layout=_line_layout(place))


def _tokens(b: Builder, mode: str, place: str, layout: Layout) -> None:
    """What a token may begin with in ``mode``."""
    code = f"code{place}"
    b.on(mode, _OPERATORS, code, layout=layout)
    b.on(mode, DIGITS, f"word{place}", layout=layout)
    for chars, to in (("rR", "r"), ("bB", "b"), ("uU", "p"), ("fFtT", "f")):
        b.on(mode, chars, f"{to}{place}", layout=layout)
    b.on(mode, bytes(byte for byte in LETTERS if byte not in b"rRbBuUfFtT"), f"word{place}", layout=layout)
    if mode not in ("line", "block"):
        b.on(mode, "#", f"comment{place}")
    b.on(mode, "\\", f"joined{place}", layout=layout)
    for opener, closer in BRACKETS:
        b.on(mode, opener, "codeB", push=opener + place, layout=layout)
        if mode == "codeB":
            for origin in PLACES:
                b.on(mode, closer, f"code{origin}", pop=opener + origin)
    if place == "F":
        for quote in QUOTES:
            b.on(mode, "}", f"f{quote}", pop=f"f{quote}")
            b.on(mode, "}", f"spec{quote}", pop=f"spec{quote}")
            for under in (f"f{quote}", f"spec{quote}"):
                b.on(mode, ":", f"spec{quote}", pop=under, push=under)
    else:
        b.on(mode, ":", "head0" if place == "0" else code, layout=layout)
    for quote in "'\"":
        b.on(mode, quote, f"q{quote}{place}", layout=layout)


def _words(b: Builder, place: str) -> None:
    """A word, and those that may turn out to be a string's prefix."""
    code = f"code{place}"
    for name, grows in (("word", {}), ("r", {"bB": "p", "fFtT": "g"}), ("b", {"rR": "p"}), ("p", {}),
                        ("f", {"rR": "g"}), ("g", {})):  # fmt: skip
        mode = f"{name}{place}"
        b.mode(mode, final=place == "0")
        for chars, to in grows.items():
            b.on(mode, chars, f"{to}{place}")
        b.otherwise_only(mode, WORD, f"word{place}")
        if name in ("f", "g"):
            for quote in "'\"":
                b.on(mode, quote, f"fq{quote}", push=f"back{place}")
        b.like(mode, code)


def _string(b: Builder, quote: str, place: str) -> None:
    code, body, char = f"code{place}", f"s{quote}{place}", quote[0]
    escape = f"{body}\\"
    if len(quote) == 1:
        first, second = f"q{char}{place}", f"qq{char}{place}"
        b.on(first, char, second)  # the empty string, or the second of three quotes
        b.on(first, "\\", escape)
        b.otherwise(first, body, "\n\r")
        b.mode(second, final=place == "0")
        b.on(second, char, f"s{char * 3}{place}")
        b.like(second, code)
        b.on(body, char, code)
        b.on(body, "\\", escape)
        b.otherwise(body, body, "\n\r")
        b.on(escape, "\r", escape)
        b.otherwise(escape, body)
        return
    b.on(body, char, f"{body}1")
    b.on(f"{body}1", char, f"{body}2")
    b.on(f"{body}2", char, code)
    for mode in (body, f"{body}1", f"{body}2"):
        b.on(mode, "\\", escape)
        b.otherwise(mode, body)
    b.otherwise(escape, body)


def _f_string(b: Builder, quote: str) -> None:
    """``fq`` is just after the first quote; where the string ends the stack says where it began."""
    body, char = f"f{quote}", quote[0]
    long = len(quote) == 3
    if not long:
        first, second = f"fq{char}", f"fqq{char}"
        _end(b, first, char)  # the empty string
        b.on(first, char, second)  # or the second of three quotes
        b.like(first, body)
        b.on(second, char, f"f{char * 3}")
    for part in (body, f"spec{quote}"):
        b.on(part, "\\", f"{part}\\")
        b.on(f"{part}\\", "N", f"{part}\\N")
        b.on(f"{part}\\", "\r", f"{part}\\")
        b.on(f"{part}\\", "{", f"{part}{{", push=part)  # the backslash is text
        b.otherwise(f"{part}\\", part)
        b.on(f"{part}\\N", "{", part)  # \N{NAME}
        b.on(f"{part}\\N", "{", f"{part}{{", push=part)  # in a raw string
        b.like(f"{part}\\N", part)
        b.on(part, "{", f"{part}{{", push=part)
        b.on(f"{part}{{", "{", part, pop=part)
        b.like(f"{part}{{", "codeF")
        for under in (body, f"spec{quote}") if part != body else ():
            b.on(part, "}", under, pop=under)
        if part == body:
            b.on(part, "}", part)
            _close(b, part, char, long)
        b.otherwise(part, part, "" if long else "\n\r" if part == body else "\n\r" + char)


def _close(b: Builder, part: str, char: str, long: bool) -> None:
    if not long:
        _end(b, part, char)
        return
    b.on(part, char, f"{part}1")
    b.on(f"{part}1", char, f"{part}2")
    _end(b, f"{part}2", char)
    b.like(f"{part}1", part)
    b.like(f"{part}2", part)


def _end(b: Builder, mode: str, char: str) -> None:
    for place in PLACES:
        b.on(mode, char, f"code{place}", pop=f"back{place}")
