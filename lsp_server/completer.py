"""The pipeline: one cursor in, one suggestion or one reason out. Editor, command line and evaluation call it.

Synchronous, and it knows neither LSP nor the engine's process: a ``Backend`` generates, a ``Gather`` finds context.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from holefill.context.items import Cursor, Pack
from holefill.context.provider import Deadline, Tokenizer
from holefill.lsp_server.answers import Answer, AnswerCache, AnswerKey
from holefill.lsp_server.completion import (
    CompleterOptions,
    Completion,
    CompletionRequest,
    Reason,
    Receipt,
    Trigger,
    accepted,
    with_selection,
)
from holefill.lsp_server.copies import CopyGuard
from holefill.lsp_server.fitting import Fitted, Fitter
from holefill.lsp_server.generation import Draft, Stages, generate
from holefill.lsp_server.guards import refusal
from holefill.lsp_server.judge import Judge
from holefill.lsp_server.postprocess import postprocess
from holefill.lsp_server.request_builder import RequestBuilder
from holefill.lsp_server.show_gate import GATE
from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError
from holefill.model.request import Backend, FinishReason, GenerateRequest, Timing, WarmingBackend

Gather = Callable[[Cursor, int, Deadline], Pack]
"""Cursor, budget in tokens, deadline → what the repository says about this place."""

_INVOKED_GATHER_MS = 250.0
"""Who asks has stopped typing: a checker may finish its answer."""


class Completer:
    """Thread-safe: requests share nothing but the answer cache."""

    def __init__(
        self,
        backend: Backend,
        tokenizer: Tokenizer,
        options: CompleterOptions | None = None,
        gather: Gather | None = None,
        judge: Judge | None = None,
        copies: CopyGuard | None = None,
    ) -> None:
        """Raises ``context.errors.NoFimFormatError`` for a model that cannot fill in the middle."""
        self.backend = backend
        self.options = options or CompleterOptions()
        self._builder = RequestBuilder(backend, tokenizer, self.options)
        self._fitter = Fitter(backend, self._builder, self.options, judge, copies)
        self._gather = gather
        self._model_name = backend.model_name  # asked once: an engine elsewhere may take its time to say
        self._answers = AnswerCache()
        self._unfinished = AnswerCache()

    def complete(self, request: CompletionRequest, cancel: CancelToken) -> Completion:
        """Never raises for what a document, an engine or a repository does; the reason says what happened."""
        refused = refusal(request.cursor)
        if refused is not None:
            return Completion("", refused)
        cursor, forced = with_selection(request)
        key = self._key(cursor)
        completion = self._from_cache(request, cursor, key) or self._from_engine(request, cursor, key, cancel)
        return self._finished(completion, request, forced)

    def recall(self, request: CompletionRequest) -> Completion | None:
        """What is known without asking the engine: a refusal, or the rest of an earlier answer. Microseconds."""
        refused = refusal(request.cursor)
        if refused is not None:
            return Completion("", refused)
        cursor, forced = with_selection(request)
        completion = self._from_cache(request, cursor, self._key(cursor))
        return None if completion is None else self._finished(completion, request, forced)

    def prefetch(self, request: CompletionRequest, completion: Completion | None, cancel: CancelToken) -> None:
        """For idle time: our own engine on this machine computes the prompt of the place where taking ``completion``
        leads, or of the request's own. Raises ``EngineError``."""
        cursor = request.cursor if completion is None else accepted(request.cursor, completion)
        if not (isinstance(self.backend, WarmingBackend) and self.backend.warms) or refusal(cursor) is not None:
            return
        pack = Pack() if completion is None else completion.receipt.pack
        if completion is None and self.options.context_tokens > 0:
            pack = self._pack(cursor, request.trigger)
        self.backend.warm(self._builder.prompt_ids(cursor, pack), cancel)

    def forget(self) -> None:
        """Drop every cached answer: files other than the current one changed under a context-aware prompt."""
        self._answers.clear()
        self._unfinished.clear()

    def _key(self, cursor: Cursor) -> AnswerKey:
        context = cursor.root or "" if self.options.context_tokens else ""
        return AnswerKey(cursor.path, cursor.language, self._model_name, self.options, context)

    def _from_cache(self, request: CompletionRequest, cursor: Cursor, key: AnswerKey) -> Completion | None:
        """The rest of an earlier answer, fitted again since an editor may have closed a bracket meanwhile."""
        stages = Stages()
        found = self._answers.find(key, cursor.prefix, cursor.suffix)
        if found is None or (request.alternatives > 0 and (found.typed or found.answer.others is None)):
            return None
        hurried = found.answer.receipt.finish is FinishReason.DEADLINE
        if hurried and request.trigger is Trigger.INVOKED:
            return None  # now there is time for the whole answer
        text, reason = postprocess(found.remainder, self._fitter.place(cursor, seen=True))
        stages.mark("postprocess")
        if reason is not Reason.MODEL:
            return None
        receipt = replace(found.answer.receipt, stage_ms=stages.total(), timing=Timing(), note="")
        others = found.answer.others if request.alternatives > 0 else None
        return Completion(text, Reason.TYPE_THROUGH if found.typed else Reason.CACHE, receipt, others or ())

    def _from_engine(
        self, request: CompletionRequest, cursor: Cursor, key: AnswerKey, cancel: CancelToken
    ) -> Completion:
        stages = Stages()
        pack = self._pack(cursor, request.trigger)
        stages.mark("gather")
        if cancel.is_set():
            return Completion("", Reason.CANCELLED, Receipt(pack=pack, stage_ms=stages.total()))
        due = None if request.due_ms is None else stages.began + request.due_ms / 1000
        unfinished = self._unfinished.find(key, cursor.prefix, cursor.suffix)
        quoted = "" if unfinished is None else unfinished.remainder
        names = self._fitter.beginnings(cursor, self._patience(request.trigger))
        stages.mark("names")
        asked = self._builder.request(cursor, pack, quoted, request.alternatives, names)
        stages.mark("prompt")
        try:
            self._fitter.prepare(cursor)
            asked, draft = self._draft(cursor, pack, asked, cancel, due)
        except EngineError as error:
            return Completion("", Reason.ENGINE_ERROR, Receipt(pack=pack, stage_ms=stages.total(), note=str(error)))
        stages.mark("generate")
        fitted = self._fitter.fit(cursor, draft, asked.max_tokens, cancel.is_set())
        stages.mark("postprocess")
        if (judged := self._fitter.judge(cursor, fitted, asked, cancel, due)) is not None:
            fitted = judged
            stages.mark("judge")
        receipt = _receipt(pack, asked, draft, fitted, stages)
        others = fitted.others() if request.alternatives > 0 else ()
        for other in reversed(others):  # so that what follows the one the user takes is known too
            self._remember(key, cursor, other, receipt)
        self._remember(key, cursor, fitted.first.text, receipt, others if request.alternatives > 0 else None)
        return Completion(fitted.first.text, fitted.reason, receipt, alternatives=others, candidates=draft.candidates)

    def _draft(
        self, cursor: Cursor, pack: Pack, asked: GenerateRequest, cancel: CancelToken, due: float | None
    ) -> tuple[GenerateRequest, Draft]:
        """What the engine said, and to which question: where it has nothing to add to the typed word, what follows the
        word is asked too. Raises ``EngineError``."""
        began = time.perf_counter()
        draft = generate(self.backend, asked, cancel, due)
        if asked.typed and draft.says_nothing:
            asked = self._builder.with_word(asked, cursor, pack, 1000 * (time.perf_counter() - began))
            draft = generate(self.backend, asked, cancel, due)
        return asked, draft

    def _pack(self, cursor: Cursor, trigger: Trigger) -> Pack:
        if self._gather is None or (self.options.context_tokens <= 0 and not self.options.facts):
            return Pack()
        return self._gather(cursor, self.options.context_tokens, self._patience(trigger))

    def _patience(self, trigger: Trigger) -> Deadline:
        """For what the repository says before the model is asked."""
        invoked = 0.0 if trigger is Trigger.AUTOMATIC else _INVOKED_GATHER_MS
        return Deadline.after_ms(max(self.options.gather_ms, invoked))

    def _remember(
        self, key: AnswerKey, cursor: Cursor, text: str, receipt: Receipt, others: tuple[str, ...] | None = None
    ) -> None:
        """Whole answers serve the next keys as they are; what a cancelled one had written becomes their draft."""
        if text:
            self._answers.put(key, Answer.at(cursor.prefix, cursor.suffix, text, receipt, others))
        elif receipt.raw_text:
            self._unfinished.put(key, Answer.at(cursor.prefix, cursor.suffix, receipt.raw_text, receipt))

    def _unsure(self, completion: Completion, mean: float) -> bool:
        kept = GATE.probability(completion.text, mean, completion.receipt.judged)
        return mean < self.options.show_threshold or kept < self.options.show_probability

    def _finished(self, completion: Completion, request: CompletionRequest, forced: str) -> Completion:
        """Silent where the model was unsure and nobody asked; otherwise after what the selected entry still adds."""
        mean = completion.receipt.mean_logprob
        if (
            completion.text
            and mean is not None
            and request.trigger is Trigger.AUTOMATIC
            and self._unsure(completion, mean)
        ):
            return replace(completion, text="", reason=Reason.LOW_CONFIDENCE)
        if not (forced and completion.text):
            return completion
        others = tuple(forced + text for text in completion.alternatives)
        return replace(completion, text=forced + completion.text, alternatives=others)


def _receipt(pack: Pack, asked: GenerateRequest, draft: Draft, fitted: Fitted, stages: Stages) -> Receipt:
    return Receipt(
        pack=pack,
        names=() if asked.constraint is None else asked.constraint.names,
        prompt_tokens=len(asked.prompt_ids),
        stage_ms=stages.total(),
        timing=draft.timing,
        finish=draft.finish,
        mean_logprob=draft.mean_logprob(),
        raw_text=fitted.first.raw,
        judged=fitted.judged,
    )
