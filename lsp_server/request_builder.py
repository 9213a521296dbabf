"""Cursor and context → the prompt and the engine's request: what is asked, and under which rules it is answered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath

from holefill.context.items import Cursor, Pack
from holefill.context.prompt import Prompt, PromptLimits, build_prompt, choose_format
from holefill.context.provider import Tokenizer
from holefill.context.syntax.languages import line_comment
from holefill.lsp_server.completion import CompleterOptions, Fit
from holefill.lsp_server.edits import unfinished_elsewhere
from holefill.lsp_server.judge import Rewrite
from holefill.lsp_server.stopping import stop_spec
from holefill.model.constrain.constraint import Constraint
from holefill.model.request import Backend, ConstrainedBackend, GenerateRequest, HealingBackend

MIN_REWRITE_TOKENS = 16
JUDGED_ALTERNATIVES = 5
"""Answers beside the first that a judge chooses from; eight hold no more right ones (LOG.md)."""
_MAX_DRAFT_CHARS = 6_000
"""The engine tokenises what it drafts from with every request."""
_MAX_TYPED = 64
_HALF_TYPED = re.compile(r" ?\w+\Z")
_WORD = re.compile(r"\w*\Z")


def fit_of(backend: Backend, options: CompleterOptions, language: str) -> Fit:
    """Nothing is asked of the answers of an engine that keeps to no constraint: too many would not be shown."""
    keeps = not isinstance(backend, ConstrainedBackend) or backend.constrains
    return options.fit_of(language) if keeps else Fit.OFF


class RequestBuilder:
    def __init__(self, backend: Backend, tokenizer: Tokenizer, options: CompleterOptions) -> None:
        """Raises ``context.errors.NoFimFormatError`` for a model that cannot fill in the middle."""
        self._backend, self._tokenizer, self._options = backend, tokenizer, options
        self._format = choose_format(tokenizer)

    def request(
        self,
        cursor: Cursor,
        pack: Pack,
        unfinished: str = "",
        alternatives: int = 0,
        names: Sequence[str] = (),
    ) -> GenerateRequest:
        """``unfinished``: what an answer that was cancelled had written here; ``alternatives``: wanted beside it.

        ``names``: the word at the cursor becomes one of them; none: any.
        """
        typed = self._typed(cursor)
        prompt = self._prompt(cursor, pack, typed)
        judged = self._judges(cursor)
        return GenerateRequest(
            prompt_ids=prompt.ids,
            max_tokens=self._options.max_new_tokens,
            stop=stop_spec(cursor.prefix, cursor.suffix, cursor.language, self._options),
            sampling=self._options.sampling,
            deadline_ms=self._options.deadline_ms,
            prompt_text=prompt.text,
            draft_texts=(*((unfinished,) if unfinished else ()), *_quotable(pack)),
            repository=cursor.root or "",
            constraint=self._constraint(cursor, typed, names),
            alternatives=max(alternatives, JUDGED_ALTERNATIVES) if judged else alternatives,
            foresight=judged,
            typed=typed,
        )

    def prompt_ids(self, cursor: Cursor, pack: Pack) -> tuple[int, ...]:
        """Those of ``request``."""
        return self._prompt(cursor, pack, self._typed(cursor)).ids

    def with_word(self, asked: GenerateRequest, cursor: Cursor, pack: Pack, spent_ms: float) -> GenerateRequest:
        """The same question with the typed word in the prompt, ``spent_ms`` after it was asked without."""
        prompt, left = self._prompt(cursor, pack, ""), asked.deadline_ms
        return replace(
            asked,
            prompt_ids=prompt.ids,
            prompt_text=prompt.text,
            typed="",
            deadline_ms=None if left is None else max(left - spent_ms, 0.0),
            constraint=self._constraint(cursor, "", ()),
        )

    def rewriting(self, asked: GenerateRequest, cursor: Cursor, wanted: Rewrite, left_ms: float) -> GenerateRequest:
        """What follows ``wanted.kept``, beginning with one of its names."""
        prefix = cursor.prefix + wanted.kept
        typed = asked.typed if not wanted.kept else ""  # what is kept ends no word, so the next one begins behind it
        said = asked.typed + wanted.kept if wanted.kept else ""
        ids = self._tokenizer.encode(said)
        names = tuple(typed + name for name in wanted.names)
        constraint = asked.constraint or Constraint(cursor.language, prefix, cursor.suffix)
        return replace(
            asked,
            prompt_ids=(*asked.prompt_ids, *ids),
            prompt_text=asked.prompt_text + said,
            max_tokens=max(MIN_REWRITE_TOKENS, asked.max_tokens - len(ids)),
            stop=stop_spec(prefix, cursor.suffix, cursor.language, self._options),
            deadline_ms=left_ms,
            constraint=replace(constraint, prefix=prefix[: len(prefix) - len(typed)], names=names),
            alternatives=0,
            foresight=False,
            typed=typed,
        )

    def _typed(self, cursor: Cursor) -> str:
        """The word at the cursor, with the space that is part of its first token."""
        heals = isinstance(self._backend, HealingBackend) and self._backend.heals
        if not self._options.heal or not heals:
            return ""
        word = _HALF_TYPED.search(cursor.prefix[-_MAX_TYPED:])
        return "" if word is None else word.group()

    def _constraint(self, cursor: Cursor, typed: str, names: Sequence[str]) -> Constraint | None:
        """``names``: whole words that go on from the one at the cursor; the answer repeats ``typed``."""
        if fit_of(self._backend, self._options, cursor.language) is Fit.OFF:
            return None
        word = _WORD.search(cursor.prefix[-_MAX_TYPED:])
        written = len(word.group()) - len(typed) if names and word is not None else 0
        begins = tuple(name[written:] for name in names)
        prefix = cursor.prefix[: len(cursor.prefix) - len(typed)]
        unfinished = unfinished_elsewhere(cursor.prefix, cursor.suffix, cursor.language)
        return Constraint(cursor.language, prefix, cursor.suffix, begins if all(begins) else (), unfinished)

    def _judges(self, cursor: Cursor) -> bool:
        return fit_of(self._backend, self._options, cursor.language).judges

    def _prompt(self, cursor: Cursor, pack: Pack, typed: str) -> Prompt:
        options = self._options
        before, after = options.prefix_tokens, options.suffix_tokens
        if self._judges(cursor):
            before, after = max(before, options.judged_prefix_tokens), max(after, options.judged_suffix_tokens)
        limits = PromptLimits(
            prefix_tokens=before,
            suffix_tokens=after,
            context_tokens=options.context_tokens,
            form=options.context_form,
            line_comment=line_comment(cursor.language),
            path=_relative(cursor),
        )
        prefix = cursor.prefix[: len(cursor.prefix) - len(typed)]
        return build_prompt(self._format, self._tokenizer, prefix, cursor.suffix, pack.items, limits)


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
