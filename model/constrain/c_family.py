"""Java, C#, Go, Rust, C and C++ at the level of brackets, strings and comments: one row of facts each."""

from __future__ import annotations

from dataclasses import dataclass

from holefill.model.constrain.grammar import DIGITS, FREE, LETTERS, SPACE, WORD, Builder, Grammar


@dataclass(frozen=True, slots=True)
class Facts:
    name: str
    triple: bool = False
    """Text blocks between triple double quotes."""
    backtick: bool = False
    """Raw strings between backticks."""
    directives: bool = False
    """``#`` lines are the preprocessor's; alternatives (``#else``) make brackets uncountable."""
    digit_ticks: bool = False
    lifetimes: bool = False
    nested_comments: bool = False
    multiline_strings: bool = False
    hash_strings: bool = False
    """Rust's r#"…"#."""
    verbatim: bool = False
    """C#'s @"…" and interpolated $"…{x}…"."""
    delimited: bool = False
    """C++'s R"x(…)x", whose end no finite table knows: it switches the constraint off."""


FACTS = (
    Facts("java", triple=True),
    Facts("csharp", triple=True, directives=True, verbatim=True),
    Facts("go", backtick=True),
    Facts("rust", lifetimes=True, nested_comments=True, multiline_strings=True, hash_strings=True),
    Facts("c", directives=True),
    Facts("cpp", directives=True, digit_ticks=True, delimited=True),
)
MAX_HASHES = 3


def c_family(facts: Facts) -> Grammar:
    b = Builder(facts.name)
    b.mode("code", final=True)
    b.mode("line", final=True)
    b.on("code", "\n", "line")
    b.on("code", SPACE, "code")
    b.on("line", SPACE + b"\n", "line")
    if facts.directives:
        _directives(b)
    _brackets(b)
    _comments(b, facts)
    _words(b, facts)
    _strings(b, facts)
    _ticks(b, facts)
    banned = b")]}" + bytes(byte for byte in range(32) if byte not in SPACE + b"\n")
    b.otherwise("code", "code", banned)
    b.like("line", "code")
    return b.finish("line")


def _brackets(b: Builder) -> None:
    for opener, closer in ("()", "[]", "{}"):
        b.on("code", opener, "code", push=opener)
        b.on("code", closer, "code", pop=opener)


def _comments(b: Builder, facts: Facts) -> None:
    b.on("code", "/", "/")
    b.on("/", "/", "//")
    b.mode("//", final=True)
    b.on("//", "\n", "line")
    b.otherwise("//", "//")
    b.on("/", "*", "/*")
    b.like("/", "code")
    b.on("/*", "*", "/**")
    b.on("/**", "/", "code")
    b.on("/**", "*", "/**")
    if facts.nested_comments:
        b.on("/*", "/", "/*/")
        b.on("/**", "/", "/*", pop="/*")
        b.on("/*/", "*", "/*", push="/*")
        b.on("/*/", "/", "/*/")
        b.otherwise("/*/", "/*")
    b.otherwise("/*", "/*")
    b.otherwise("/**", "/*")


def _words(b: Builder, facts: Facts) -> None:
    """Words apart from numbers: only a number has ticks inside, only a word may be a string's prefix."""
    b.on("code", DIGITS, "number")
    b.on("number", WORD + b".", "number")
    if facts.digit_ticks:
        b.on("number", "'", "number")
    b.mode("number", final=True)
    b.mode("word", final=True)
    if facts.hash_strings:
        b.on("code", "r", "r")
        b.on("code", "bc", "b")
        b.on("b", "r", "r")
        b.on("r", '"', "raw0")
        b.on("r", "#", "r#1")
    if facts.delimited:
        b.on("code", "R", "r")
        b.on("code", "LuU", "b")
        b.on("b", "R", "r")
        b.on("b", "8", "b")
        b.on("r", '"', FREE)
    for prefix in ("r", "b") if facts.hash_strings or facts.delimited else ():
        b.mode(prefix, final=True)
        b.otherwise_only(prefix, WORD, "word")
        b.like(prefix, "code")
    b.otherwise_only("code", LETTERS if facts.verbatim else LETTERS + b"$", "word")
    b.on("word", WORD + b"$", "word")
    b.like("word", "code")
    b.like("number", "code")


def _strings(b: Builder, facts: Facts) -> None:
    banned = "" if facts.multiline_strings else "\n\r"
    b.on("code", '"', '"')
    if facts.triple:
        b.on('"', '"', '""')
        b.mode('""', final=True)
        b.on('""', '"', '"""')
        b.like('""', "code")
        _triple(b)
    else:
        b.on('"', '"', "code")
    b.on('"', "\\", '"\\')
    b.otherwise('"', '"…', banned)
    b.on('"…', '"', "code")
    b.on('"…', "\\", '"\\')
    b.otherwise('"…', '"…', banned)
    b.on('"\\', "\r", '"\\')
    b.otherwise('"\\', '"…')
    if facts.backtick:
        b.on("code", "`", "`")
        b.on("`", "`", "code")
        b.otherwise("`", "`")
    for hashes in range(MAX_HASHES + 1) if facts.hash_strings else ():
        _hash_string(b, hashes)
    if facts.verbatim:
        _verbatim(b)


