"""JavaScript and TypeScript: template literals, regular expressions, JSX.

A slash and a ``<`` mean one thing where an operand is awaited (``operand``) and another after a value (``value``);
after ``)``, ``}`` and some keywords a lexer cannot tell (``either``), so both readings are followed.
"""

from __future__ import annotations

from holefill.model.constrain.grammar import ALL, DIGITS, LETTERS, PUNCTUATION, SPACE, WORD, Builder, Grammar

OPERAND_WORDS = (
    *("return", "typeof", "case", "in", "of", "instanceof", "new", "delete", "void", "throw", "do", "else"),
    *("yield", "await", "default", "extends"),
)
PLACES = ("operand", "value", "either")
_BLANK = SPACE + b"\n"
_NAME = WORD + b"$"


def script(name: str, *, jsx: bool) -> Grammar:
    b = Builder(name)
    for place in PLACES:
        b.mode(place, final=True)
    for place in PLACES:
        _code(b, place, jsx)
    b.keywords(OPERAND_WORDS, "operand", "kw:", "word", "either", "value")
    b.on("operand", "$#", "word")
    b.on("word", "$", "word")
    b.mode("word", final=True)
    for place in ("value", "either"):
        b.also(place, "operand", LETTERS + b"$#")
    for quote in "'\"":
        b.on(quote, "\\", quote + "\\")
        b.on(quote, quote, "value")
        b.otherwise(quote, quote, "\n\r")
        b.on(quote + "\\", "\r", quote + "\\")
        b.otherwise(quote + "\\", quote)
    _template(b)
    _regex(b)
    b.also("/either", "operand", bytes(byte for byte in ALL if byte not in b"/*"))  # or a division
    if jsx:
        _jsx(b)
    return b.finish("operand")


def _code(b: Builder, place: str, jsx: bool) -> None:
    b.on(place, _BLANK, place)
    _slash(b, place)
    for quote in "'\"`":
        b.on(place, quote, quote)
    b.on(place, DIGITS, "number")
    for opener in "([{":
        b.on(place, opener, "operand", push=opener)
    b.on(place, ")", "either", pop="(")
    b.on(place, "]", "value", pop="[")
    b.on(place, "}", "either", pop="{")
    b.on(place, "}", "`", pop="${")
    if jsx:
        b.on(place, "}", "attributes", pop="attribute")
        b.on(place, "}", "children", pop="child")
    for sign in "+-":
        b.on(place, sign, sign)
    b.on(place, "!", "operand" if place == "operand" else "either")
    b.on(place, "\\", "word")  # an escape in an identifier
    b.on(place, "<", "operand")
    if jsx and place != "value":
        b.on(place, "<", "tag?code")
    b.otherwise_only(place, bytes(byte for byte in PUNCTUATION if byte not in b")]}$#_"), "operand")


def _slash(b: Builder, place: str) -> None:
    slash, star, after = f"/{place}", f"*{place}", f"**{place}"
    b.mode(slash, final=False)
    b.on(place, "/", slash)
    b.on(slash, "/", f"//{place}")
    b.mode(f"//{place}", final=True)
    b.on(f"//{place}", "\n", place)
    b.otherwise(f"//{place}", f"//{place}")
    b.on(slash, "*", star)
    b.on(star, "*", after)
    b.otherwise(star, star)
    b.on(after, "/", place)
    b.on(after, "*", after)
    b.otherwise(after, star)
    if place == "value":
        b.like(slash, "operand")  # a division
        b.on("number", WORD + b".", "number")
        b.like("number", "value")
        b.mode("number", final=True)
        for sign in "+-":
            b.on(sign, sign, "either")
            b.like(sign, "operand")


def _template(b: Builder) -> None:
    b.on("`", "\\", "`\\")
    b.otherwise("`\\", "`")
    b.on("`", "`", "value")
    b.on("`", "$", "`$")
    b.on("`$", "{", "operand", push="${")
    b.on("`$", "$", "`$")
    b.otherwise("`", "`")
    b.like("`$", "`")


def _regex(b: Builder) -> None:
    for place in ("operand", "either"):
        slash = f"/{place}"
        b.on(slash, "\\", "re\\")
        b.on(slash, "[", "re[")
        b.on(slash, bytes(byte for byte in ALL if byte not in b"\n\r/*\\["), "re")
    b.on("re", "\\", "re\\")
    b.on("re", "[", "re[")
    b.on("re", "/", "number")  # flags, then as after any value
    b.otherwise("re", "re", "\n\r")
    b.otherwise("re\\", "re", "\n\r")
    b.on("re[", "\\", "re[\\")
    b.on("re[", "]", "re")
    b.otherwise("re[", "re[", "\n\r")
    b.otherwise("re[\\", "re[", "\n\r")


def _jsx(b: Builder) -> None:
    """The stack says what an element stands in: code, or another element's children."""
    for where in ("code", "children"):
        element, opened = f"<{where}", f"tag?{where}"
        b.on(opened, LETTERS + b"$", "tag", push=element)
        b.on(opened, ">", "children", push=element)
        after = "value" if where == "code" else "children"
        b.on("tag/", ">", after, pop=element)
        b.on("endtag", ">", after, pop=element)
    b.on("tag?code", _BLANK, "tag?code")
    b.on("tag?children", "/", "endtag")
    b.on("tag?children", _BLANK, "tag?children")
    b.on("endtag", _NAME + _BLANK + b".:-", "endtag")
    b.on("tag", _NAME + b".:-", "tag")
    b.on("tag", "<", "types", push="types")
    b.on("types", "<", "types", push="types")
    b.on("types", ">", "attributes", pop="types")
    b.on("types", ">", "types", pop="types")
    b.otherwise("types", "types")
    b.like("tag", "attributes")
    b.on("attributes", _NAME + _BLANK + b".:-=", "attributes")
    for quote in "'\"":
        b.on("attributes", quote, f"a{quote}")
        b.on(f"a{quote}", quote, "attributes")
        b.otherwise(f"a{quote}", f"a{quote}")
    b.on("attributes", "{", "operand", push="attribute")
    b.on("attributes", "/", "attributes/")
    b.on("attributes/", _BLANK, "attributes/")
    b.on("attributes/", "*", "a*")  # a comment between attributes
    b.on("a*", "*", "a**")
    b.otherwise("a*", "a*")
    b.on("a**", "/", "attributes")
    b.on("a**", "*", "a**")
    b.otherwise("a**", "a*")
    b.on("attributes/", "/", "a//")
    b.on("a//", "\n", "attributes")
    b.otherwise("a//", "a//")
    b.like("attributes/", "tag/")
    b.on("attributes", ">", "children")
    b.on("children", "{", "operand", push="child")
    b.on("children", "<", "tag?children")
    b.otherwise("children", "children", ">}")
