"""A prompt's parts as a drafter reads them: text in the order of the file, not of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptText:
    before: list[int]
    """Up to the hole."""
    documents: list[list[int]]
    """Everything else: the text after the hole first, then the context in front."""


def read_prompt(ids: Sequence[int], fim_ids: tuple[int, int, int] | None) -> PromptText:
    """Takes a prefix–suffix–middle prompt apart; any other is text that goes on.

    ``fim_ids`` are the markers of prefix, suffix and middle. The model's answer continues the prefix, so a longest
    match must be sought there, not at the prompt's end, which is the suffix.
    """
    ids = list(ids)
    if fim_ids is None:
        return PromptText(ids, [])
    prefix, suffix, middle = fim_ids
    if middle not in ids or suffix not in ids:
        return PromptText(ids, [])
    hole, after = len(ids) - 1 - ids[::-1].index(middle), len(ids) - 1 - ids[::-1].index(suffix)
    start = ids.index(prefix) + 1 if prefix in ids else 0
    if not start <= after < hole:
        return PromptText(ids, [])
    documents = [ids[after + 1 : hole], ids[: max(start - 1, 0)]]
    return PromptText([*ids[start:after], *ids[hole + 1 :]], [document for document in documents if document])
