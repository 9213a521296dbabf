"""What the engine said → what is shown: every answer fitted to its place, and where ``Fit`` says so, judged."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

from holefill.context.items import Cursor
from holefill.context.provider import Deadline
from holefill.lsp_server.closing import Closer
from holefill.lsp_server.completion import CompleterOptions, Fit, Reason
from holefill.lsp_server.copies import CopyGuard
from holefill.lsp_server.edits import unfinished_elsewhere
from holefill.lsp_server.generation import Draft, generate
from holefill.lsp_server.judge import Judge, Judged, Option, Rewrite
from holefill.lsp_server.postprocess import Place, postprocess, postprocess_all
from holefill.lsp_server.request_builder import RequestBuilder, fit_of
from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError
from holefill.model.request import Backend, Candidate, FinishReason, GenerateRequest

PLAIN_WEIGHT = 0.5
"""Of log p(answer, suffix | prefix), beside log p(answer | prompt). From 0.3 to 0.7 the choices are as good; at 1 those
of the 1.5B are worse (LOG.md)."""
_REPLACEABLE = frozenset({Reason.MODEL, Reason.EMPTY, Reason.DUPLICATE, Reason.LOOP})
"""Where the model said something, and another of its answers may be shown instead."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """``first`` is shown where ``reason`` is ``MODEL``; empty ones and the same text twice may be among ``options``."""

    first: Option
    reason: Reason
    options: tuple[Option, ...] = ()
    """The model's other answers."""
    judged: Judged | None = None

    def others(self) -> tuple[str, ...]:
        """Other texts for the place, none twice."""
        texts = (option.text for option in self.options if option.text and option.text != self.first.text)
        return tuple(dict.fromkeys(texts)) if self.reason is Reason.MODEL else ()


class Fitter:
    def __init__(
        self,
        backend: Backend,
        builder: RequestBuilder,
        options: CompleterOptions,
        judge: Judge | None = None,
        copies: CopyGuard | None = None,
    ) -> None:
        self._backend, self._builder, self._options = backend, builder, options
        self._judge, self._copies = judge, copies
        self._closer = Closer()

    def place(self, cursor: Cursor, seen: bool = False) -> Place:
        """``seen``: of an answer that was shown before; what closed the file then still does behind its beginning."""
        closes = not seen and self._closes(cursor)
        copies = self._copies
        copied = None if copies is None else lambda text: copies.refuses(text, cursor)
        return Place(cursor.prefix, cursor.suffix, cursor.language, closes=closes, closer=self._closer, copied=copied)

    def fit(self, cursor: Cursor, draft: Draft, max_tokens: int, cancelled: bool) -> Fitted:
        place = self.place(cursor)
        text, reason = postprocess(draft.text, replace(place, truncated=draft.truncated))
        if cancelled or draft.finish is FinishReason.CANCELLED:
            text, reason = "", Reason.CANCELLED
        elif reason is Reason.EMPTY and draft.finish is FinishReason.DEADLINE:
            reason = Reason.DEADLINE
        shown = postprocess_all(draft.candidates[1:], place, max_tokens)
        others = zip(shown, draft.candidates[1:], strict=True)
        options = tuple(Option(said, one.mean_logprob, one.text, _joint(one)) for said, one in others)
        joint = _joint(draft.candidates[0]) if draft.candidates else None
        return Fitted(Option(text, draft.mean_logprob() or 0.0, draft.text, joint), reason, options)

    def prepare(self, cursor: Cursor) -> None:
        """The file is read, and what a judge needs is found, while the model writes."""
        if fit_of(self._backend, self._options, cursor.language) is not Fit.OFF:
            threading.Thread(target=self._prepare, args=(cursor,), daemon=True).start()

    def _prepare(self, cursor: Cursor) -> None:
        if self._closes(cursor):
            self._closer.read(cursor.prefix, cursor.suffix, cursor.language)
        if (judge := self._judge_of(cursor)) is not None:
            judge.prepare(cursor, Deadline.after_ms(self._options.judge_ms))

    def _closes(self, cursor: Cursor) -> bool:
        """Whether an answer has to close the file."""
        fitted = fit_of(self._backend, self._options, cursor.language) is not Fit.OFF
        return fitted and not unfinished_elsewhere(cursor.prefix, cursor.suffix, cursor.language)

    def beginnings(self, cursor: Cursor, due: Deadline) -> tuple[str, ...]:
        """Names of which an answer here must begin with one; none where anything goes, or nobody knows in time."""
        if self._judge is None or fit_of(self._backend, self._options, cursor.language) is Fit.OFF:
            return ()
        return self._judge.beginnings(cursor, due)

    def judge(
        self, cursor: Cursor, fitted: Fitted, asked: GenerateRequest, cancel: CancelToken, due: float | None
    ) -> Fitted | None:
        """The answer, another candidate, or the answer mended; within the request's time, ``due`` (``perf_counter``).

        None where nobody judges.
        """
        judge = self._judge_of(cursor)
        options = tuple(option for option in (fitted.first, *fitted.options) if option.text)
        if judge is None or not options or fitted.reason not in _REPLACEABLE or not fitted.first.raw.strip():
            return None
        left = self._options.judge_ms if due is None else (due - time.perf_counter()) * 1000
        deadline = Deadline.after_ms(max(0.0, min(left, self._options.judge_ms)))
        judged = judge.pick(
            cursor, options, lambda wanted: self._rewritten(cursor, asked, wanted, cancel, deadline), deadline
        )
        return replace(fitted, first=judged.option, reason=Reason.MODEL, options=options, judged=judged)

    def _judge_of(self, cursor: Cursor) -> Judge | None:
        return self._judge if fit_of(self._backend, self._options, cursor.language).judges else None

    def _rewritten(
        self, cursor: Cursor, asked: GenerateRequest, wanted: Rewrite, cancel: CancelToken, deadline: Deadline
    ) -> Option | None:
        try:
            request = self._builder.rewriting(asked, cursor, wanted, deadline.remaining_ms())
            again = generate(self._backend, request, cancel)
        except EngineError:
            return None
        raw = wanted.kept + again.text
        said, reason = postprocess(raw, replace(self.place(cursor), truncated=again.truncated))
        return Option(said, again.mean_logprob() or 0.0, raw) if reason is Reason.MODEL else None


def _joint(candidate: Candidate) -> float | None:
    """The two estimates of ``model.foresight`` together; None where the second was not asked for.

    The end counts: tokens alone are the probability of a beginning, and a short one's is never less.
    """
    if candidate.plain_logprob is None:
        return None
    return candidate.logprob + candidate.end_logprob + PLAIN_WEIGHT * candidate.plain_logprob