def _triple(b: Builder) -> None:
    for count, following in (("", "1"), ("1", "2")):
        b.on('"""' + count, '"', '"""' + following)
    b.on('"""2', '"', "code")
    for count in ("", "1", "2"):
        b.on('"""' + count, "\\", '"""\\')
        b.otherwise('"""' + count, '"""')
    b.on('"""\\', '"', '"""')
    b.on('"""\\', '"', '"""1')  # C#: the backslash is text
    b.otherwise('"""\\', '"""')


def _hash_string(b: Builder, hashes: int) -> None:
    raw = f"raw{hashes}"
    if hashes:
        b.on(f"r#{hashes}", '"', raw)
        if hashes < MAX_HASHES:
            b.on(f"r#{hashes}", "#", f"r#{hashes + 1}")
        else:
            b.on(f"r#{hashes}", "#", FREE)
        b.otherwise_only(f"r#{hashes}", LETTERS, "word")  # r#type: a raw identifier
    ends = [raw, *(f"{raw}/{count}" for count in range(hashes)), "code"]
    b.on(raw, '"', ends[1])
    for count in range(hashes):
        b.on(f"{raw}/{count}", "#", ends[count + 2])
        b.on(f"{raw}/{count}", '"', ends[1])
        b.otherwise(f"{raw}/{count}", raw)
    b.otherwise(raw, raw)


def _verbatim(b: Builder) -> None:
    """``@"`` doubles its quotes; ``$"`` has code in braces; ``$@"`` both; ``$\"\"\"`` counts braces and is free."""
    b.on("code", "@", "@")
    b.on("@", '"', '@"')
    b.on("@", "$", "$@")
    b.like("@", "code")
    b.on('@"', '"', '@"?')
    b.otherwise('@"', '@"')
    b.mode('@"?', final=True)
    b.on('@"?', '"', '@"')
    b.like('@"?', "code")
    b.on("code", "$", "$")
    b.on("$", "@", "$@")
    b.on("$", "$", FREE)
    b.on("$", '"', '$"')
    b.on("$@", '"', '$@"')
    b.on('$"', '"', '$""')
    b.mode('$""', final=True)
    b.on('$""', '"', FREE)
    b.like('$""', "code")
    b.like('$"', '$"…')
    b.on('$"…', "\\", '$"\\')
    b.otherwise('$"\\', '$"…')
    b.on('$"…', '"', "code")
    b.on('$@"', '"', '$@"?')
    b.mode('$@"?', final=True)
    b.on('$@"?', '"', '$@"')
    b.like('$@"?', "code")
    for body, banned in (('$"…', "\n\r"), ('$@"', "")):
        hole = body + "{"
        b.on(body, "{", hole, push=body)
        b.on(hole, "{", body, pop=body)
        b.like(hole, "code")
        b.on("code", "}", body, pop=body)
        b.otherwise(body, body, banned)


def _ticks(b: Builder, facts: Facts) -> None:
    b.on("code", "'", "'")
    b.on("'", "\\", "'\\")
    b.otherwise("'\\", "'…")
    b.on("'…", "\\", "'\\")
    b.on("'…", "'", "code")
    b.otherwise("'…", "'…", "\n\r")
    if not facts.lifetimes:
        b.otherwise("'", "'…", "\n\r")
        return
    b.on("'", LETTERS, "word")  # a lifetime
    b.on("'", bytes(byte for byte in range(128) if byte not in b"\n\r\\"), "'1")
    b.on("'", bytes(range(128, 256)), "'…")
    b.on("'1", "'", "code")


def _directives(b: Builder) -> None:
    b.on("line", "#", "#")
    b.on("#", SPACE, "#")
    b.on("#", "e", "#e")
    b.on("#e", "l", FREE)
    b.on("#", "\n", "line")
    b.on("#e", "\n", "line")
    b.otherwise("#", "#…")
    b.otherwise("#e", "#…")
    b.mode("#…", final=True)
    b.on("#…", "\n", "line")
    b.on("#…", "\\", "#\\")
    b.on("#\\", "\r", "#\\")
    b.otherwise("#\\", "#…")
    b.on("#…", "/", "#/")
    b.on("#/", "*", "#/*")
    b.on("#/*", "*", "#/**")
    b.on("#/*", "\n", "/*")
    b.otherwise("#/*", "#/*")
    b.on("#/**", "/", "#…")
    b.on("#/**", "*", "#/**")
    b.on("#/**", "\n", "/*")
    b.otherwise("#/**", "#/*")
    b.on("#/", "/", "#/")
    b.like("#/", "#…")
    b.otherwise("#…", "#…")
