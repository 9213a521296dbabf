"""Reserved words per language: names in this table are not identifiers for ID-EM and ID-F1."""

from __future__ import annotations

import keyword

_C = """auto break case char const continue default do double else enum extern float for goto if inline int long
register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while"""
_JAVASCRIPT = """abstract arguments await boolean break byte case catch char class const continue debugger default
delete do double else enum eval export extends false final finally float for function goto if implements import in
instanceof int interface let long native new null package private protected public return short static super switch
synchronized this throw throws transient true try typeof var void volatile while with yield"""
_TYPESCRIPT = _JAVASCRIPT + " any as async constructor declare from get module number of require set string symbol type"
_TABLE: tuple[tuple[str, str], ...] = (
    ("python", " ".join(keyword.kwlist)),
    (
        "java",
        """abstract assert boolean break byte case catch char class const continue default do double else enum
        extends final finally float for goto if implements import instanceof int interface long native new package
        private protected public return short static strictfp super switch synchronized this throw throws transient
        try void volatile while true false null""",
    ),
    ("javascript", _JAVASCRIPT),
    ("typescript", _TYPESCRIPT),
    ("tsx", _TYPESCRIPT),
    (
        "csharp",
        """abstract as base bool break byte case catch char checked class const continue decimal default delegate
        do double else enum event explicit extern false finally fixed float for foreach goto if implicit in int
        interface internal is lock long namespace new null object operator out override params private protected
        public readonly ref return sbyte sealed short sizeof stackalloc static string struct switch this throw true
        try typeof uint ulong unchecked unsafe ushort using virtual void volatile while""",
    ),
    (
        "go",
        """break case chan const continue default defer else fallthrough for func go goto if import interface map
        package range return select struct switch type var nil true false""",
    ),
    (
        "rust",
        """as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod
        move mut pub ref return self Self static struct super trait true type unsafe use where while""",
    ),
    ("c", _C),
    (
        "cpp",
        _C
        + """ alignas alignof and asm bool catch class constexpr const_cast decltype delete dynamic_cast explicit
        export false friend mutable namespace new noexcept not nullptr operator or private protected public
        reinterpret_cast static_assert static_cast template this throw true try typeid typename using virtual""",
    ),
)
KEYWORDS: dict[str, frozenset[str]] = {language: frozenset(words.split()) for language, words in _TABLE}
