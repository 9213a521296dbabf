"""The arguments of a call against the parameters of what it calls (Python)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import tree_sitter

from holefill.context.syntax.parsing import Parsed
from holefill.context.types.found import Found, Kind, nearest

_STARRED = frozenset({"list_splat", "dictionary_splat", "spread_element"})


def wrong_arguments(
    parsed: Parsed, call: tree_sitter.Node, arguments: tree_sitter.Node, name: str, parameters: tuple[str, ...]
) -> Iterator[Found]:
    """Too many, unknown by name, or missing."""
    given = [child for child in arguments.named_children if child.type != "comment"]
    keywords = {}
    for one in given:
        key = one.child_by_field_name("name") if one.type == "keyword_argument" else None
        if key is not None:
            keywords[parsed.text(key)] = key
    positional = [one for one in given if one.type not in ("keyword_argument", *_STARRED)]
    spread = any(one.type in _STARRED for one in given) or any(one.type == "generator_expression" for one in given)
    plain = [one for one in parameters if not one.startswith("*")]
    names = [re.split(r"[:=]", one)[0].strip() for one in plain]
    takes_any = any(one.startswith("*") and not one.startswith("**") for one in parameters)
    takes_keywords = any(one.startswith("**") for one in parameters)
    if len(positional) > len(plain) and not takes_any and not spread:
        yield Found(
            Kind.ARITY,
            f"`{name}` takes at most {len(plain)} arguments, not {len(positional)}",
            name,
            positional[len(plain)].start_byte,
            positional[-1].end_byte,
        )
    for spelled, key in keywords.items():
        if spelled not in names and not takes_keywords:
            near = nearest(spelled, names)
            yield Found(
                Kind.KEYWORD, f"`{name}` has no parameter `{spelled}`", spelled, key.start_byte, key.end_byte, near
            )
    missing = [
        label
        for label, one in zip(names[len(positional) :], plain[len(positional) :], strict=True)
        if "=" not in one and label not in keywords
    ]
    if missing and not spread:
        message = f"`{name}` needs {', '.join(f'`{one}`' for one in missing)}"
        yield Found(Kind.ARITY, message, name, call.start_byte, call.end_byte)
