"""A completion's receipt, for people: names, scores and times; never the code itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from holefill.context.items import Item
from holefill.lsp_server.completion import Completion, Reason, Receipt

NAMES_SHOWN = 6
EXPLANATIONS = {
    Reason.MODEL: "The model answered.",
    Reason.TYPE_THROUGH: "The rest of an earlier answer: you typed how it begins.",
    Reason.CACHE: "The same answer as a moment ago.",
    Reason.EMPTY: "The model had nothing to add here.",
    Reason.DUPLICATE: "The model repeated the text after the cursor, so nothing is shown.",
    Reason.LOOP: "The model repeated one short thing without end, so nothing is shown.",
    Reason.SECRET: "The answer looked like a credential that is not yours, so it is not shown.",
    Reason.COPY: "The answer repeated text the model was trained on that is not yours, so it is not shown.",
    Reason.LOW_CONFIDENCE: "The model was unsure, so nothing is shown unasked; ask explicitly to see it.",
    Reason.CANCELLED: "Typing went on before there was an answer.",
    Reason.DEADLINE: "No answer in time; if it still comes, it serves the next key.",
    Reason.TOO_LARGE: "The file is too large.",
    Reason.BINARY: "The file is binary.",
    Reason.BAD_POSITION: "The position is outside the document, or the editor has not opened it here.",
    Reason.DISABLED: "holefill is switched off for this language (setting holefill.enable).",
    Reason.SECRET_FILE: "Files of this name hold credentials; they are never read.",
    Reason.MODEL_LOADING: "The engine is starting.",
    Reason.ENGINE_ERROR: "The engine could not answer; the next request tries again.",
}


def markdown(completion: Completion | None, engine_message: str = "") -> str:
    if completion is None:
        return "No suggestion has been asked for yet." + (f" {engine_message}" if engine_message else "")
    return "\n".join(_lines(completion))


def _lines(completion: Completion) -> Iterator[str]:
    receipt = completion.receipt
    yield f"**{completion.reason.value}**: {EXPLANATIONS[completion.reason]}"
    if receipt.note:
        yield f"\n{receipt.note}"
    yield ""
    yield from _times(receipt)
    if receipt.names:
        yield f"- the answer had to begin with: {listed(receipt.names)}"
    yield from _context(receipt)


def listed(names: Sequence[str]) -> str:
    """A few of them, without those that every object has."""
    shown = ([name for name in names if not name.startswith("_")] or list(names))[:NAMES_SHOWN]
    return ", ".join(shown) + (f" or {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _times(receipt: Receipt) -> Iterator[str]:
    for stage, ms in receipt.stage_ms.items():
        yield f"- {stage}: {ms:.0f} ms"
    timing = receipt.timing
    if timing.forwards:
        yield (
            f"- prompt: {timing.prompt_tokens} tokens, {timing.cached_tokens} reused; "
            f"answer: {timing.completion_tokens} tokens in {timing.forwards} steps"
        )
    if receipt.finish is not None:
        yield f"- ended by: {receipt.finish.value}"
    if receipt.mean_logprob is not None:
        yield f"- mean log-probability of the first line: {receipt.mean_logprob:.2f}"


def _context(receipt: Receipt) -> Iterator[str]:
    pack = receipt.pack
    if pack.facts:
        counts = Counter(item.source for item in pack.facts)
        told = ", ".join(f"{count} from {source}" for source, count in counts.items())
        yield f"- known besides, for drafts: {told}"
    if not pack.items and not pack.dropped:
        yield "- repository context: none in the prompt"
        return
    yield f"- repository context: {len(pack.items)} items, {pack.tokens} tokens"
    for item in pack.items:
        yield f"  - {named(item)} (score {item.score:.2f}, {item.cost_ms:.1f} ms)"
    for dropped in pack.dropped:
        yield f"  - left out: {named(dropped.item)} ({dropped.reason})"


def named(item: Item) -> str:
    where = item.spans[0].path if item.spans else "?"
    names = ", ".join(item.symbol_ids[:3])
    return f"{item.source}: {where}" + (f" {names}" if names else "")
