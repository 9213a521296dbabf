"""Cursor text and context items → the exact prompt of a fill-in-the-middle model, as ids and as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from holefill.context.fim_formats import FORMATS, FimFormat, Order, RepoForm, choose_format
from holefill.context.forms import COMMENTS, Place, annotated
from holefill.context.forms import FORMS as ITEM_FORMS
from holefill.context.items import Item
from holefill.context.provider import Tokenizer
from holefill.context.window import prefix_window, suffix_window

__all__ = ["FORMATS", "FimFormat", "Order", "Prompt", "PromptLimits", "build_prompt", "choose_format"]


_BLANK_CHARS = 4_096
"""A suffix that is blank for so long has nothing to tell the model."""


@dataclass(frozen=True, slots=True)
class PromptLimits:
    """Sizes in tokens, and what the context part needs to know about the current file."""

    prefix_tokens: int = 400
    """The window holds up to half as many again, so that its start rarely moves (see ``window``)."""
    suffix_tokens: int = 64
    context_tokens: int = 0
    repo_form: bool = False
    """Show items as other files in the family's repository form; the same as the form ``repository``."""
    form: str = COMMENTS
    """A row of ``forms.FORMS``."""
    line_comment: str = "#"
    path: str = ""
    """Of the current file, relative to its workspace; used by the repository form, and where the file is blank: of
    8 such files in 7 languages the 0.5B began all with `using System;`, and with their names each in its language."""
    repo_name: str = "repository"


@dataclass(frozen=True, slots=True)
class Prompt:
    ids: tuple[int, ...]
    text: str
    """The same prompt spelled out, for servers that take no ids."""
    prefix_tokens: int
    suffix_tokens: int
    context_tokens: int
    prefix_start: int = 0
    """Offset in the document of the first character shown."""


@dataclass(slots=True)
class _Assembly:
    """Ids and text grown together: special tokens by spelling, everything else as plain text."""

    tokenizer: Tokenizer
    specials: tuple[str, ...]
    ids: list[int] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def special(self, spelling: str | None) -> None:
        token = None if spelling is None else self.tokenizer.special_id(spelling)
        if spelling is not None and token is not None:
            self.ids.append(token)
            self.parts.append(spelling)

    def plain(self, text: str, ids: Sequence[int] | None = None) -> None:
        self.ids.extend(self.tokenizer.encode(text) if ids is None else ids)
        self.parts.append(defuse(text, self.specials))


def build_prompt(
    fmt: FimFormat,
    tokenizer: Tokenizer,
    prefix: str,
    suffix: str,
    items: Sequence[Item] = (),
    limits: PromptLimits | None = None,
) -> Prompt:
    """Lay out the prompt most stable first. User text never becomes a special token, whatever it spells."""
    limits = limits or PromptLimits()
    window = prefix_window(tokenizer, prefix, limits.prefix_tokens)
    suffix_ids = suffix_window(tokenizer, suffix, limits.suffix_tokens)
    out = _Assembly(tokenizer, (*fmt.required, *fmt.stops))
    out.special(fmt.bos)
    form = ITEM_FORMS["repository" if limits.repo_form else limits.form]
    items = [item for item in items if form.shows(item)]
    shown = prefix[window.start :]
    before = len(out.ids)
    inside = ""  # what of the context stands after the prefix token
    if form.place is Place.FILES and fmt.repo is not None and items:
        inside = _other_files(out, fmt.repo, items, limits)
    elif form.place in (Place.TOP, Place.FILES) and items:
        inside = context_comments(tokenizer, items, limits)
    elif items:
        shown = annotated(form, shown, items, limits.line_comment, limits.context_tokens, _counter(tokenizer))
    elif limits.path and not shown.strip() and not suffix[:_BLANK_CHARS].strip():
        shown = f"{limits.line_comment} {limits.path}\n{shown}"
    context_tokens = len(out.ids) - before

    def prefix_part() -> int:
        out.special(fmt.prefix)
        start = len(out.ids)
        if inside:
            out.plain(inside)
        used = len(out.ids) - start
        ids = window.ids if len(shown) == len(prefix) - window.start else tuple(tokenizer.encode(shown))
        out.plain(shown, ids)
        return used + len(ids) - len(window.ids)

    def suffix_part() -> None:
        out.special(fmt.suffix)
        out.plain(tokenizer.decode(suffix_ids), suffix_ids)

    if fmt.order is Order.PSM:
        context_tokens += prefix_part()
        suffix_part()
    else:
        suffix_part()
        context_tokens += prefix_part()
    out.special(fmt.middle)
    return Prompt(tuple(out.ids), "".join(out.parts), len(window.ids), len(suffix_ids), context_tokens, window.start)


def _counter(tokenizer: Tokenizer) -> Callable[[str], int]:
    return lambda text: len(tokenizer.encode(text))


def context_comments(tokenizer: Tokenizer, items: Sequence[Item], limits: PromptLimits) -> str:
    """Items as line comments (the form that hurt least in our measurements); whole items until the budget is spent."""
    taken: list[str] = []
    left = limits.context_tokens
    for item in items:
        text = "".join(f"{limits.line_comment} {line}".rstrip() + "\n" for line in _titled(item))
        cost = len(tokenizer.encode(text))
        if cost <= left:
            taken.append(text)
            left -= cost
    return "".join(taken)


def _titled(item: Item) -> Iterable[str]:
    if item.spans:
        yield item.spans[0].path
    yield from item.text.rstrip().splitlines()


def _other_files(out: _Assembly, repo: RepoForm, items: Sequence[Item], limits: PromptLimits) -> str:
    """Append other files; returns what of them, and of the current file's path line, belongs after the prefix token."""
    if repo.header is not None:
        out.special(repo.header)
        out.plain(limits.repo_name + ("" if repo.path_inside_prefix else "\n"))
    left = limits.context_tokens
    inside = ""
    for item in items:
        name = item.spans[0].path if item.spans else item.source
        text = f"{name}\n{item.text.rstrip()}\n"
        cost = len(out.tokenizer.encode(text)) + 1
        if cost > left:
            continue
        left -= cost
        if repo.file_is_text:
            inside += f"{repo.file}{text}\n"
        else:
            out.special(repo.file)
            out.plain(text)
    path = (limits.path or "untitled") + "\n"
    if repo.file_is_text:
        return f"{inside}{repo.file}{path}"
    out.special(repo.file)
    if repo.path_inside_prefix:
        return path
    out.plain(path)
    return ""


def defuse(text: str, specials: Iterable[str]) -> str:
    """Break special-token spellings inside plain text with a space, for servers that would read them as tokens."""
    for spelling in specials:
        if len(spelling) > 2 and spelling in text:
            text = text.replace(spelling, spelling[0] + " " + spelling[1:])
    return text
