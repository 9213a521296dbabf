"""The pipeline: one cursor in, one suggestion or one reason out. Editor, command line and evaluation call it.

Synchronous, and it knows neither LSP nor the engine's process: a ``Backend`` generates, a ``Gather`` finds context.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePath

from holefill.context.items import Cursor, Pack
from holefill.context.prompt import Prompt, PromptLimits, build_prompt, choose_format
from holefill.context.provider import Deadline, Tokenizer
from holefill.context.syntax.languages import line_comment
from holefill.lsp_server.answers import Answer, AnswerCache, AnswerKey
from holefill.lsp_server.completion import (
    CompleterOptions,
    Completion,
    CompletionRequest,
    Fit,
    Reason,
    Receipt,
    Trigger,
    accepted,
    with_selection,
)
from holefill.lsp_server.copies import CopyGuard
from holefill.lsp_server.generation import Draft, Stages, generate
from holefill.lsp_server.guards import refusal
from holefill.lsp_server.judge import Judge, Judged, Option, Rewrite
from holefill.lsp_server.postprocess import Place, postprocess, postprocess_all
from holefill.lsp_server.show_gate import GATE
from holefill.lsp_server.stopping import stop_spec
from holefill.model.cancel import CancelToken
from holefill.model.constrain.constraint import Constraint
from holefill.model.errors import EngineError
from holefill.model.request import Backend, FinishReason, GenerateRequest, HealingBackend, Timing, WarmingBackend

Gather = Callable[[Cursor, int, Deadline], Pack]
"""Cursor, budget in tokens, deadline → what the repository says about this place."""

_MAX_DRAFT_CHARS = 6_000
"""The engine tokenises what it drafts from with every request."""
MIN_REWRITE_TOKENS = 16
_MAX_TYPED = 64
_HALF_TYPED = re.compile(r" ?\w+\Z")
_INVOKED_GATHER_MS = 250.0
"""Who asks has stopped typing: a checker may finish its answer."""


class EngineLoadingError(EngineError):
    """The engine is starting or its model is not here yet; the text says which."""


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
        self._tokenizer = tokenizer
        self._format = choose_format(tokenizer)
        self._gather = gather
        self._judge = judge
        self._copies = copies
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
        self.backend.warm(self._prompt(cursor, pack, self._typed(cursor)).ids, cancel)

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
        text, reason = postprocess(found.remainder, self._place(cursor))
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
        typed = self._typed(cursor)
        prompt = self._prompt(cursor, pack, typed)
        stages.mark("prompt")
        judge = self._judge if self.options.fit_of(cursor.language) in (Fit.JUDGE, Fit.ON) else None
        try:
            due = None if request.due_ms is None else stages.began + request.due_ms / 1000
            plain = self._engine_request(cursor, key, pack, prompt)
            asked = replace(plain, alternatives=request.alternatives, typed=typed)
            if judge is not None:  # what its check needs is found while the model writes
                ahead = Deadline.after_ms(self.options.judge_ms)
                threading.Thread(target=judge.prepare, args=(cursor, ahead), daemon=True).start()
            draft = generate(self.backend, asked, cancel, due)
            if typed and draft.says_nothing:
                prompt = self._prompt(cursor, pack, "")
                asked = replace(asked, prompt_ids=prompt.ids, prompt_text=prompt.text, typed="")
                if asked.deadline_ms is not None:
                    spent = (time.perf_counter() - stages.last) * 1000
                    asked = replace(asked, deadline_ms=max(asked.deadline_ms - spent, 0.0))
                draft = generate(self.backend, asked, cancel, due)
        except EngineLoadingError as error:
            return Completion("", Reason.MODEL_LOADING, Receipt(pack=pack, note=str(error)))
        except EngineError as error:
            return Completion("", Reason.ENGINE_ERROR, Receipt(pack=pack, stage_ms=stages.total(), note=str(error)))
        stages.mark("generate")
        place = self._place(cursor)
        text, reason = postprocess(draft.text, replace(place, truncated=draft.truncated))
        stages.mark("postprocess")
        receipt = Receipt(
            pack=pack,
            prompt_tokens=len(prompt.ids),
            stage_ms=stages.total(),
            timing=draft.timing,
            finish=draft.finish,
            mean_logprob=draft.mean_logprob(),
            raw_text=draft.text,
        )
        if cancel.is_set() or draft.finish is FinishReason.CANCELLED:
            text, reason = "", Reason.CANCELLED
        elif not text and draft.finish is FinishReason.DEADLINE:
            reason = Reason.DEADLINE
        shown = postprocess_all(draft.candidates[1:], place, asked.max_tokens)
        others = tuple(dict.fromkeys(other for other in shown if other and other != text))
        others = others if reason is Reason.MODEL else ()
        if reason is Reason.MODEL and judge is not None:
            judged = self._judged(judge, cursor, prompt, draft, text, asked, cancel, due)
            stages.mark("judge")
            others = tuple(dict.fromkeys(other for other in (text, *others) if other != judged.option.text))
            others = others if request.alternatives > 0 else ()
            text = judged.option.text
            receipt = replace(receipt, judged=judged, raw_text=judged.option.raw, stage_ms=stages.total())
        for other in reversed(others):  # so that what follows the one the user takes is known too
            self._remember(key, cursor, other, receipt)
        self._remember(key, cursor, text, receipt, others if request.alternatives > 0 else None)
        return Completion(text, reason, receipt, alternatives=others, candidates=draft.candidates)

    def _judged(
        self,
        judge: Judge,
        cursor: Cursor,
        prompt: Prompt,
        draft: Draft,
        text: str,
        asked: GenerateRequest,
        cancel: CancelToken,
        due: float | None,
    ) -> Judged:
        """The answer, another candidate, or the answer mended; within the request's time."""
        place = self._place(cursor)
        left = self.options.judge_ms if due is None else (due - time.perf_counter()) * 1000
        deadline = Deadline.after_ms(max(0.0, min(left, self.options.judge_ms)))
        options = [Option(text, draft.mean_logprob() or 0.0, draft.text)]
        shown = postprocess_all(draft.candidates[1:], place, asked.max_tokens)
        options += [Option(said, c.mean_logprob, c.text) for said, c in zip(shown, draft.candidates[1:], strict=True)]

        def rewrite(wanted: Rewrite) -> Option | None:
            prefix, kept = cursor.prefix + wanted.kept, self._tokenizer.encode(wanted.kept)
            anew = replace(
                asked,
                prompt_ids=(*prompt.ids, *kept),
                prompt_text=prompt.text + wanted.kept,
                max_tokens=max(MIN_REWRITE_TOKENS, asked.max_tokens - len(kept)),
                stop=stop_spec(prefix, cursor.suffix, cursor.language, self.options),
                deadline_ms=deadline.remaining_ms(),
                constraint=Constraint(cursor.language, prefix, cursor.suffix, wanted.names),
                alternatives=0,
            )
            try:
                again = generate(self.backend, anew, cancel)
            except EngineError:
                return None
            raw = wanted.kept + again.text
            said, reason = postprocess(raw, replace(place, truncated=again.truncated))
            return Option(said, again.mean_logprob() or 0.0, raw) if reason is Reason.MODEL else None

        return judge.pick(cursor, [option for option in options if option.text], rewrite, deadline)

    def _pack(self, cursor: Cursor, trigger: Trigger) -> Pack:
        if self._gather is None or (self.options.context_tokens <= 0 and not self.options.facts):
            return Pack()
        patience = 0.0 if trigger is Trigger.AUTOMATIC else _INVOKED_GATHER_MS
        deadline = Deadline.after_ms(max(self.options.gather_ms, patience))
        return self._gather(cursor, self.options.context_tokens, deadline)

    def _place(self, cursor: Cursor) -> Place:
        closes = self.options.fit_of(cursor.language) is not Fit.OFF
        copies = self._copies
        copied = None if copies is None else lambda text: copies.refuses(text, cursor)
        return Place(cursor.prefix, cursor.suffix, cursor.language, closes=closes, copied=copied)

    def _typed(self, cursor: Cursor) -> str:
        """The word at the cursor, with the space that is part of its first token."""
        fitted = self.options.fit_of(cursor.language) is not Fit.OFF
        heals = isinstance(self.backend, HealingBackend) and self.backend.heals
        if not self.options.heal or fitted or not heals:
            return ""
        word = _HALF_TYPED.search(cursor.prefix[-_MAX_TYPED:])
        return "" if word is None else word.group()

    def _prompt(self, cursor: Cursor, pack: Pack, typed: str) -> Prompt:
        limits = PromptLimits(
            prefix_tokens=self.options.prefix_tokens,
            suffix_tokens=self.options.suffix_tokens,
            context_tokens=self.options.context_tokens,
            form=self.options.context_form,
            line_comment=line_comment(cursor.language),
            path=_relative(cursor),
        )
        prefix = cursor.prefix[: len(cursor.prefix) - len(typed)]
        return build_prompt(self._format, self._tokenizer, prefix, cursor.suffix, pack.items, limits)

    def _engine_request(self, cursor: Cursor, key: AnswerKey, pack: Pack, prompt: Prompt) -> GenerateRequest:
        unfinished = self._unfinished.find(key, cursor.prefix, cursor.suffix)
        quoted = (unfinished.remainder,) if unfinished is not None else ()
        return GenerateRequest(
            prompt_ids=prompt.ids,
            max_tokens=self.options.max_new_tokens,
            stop=stop_spec(cursor.prefix, cursor.suffix, cursor.language, self.options),
            sampling=self.options.sampling,
            deadline_ms=self.options.deadline_ms,
            prompt_text=prompt.text,
            draft_texts=quoted + tuple(_quotable(pack)),
            repository=cursor.root or "",
            constraint=self._constraint(cursor),
        )

    def _constraint(self, cursor: Cursor) -> Constraint | None:
        off = self.options.fit_of(cursor.language) is Fit.OFF
        return None if off else Constraint(cursor.language, cursor.prefix, cursor.suffix)

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


def _quotable(pack: Pack) -> Iterator[str]:
    """What the repository says here, whether or not the prompt has room for it."""
    left = _MAX_DRAFT_CHARS
    for item in pack.facts or pack.items:
        left -= len(item.text)
        if left < 0:
            return
        yield item.text


def _relative(cursor: Cursor) -> str:
    path = PurePath(cursor.path)
    if cursor.root and path.is_relative_to(cursor.root):
        return path.relative_to(cursor.root).as_posix()
    return path.name
