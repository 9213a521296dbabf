"""All providers at once under one deadline; what is late serves the next keystroke."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from holefill.context.items import Cursor, Item, Pack
from holefill.context.packing import Costs, pack
from holefill.context.provider import ContextProvider, Deadline, Tokenizer
from holefill.context.redaction import is_secret_file, redact

_LOG = logging.getLogger(__name__)
_REMEMBERED_FILES = 32
_FACTS_TOKENS = 512
"""Asked of the providers where the prompt has no room."""
_REST_S = 0.3
"""A pause in typing this long is when what has no hurry is found out."""
_PACKING_MS, _MOST_PACKING_MS = 4.0, 12.0
"""What packing takes at least, with room, and what is set aside for it at most."""
_SLOWER, _FASTER = 0.5, 0.05
"""How quickly what is set aside follows a packing that took longer, and one that did not."""
_LATE_MS = 1000.0
"""How long a provider may go on after the deadline for the sake of the next keystroke."""


@dataclass(frozen=True, slots=True)
class _Answer:
    path: str
    items: tuple[Item, ...]
    elapsed_ms: float


@dataclass(slots=True)
class _Resting:
    """The newest cursor of a pause in typing that may become a rest."""

    cursor: Cursor
    due: float
    timer: threading.Timer


class Gatherer:
    """Calls providers in parallel and packs what arrived. One per workspace; safe to call from any thread.

    ``providers`` come most stable first: that is the order of their items in the prompt.
    """

    def __init__(
        self,
        providers: Sequence[ContextProvider],
        tokenizer: Tokenizer,
        admits: Callable[[Item], bool] | None = None,
        rest_s: float = _REST_S,
    ) -> None:
        """``admits``: which items may stand in the prompt; the others are facts only. None: all."""
        self._rest_s = rest_s
        self._resting: _Resting | None = None
        self._providers = tuple(providers)
        self._tokenizer = tokenizer
        self._costs = Costs(tokenizer)
        self._admits = admits
        self._executor = ThreadPoolExecutor(max_workers=max(1, len(self._providers)), thread_name_prefix="context")
        self._lock = threading.Lock()
        self._running: dict[str, Future[_Answer]] = {}
        self._answers: dict[str, _Answer] = {}
        self._packs: OrderedDict[str, Pack] = OrderedDict()
        self._packing_ms = _PACKING_MS

    def __call__(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> Pack:
        """The pack for this cursor, by the deadline: packing has its time before it.

        Without a budget no provider is in the way of an answer: they are asked once typing rests, and what they said
        by then about this file are the facts.
        """
        if budget_tokens <= 0:
            self._ask_at_rest(cursor)
            known = [self._answer(provider.name, cursor, None) for provider in self._providers]
            return Pack(facts=_harmless(item for answer in known if answer is not None for item in answer.items))
        started = {provider.name: self._start(provider, cursor, budget_tokens) for provider in self._providers}
        fresh = {name: future for name, future in started.items() if future is not None}
        wait(fresh.values(), timeout=max(0.0, deadline.remaining_ms() - self._packing_ms) / 1000)
        began = time.perf_counter()
        answers = [self._answer(name, cursor, fresh.get(name)) for name in started]
        facts = tuple(item for answer in answers if answer is not None for item in answer.items)
        items = [item for item in facts if self._admits is None or self._admits(item)]
        with self._lock:
            previous = self._packs.get(cursor.path)
        packed = pack(items, cursor, self._tokenizer, budget_tokens, previous, self._costs)
        with self._lock:
            self._packs[cursor.path] = packed
            self._packs.move_to_end(cursor.path)
            if len(self._packs) > _REMEMBERED_FILES:
                self._packs.popitem(last=False)
        self._took((time.perf_counter() - began) * 1000)
        return replace(packed, provider_ms=self._times(fresh), facts=_harmless(facts))

    def _took(self, packing_ms: float) -> None:
        """The next packing has the time that this one shows to be needed, on this machine under this load."""
        off = 1.5 * packing_ms - self._packing_ms
        moved = self._packing_ms + off * (_SLOWER if off > 0 else _FASTER)
        self._packing_ms = min(_MOST_PACKING_MS, max(_PACKING_MS, moved))

    def close(self) -> None:
        with self._lock:
            if self._resting is not None:
                self._resting.timer.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _ask_at_rest(self, cursor: Cursor) -> None:
        due = time.monotonic() + self._rest_s
        with self._lock:
            if self._resting is None:
                self._resting = _Resting(cursor, due, self._timer(self._rest_s))
            else:
                self._resting.cursor, self._resting.due = cursor, due

    def _timer(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._rested)
        timer.daemon = True
        timer.start()
        return timer

    def _rested(self) -> None:
        with self._lock:
            resting = self._resting
            if resting is None:
                return
            left = resting.due - time.monotonic()
            if left > 0:  # a key came in between
                resting.timer = self._timer(left)
                return
            self._resting = None
        for provider in self._providers:
            self._start(provider, resting.cursor, _FACTS_TOKENS)

    def _start(self, provider: ContextProvider, cursor: Cursor, budget_tokens: int) -> Future[_Answer] | None:
        """None while the provider is still busy with an earlier keystroke: its work is never piled up."""
        with self._lock:
            running = self._running.get(provider.name)
            if running is not None and not running.done():
                return None
            try:
                future = self._executor.submit(self._run, provider, cursor, budget_tokens)
            except RuntimeError:  # closed
                return None
            self._running[provider.name] = future
            return future

    def _run(self, provider: ContextProvider, cursor: Cursor, budget_tokens: int) -> _Answer:
        before = time.perf_counter()
        items: list[Item] = []
        try:
            items = provider.gather(cursor, budget_tokens, Deadline.after_ms(_LATE_MS))
        except Exception as error:  # a faulty source costs its items, never the suggestion
            _LOG.error("context provider %s failed: %s", provider.name, type(error).__name__)
        for item in items:  # here, not between the deadline and the answer
            self._costs.of(item.text)
        answer = _Answer(cursor.path, tuple(items), (time.perf_counter() - before) * 1000)
        with self._lock:
            self._answers[provider.name] = answer
        return answer

    def _answer(self, name: str, cursor: Cursor, future: Future[_Answer] | None) -> _Answer | None:
        """This keystroke's answer, else the last one for the same file."""
        if future is not None and future.done() and not future.cancelled():
            return future.result()
        with self._lock:
            late = self._answers.get(name)
        return late if late is not None and late.path == cursor.path else None

    @staticmethod
    def _times(fresh: Mapping[str, Future[_Answer]]) -> dict[str, float]:
        done = {name: future for name, future in fresh.items() if future.done() and not future.cancelled()}
        return {name: future.result().elapsed_ms for name, future in done.items()}


def _harmless(items: Iterable[Item]) -> tuple[Item, ...]:
    """Facts leave this layer as they are, so credentials end here."""
    known = (item for item in items if not any(is_secret_file(span.path) for span in item.spans))
    return tuple(item if (text := redact(item.text)) == item.text else replace(item, text=text) for item in known)
