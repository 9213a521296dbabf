"""Cursor → the stop rule of its request, as facts about the text around the hole."""

from __future__ import annotations

from holefill.context.syntax.languages import LANGUAGES, line_comment
from holefill.lsp_server.brackets import around
from holefill.lsp_server.completion import CompleterOptions
from holefill.model.request import Shape, StopSpec

SUFFIX_LINES = 3


def stop_spec(prefix: str, suffix: str, language: str, options: CompleterOptions) -> StopSpec:
    line_prefix = prefix[prefix.rfind("\n") + 1 :]
    rest = suffix.split("\n", 1)[0]
    row = LANGUAGES.get(language)
    mid_line = bool(line_prefix.strip() or rest.strip())
    return StopSpec(
        shape=options.shape or (Shape.STATEMENT if mid_line else Shape.BLOCK),
        indent=len(line_prefix) - len(line_prefix.lstrip()),  # a tab is one column, as in the rule that counts
        suffix_lines=_suffix_lines(suffix),
        closers=_closers(prefix, suffix, language),
        line_comment=line_comment(language),
        head=":" if row is not None and row.indented_blocks else "",
        next_indent=_next_indent(suffix),
    )


def _next_indent(suffix: str) -> int:
    """0 where no line with text follows."""
    lines = suffix[:4000].split("\n")[1:]
    return next((len(line) - len(line.lstrip()) for line in lines if line.strip()), 0)


def _suffix_lines(suffix: str) -> tuple[str, ...]:
    """Lines of brackets only say nothing about which line they are; the bracket rules look after those."""
    lines = (line.strip() for line in suffix[:4000].split("\n"))
    return tuple(line for line in lines if any(char.isalnum() for char in line))[:SUFFIX_LINES]


def _closers(prefix: str, suffix: str, language: str) -> str:
    """Closers right after the hole. A brace on a later line ends a block, which the shape and ``} else {`` decide."""
    hole = around(prefix, suffix, language)
    if hole.missing or hole.quote:
        return ""
    rest = suffix.split("\n", 1)[0].strip()
    ahead = rest or suffix.lstrip()[:1]
    closers = ""
    for char, supplied in zip(ahead, hole.supplied, strict=False):
        if char != supplied or (char == "}" and not rest):
            break
        closers += char
    return closers
