"""Items from many sources → the few that are worth their tokens, in an order that keeps the prompt's KV rows valid."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rapidfuzz import fuzz

from holefill.context.items import Cursor, Dropped, Item, Pack
from holefill.context.provider import Tokenizer
from holefill.context.redaction import is_secret_file, redact
from holefill.context.syntax.languages import line_comment

_VISIBLE_BEFORE, _VISIBLE_AFTER = 2400, 400
"""Characters around the cursor that the prompt shows anyway (400 and 64 tokens, PROMPT.md §2 and §4, with room)."""
_VISIBLE_SHARE = 0.8
_SAME_PERCENT = 90.0
_MAX_COMPARED = 2000
_CLEAR_GAIN = 1.25
"""A new choice must be worth this much more than yesterday's to pay for the cold prefill it causes."""
_KEPT_COSTS = 4096
_LINE_COST, _ITEM_COST = 2, 6
"""Tokens of a comment mark per line, and of the path above an item."""


class Costs:
    """Prices texts in tokens, each once: from one keystroke to the next most items are the same. Any thread may ask."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, int] = {}

    def of(self, text: str) -> int:
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= _KEPT_COSTS:
                self._known = {}
            lines = text.count("\n") + 1
            known = self._known[text] = len(self._tokenizer.encode(text)) + _LINE_COST * lines + _ITEM_COST
        return known


@dataclass(frozen=True, slots=True)
class _Candidate:
    item: Item
    key: str
    value: float


def pack(
    items: Sequence[Item],
    cursor: Cursor,
    tokenizer: Tokenizer,
    budget_tokens: int,
    previous: Pack | None = None,
    costs: Costs | None = None,
) -> Pack:
    """Deduplicate, choose by value, shorten or drop what does not fit, order most stable first and as ``previous``.

    ``items`` come grouped by source, the most stable source first; scores are compared within a source only.
    """
    dropped: list[Dropped] = []
    unique = _unique(_unseen(items, cursor, dropped), dropped)
    candidates = _valued(unique)
    costs, comment = costs or Costs(tokenizer), line_comment(cursor.language)
    fresh = _chosen(candidates, costs, budget_tokens, comment)
    chosen = fresh
    if previous is not None and previous.items:
        kept = {_key(item): rank for rank, item in enumerate(previous.items)}
        sticky_first = sorted(candidates, key=lambda known: (kept.get(known.key, len(kept)), -known.value))
        sticky = _chosen(sticky_first, costs, budget_tokens, comment)
        if _value(fresh) < _CLEAR_GAIN * _value(sticky):
            chosen = sorted(sticky, key=lambda known: kept.get(known.key, len(kept)))
    taken = {known.key for known in chosen}
    dropped.extend(Dropped(known.item, "budget") for known in candidates if known.key not in taken)
    tokens = sum(costs.of(known.item.text) for known in chosen)
    return Pack(tuple(known.item for known in chosen), tuple(dropped), tokens)


def _unseen(items: Iterable[Item], cursor: Cursor, dropped: list[Dropped]) -> Iterator[Item]:
    """Without credentials, empty items, and what the prompt's own window shows."""
    shown = cursor.text[max(0, cursor.offset - _VISIBLE_BEFORE) : cursor.offset + _VISIBLE_AFTER]
    lines = {line.strip().rstrip("{:") for line in shown.splitlines()}
    for item in items:
        if any(is_secret_file(span.path) for span in item.spans):
            dropped.append(Dropped(item, "secret"))
            continue
        text = redact(item.text)
        own = [line.strip().rstrip("{:") for line in text.splitlines() if len(line.strip()) > 3]
        if not own or sum(line in lines for line in own) >= _VISIBLE_SHARE * len(own):
            dropped.append(Dropped(item, "visible" if own else "empty"))
        else:
            yield item if text == item.text else replace(item, text=text)


def _unique(items: Iterable[Item], dropped: list[Dropped]) -> list[Item]:
    """One item per symbol and place; of near-duplicates one in full, the others by their first line."""
    kept: list[Item] = []
    symbols: set[str] = set()
    for item in items:
        repeated = bool(item.symbol_ids) and symbols.issuperset(item.symbol_ids)
        if repeated or any(_overlap(item, other) for other in kept):
            dropped.append(Dropped(item, "duplicate"))
            continue
        symbols.update(item.symbol_ids)
        if any(_alike(item.text, other.text) for other in kept):
            head = item.text.strip().split("\n", 1)[0]
            if any(head == other.text.strip().split("\n", 1)[0] for other in kept):
                dropped.append(Dropped(item, "near duplicate"))
                continue
            item = replace(item, text=head)
        kept.append(item)
    return kept


def _alike(left: str, right: str) -> bool:
    if min(len(left), len(right)) * 100 < max(len(left), len(right)) * 80:
        return False
    return fuzz.ratio(left[:_MAX_COMPARED], right[:_MAX_COMPARED], score_cutoff=_SAME_PERCENT) > 0


def _overlap(left: Item, right: Item) -> bool:
    """Whether the left item's places lie inside the right one's."""
    places = [span for span in left.spans if span.end > span.start]
    return bool(places) and all(
        any(span.path == other.path and other.start <= span.start and span.end <= other.end for other in right.spans)
        for span in places
    )


def _valued(items: Sequence[Item]) -> list[_Candidate]:
    """The best of each source is worth 1, its second ½, its third ⅓…; most stable source first, then by place."""
    by_source: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_source[item.source].append(item)
    candidates: list[_Candidate] = []
    for group in by_source.values():
        ranked = sorted(group, key=lambda item: -item.score)
        candidates.extend(_Candidate(item, _key(item), 1 / rank) for rank, item in enumerate(ranked, start=1))
    return sorted(candidates, key=lambda known: -known.value)


def _chosen(candidates: Sequence[_Candidate], costs: Costs, budget_tokens: int, comment: str) -> list[_Candidate]:
    taken: list[_Candidate] = []
    left = budget_tokens
    for known in candidates:
        if left < _ITEM_COST:
            break
        for text in _versions(known.item.text, comment):
            cost = costs.of(text)
            if cost <= left:
                left -= cost
                taken.append(replace(known, item=replace(known.item, text=text)))
                break
    sources = list(dict.fromkeys(known.item.source for known in candidates))
    # Within a source, the order of places does not change when scores do.
    return sorted(taken, key=lambda known: (sources.index(known.item.source), _place(known.item)))


def _place(item: Item) -> tuple[str, int]:
    return (item.spans[0].path, item.spans[0].start) if item.spans else ("", 0)


def _versions(text: str, comment: str) -> Iterator[str]:
    """Full text; without comments and documentation; its first line alone."""
    yield text
    bare = re.sub(rf"[ \t]*{re.escape(comment)}[^\n]*", "", text)
    bare = re.sub(r'\s*("""|\'\'\'|/\*\*).*?("""|\'\'\'|\*/)', "", bare, flags=re.S)
    bare = re.sub(r"\n\s*\n+", "\n", bare).strip()
    if bare and bare != text:
        yield bare
    head = bare.split("\n", 1)[0]
    if head and head != bare:
        yield head


def _value(chosen: Iterable[_Candidate]) -> float:
    return sum(known.value for known in chosen)


def _key(item: Item) -> str:
    """Identity across keystrokes: the symbols an item shows, else where it comes from, else its text."""
    if item.symbol_ids:
        return f"{item.source}:{','.join(item.symbol_ids)}"
    if item.spans:
        return f"{item.source}:{','.join(f'{span.path}@{span.start}' for span in item.spans)}"
    return f"{item.source}:{item.text}"
