"""The type-through cache: what was suggested answers the next keystrokes that agree with it, without a forward pass."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass

from holefill.lsp_server.brackets import CLOSERS, OPENERS
from holefill.lsp_server.completion import CompleterOptions, Receipt

DOCUMENTS = 64
PER_DOCUMENT = 16
SEEN_BEFORE = 16_384
"""Characters before the cursor that an answer may depend on: more than any prompt window shows."""
SEEN_AFTER = 4_096
MAX_AUTO_CLOSED = 3
"""An editor inserts at most this many closing characters for one typed opener (``\"\"\"``)."""


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """With the text around the cursor, everything an answer depends on."""

    path: str
    language: str
    model: str
    options: CompleterOptions
    context: str = ""
    """Names the repository context in the prompt; '' when there is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    receipt: Receipt
    before: str
    before_length: int
    after: str
    after_length: int
    others: tuple[str, ...] | None = None
    """Alternatives to ``text``; None: nobody asked for them."""

    @classmethod
    def at(cls, prefix: str, suffix: str, text: str, receipt: Receipt, others: tuple[str, ...] | None = None) -> Answer:
        return cls(text, receipt, prefix[-SEEN_BEFORE:], len(prefix), suffix[:SEEN_AFTER], len(suffix), others)

    def typed_since(self, prefix: str, suffix: str) -> str | None:
        """What was typed since, when it is how this answer begins and leaves something of it; else None."""
        count = len(prefix) - self.before_length
        if not 0 <= count < len(self.text):
            return None
        typed = prefix[self.before_length :]
        if not self.text.startswith(typed) or not prefix.endswith(self.before, 0, self.before_length):
            return None
        return typed if self._same_suffix(typed, suffix) else None

    def _same_suffix(self, typed: str, suffix: str) -> bool:
        """Equal, but for closers the editor inserted by itself for an opener that was typed."""
        added = len(suffix) - self.after_length
        if not 0 <= added <= MAX_AUTO_CLOSED or not suffix.startswith(self.after, added):
            return False
        if added == 0:
            return True
        opened = any(char in OPENERS or char in "\"'`" for char in typed)
        return opened and all(char in CLOSERS or char in "\"'`" for char in suffix[:added])


@dataclass(frozen=True, slots=True)
class Found:
    answer: Answer
    typed: str

    @property
    def remainder(self) -> str:
        return self.answer.text[len(self.typed) :]


class AnswerCache:
    """Least recently used documents leave first; safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[AnswerKey, deque[Answer]] = OrderedDict()

    def put(self, key: AnswerKey, answer: Answer) -> None:
        with self._lock:
            self._answers.setdefault(key, deque(maxlen=PER_DOCUMENT)).appendleft(answer)
            self._answers.move_to_end(key)
            if len(self._answers) > DOCUMENTS:
                self._answers.popitem(last=False)

    def find(self, key: AnswerKey, prefix: str, suffix: str) -> Found | None:
        with self._lock:
            answers = tuple(self._answers.get(key, ()))
        for answer in answers:
            typed = answer.typed_since(prefix, suffix)
            if typed is not None:
                return Found(answer, typed)
        return None

    def clear(self) -> None:
        with self._lock:
            self._answers.clear()
