"""The engine: one request at a time through prefill and decode, with KV reuse between requests.

Speculation plugs in as a ``Speculator``; plain decoding is the same loop with nothing drafted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic

import torch

from holefill.model.alternatives import Branch, Explorer, Step, steps_of
from holefill.model.answer import Answer
from holefill.model.cancel import CancelToken, Interrupt, Interrupted
from holefill.model.constrain.constraint import Constraint
from holefill.model.constrain.verification import Guide, guided_verify
from holefill.model.errors import EngineError
from holefill.model.healing import Healing, Spellings
from holefill.model.job import Job
from holefill.model.kv.prefix import PrefixCache, Running
from holefill.model.parts import C, Speculator, Target
from holefill.model.repository import RepositoryReply, RepositoryUpdate
from holefill.model.request import Candidate, Chunk, FinishReason, GenerateRequest, Timing
from holefill.model.spec.top import likeliest
from holefill.model.spec.tree import DraftTree, ancestor_mask
from holefill.model.spec.verify import Verdict, verify
from holefill.model.tokenizer import Tokenizer
from holefill.model.turns import Turns

log = logging.getLogger(__name__)

TRIES = 2  # branches per alternative asked for: some lead back to an answer already known
CACHE_MB = 256.0
"""For keys and values: 18 prompts of 600 tokens of the 0.5B."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    name: str = ""
    max_context: int = 8192
    """Tokens of prompt and answer together."""
    cache_mb: float | None = None
    """Memory for keys and values at most; by default 256 or that of one whole context, whichever is more (fp32: 192 MB
    for the 0.5B, 448 for the 1.5B). A CPU takes only what is used of it."""
    prefill_chunk: int = 256
    """Most rows of one forward of a prompt. More at once are no faster on one core, and faster on two (LOG.md)."""
    first_chunk: int = 32
    """Rows of a prompt's first forward; see ``rows_after``."""
    cold_rows: int = 128
    """With so many rows to compute a prompt is cold, and nothing ends its first forward: keys that each cancel the one
    before get ahead by its rows."""
    draft_budget: int = 16
    vocab_size: int | None = None
    """Rows of the embedding, when it has more than the tokenizer."""

    def rows_after(self, computed: int) -> int:
        """Most rows of the next forward of a prompt of which so many are computed.

        A forward that is ended early leaves nothing to keep. So none has more rows than were computed before it: a key
        that cancels loses half of the work at most, or the first forward.
        """
        return min(max(self.first_chunk, computed), self.prefill_chunk)


class Engine(Generic[C]):
    """Implements ``model.request.Backend``. Safe to call from any thread; the calling thread computes."""

    def __init__(
        self,
        transformer: Target[C],
        tokenizer: Tokenizer,
        options: EngineOptions | None = None,
        speculator: Speculator | None = None,
        constrain: Callable[[Constraint], Guide | None] | None = None,
    ) -> None:
        """``constrain``: a request's constraint → its guide, or None where it cannot be guided."""
        self._options = options or EngineOptions()
        self._transformer = transformer
        self.tokenizer = tokenizer
        self._speculator = speculator
        self._constrain = constrain
        fim = tokenizer.fim_ids()
        given = self._options.cache_mb
        self._rows = int((given or CACHE_MB) * 2**20) // transformer.row_bytes
        self._rows = max(self._rows, self._options.max_context if given is None else 1)
        self._prefixes = PrefixCache(transformer.new_pool(self._rows), None if fim is None else fim[1])
        self._turns = Turns()
        self._spellings: Spellings | None = None
        self._closed = False

    @property
    def model_name(self) -> str:
        return self._options.name

    @property
    def transformer(self) -> Target[C]:
        """For measurements beside the requests; what holds the turn may not be disturbed."""
        return self._transformer

    @property
    def speculator(self) -> Speculator | None:
        return self._speculator

    @property
    def warms(self) -> bool:
        return True

    @property
    def heals(self) -> bool:
        """Takes ``GenerateRequest.typed``."""
        return True

    def _spell(self) -> Spellings:
        if self._spellings is None:
            special = set(self.tokenizer.specials.values())
            ids = range(self._options.vocab_size or self.tokenizer.vocab_size)
            self._spellings = Spellings([b"" if id_ in special else self.tokenizer.token_bytes(id_) for id_ in ids])
        return self._spellings

    @property
    def takes_repositories(self) -> bool:
        return self._speculator is not None

    def sync_repository(self, update: RepositoryUpdate) -> RepositoryReply:
        """Takes no turn: requests are computed meanwhile."""
        if self._speculator is None:
            raise EngineError("this engine does not draft, so it takes no repository: load it with speculation")
        return self._speculator.sync_repository(update)

    def close(self) -> None:
        self._closed = True

    def warm(self, prompt_ids: Sequence[int], cancel: CancelToken | None = None) -> Timing:
        """Prefill in the background, so that a request with this prompt finds its rows."""
        self._spell()  # takes a moment, which the first key should not wait for
        request = GenerateRequest(tuple(prompt_ids), max_tokens=0, background=True)
        *_, last = self.generate(request, cancel or CancelToken())
        assert last.timing is not None
        return last.timing

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        self.check(request)
        job = Job(request, cancel, time.monotonic(), list(request.prompt_ids), Answer(request, self.tokenizer))
        if not self._turns.enter(request.background, cancel, job.interrupted, job.interrupt):
            yield job.answer.last(job.interrupted() or FinishReason.CANCELLED, job.timing())
            return
        if request.typed:
            job.healing = Healing(self._spell(), request.typed)
        job.started = time.monotonic()
        computing = True
        try:
            with job.watched():
                yield from self._run(job)
        except _TurnLostError:
            computing = False
            yield job.answer.last(job.interrupted() or FinishReason.CANCELLED, job.timing())
        except (RuntimeError, MemoryError) as error:
            log.error("the forward pass failed: %s", type(error).__name__)
            raise EngineError(f"the model could not compute this request ({error}): try a shorter prompt") from error
        finally:
            if computing:
                self._turns.leave()

    def _run(self, job: Job) -> Iterator[Chunk]:
        running = Running(self._prefixes)
        try:
            self._prefill(job, running)
            finish = job.interrupted()
            if finish is None and job.request.max_tokens > 0:
                yield from self._decode(job, running)
                return
            yield job.answer.last(finish or FinishReason.LENGTH, job.timing())
        finally:
            running.stop()  # what was computed is the next request's, however this one ended

    def check(self, request: GenerateRequest) -> None:
        """Raises ``EngineError`` for a request that cannot be answered, before any work."""
        if self._closed:
            raise EngineError("the engine is closed: start a new one")
        if not request.prompt_ids:
            raise EngineError("the prompt is empty: send at least one token")
        size = self._options.vocab_size or self.tokenizer.vocab_size
        if not all(0 <= id_ < size for id_ in request.prompt_ids):
            raise EngineError(f"a prompt token is outside the vocabulary of {size}: encode with this model's tokenizer")
        if request.max_tokens < 0:
            raise EngineError("max_tokens is negative: ask for 0 or more")
        total = len(request.prompt_ids) + request.max_tokens
        if total > self._options.max_context:
            raise EngineError(
                f"the prompt ({len(request.prompt_ids)} tokens) and max_tokens ({request.max_tokens}) exceed the "
                f"context of {self._options.max_context}: shorten one of them"
            )
        if total > self._rows:
            raise EngineError(
                f"the prompt and max_tokens need {total} rows and the cache has {self._rows}: shorten one of them, or "
                "give the engine more memory (--cache-mb)"
            )

    def _prefill(self, job: Job, running: Running[C]) -> None:
        """All but the last chunk of ``job.ids``, which the first decode round takes along with its drafts.

        Where nothing is to be decoded, all but the last id.
        """
        running.start(job.ids)
        known = running.cache.length
        job.cached_tokens = job.cached_tokens or known
        while job.interrupted() is None:
            if self._give_way(job, running):
                running.start(job.ids)
                continue
            done = running.cache.length
            # In idle time few: the head over all of them, for the drafters, is one piece that nobody can end.
            rows = self._options.rows_after(0 if job.request.background else done - known)
            if len(job.ids) - done <= (rows if job.request.max_tokens > 0 else 1):
                return
            cold = done == known and len(job.ids) - done >= self._options.cold_rows and not job.request.background
            try:
                ids = job.ids[done : min(done + rows, len(job.ids) - 1)]
                self._extend(job, running, ids, None if cold else job.interrupt)
            except Interrupted:
                job.resume()

    def _extend(self, job: Job, running: Running[C], ids: list[int], interrupt: Interrupt | None) -> None:
        """Rows without logits; in idle time (a background job) with: drafters learn from them, for 30 % more work."""
        if not ids:
            return
        learner = self._speculator if job.request.background else None
        rows = torch.arange(len(ids)) if learner is not None else torch.tensor([], dtype=torch.long)
        logits = self._transformer.forward(torch.tensor(ids), running.cache, logit_rows=rows, interrupt=interrupt)
        running.ids += ids
        if learner is not None:
            learner.learn(ids, likeliest(logits))
            learner.follow(running.ids)

    def _give_way(self, job: Job, running: Running[C]) -> bool:
        """A background job lets waiting interactive ones compute; True when it did, and must start anew."""
        if not job.request.background or not self._turns.interactive_waiting():
            return False
        running.stop()
        self._turns.leave()
        if not self._turns.enter(True, job.cancel, job.interrupted, job.interrupt):
            raise _TurnLostError
        return True

    def _decode(self, job: Job, running: Running[C]) -> Iterator[Chunk]:
        """Rounds of propose → forward → verify → commit, each of which commits one token or more."""
        answer = job.answer
        guide = self._guide(job)
        if job.request.alternatives > 0:
            job.steps = []
        while (finish := answer.finish or job.interrupted()) is None:
            if self._give_way(job, running):
                self._prefill(job, running)
                continue
            try:
                if job.healing is not None and job.healing.left:
                    self._heal(job, running, job.healing)
                else:
                    self._round(job, running, guide)
            except Interrupted:
                job.resume()
            if answer.finish is None and (chunk := answer.chunk()) is not None:
                yield chunk
        timing = job.timing()
        last = answer.last(finish, timing)
        wanted = job.request.alternatives > 0
        running.stop()  # other answers begin with its rows
        yield replace(last, candidates=self._candidates(job, answer.whole())) if wanted else last

    def _round(self, job: Job, running: Running[C], guide: Guide | None) -> None:
        tree = self._propose(job, guide)
        pending = job.ids[running.cache.length : -1]
        logits = self._forward(job, pending, tree, running)
        position, top = len(job.ids) - len(job.request.prompt_ids), likeliest(logits)
        if guide is None:
            verdict = verify(tree, logits, job.request.sampling, position=position, top=top)
        else:
            verdict = guided_verify(guide, tree, logits, job.request.sampling, position, top)
        self._commit(running, pending, tree, verdict)
        self._mark_round(job)
        job.ids += verdict.tokens
        if job.steps is not None:
            job.steps += steps_of(verdict.tokens, verdict.logprobs, logits[list(verdict.path)])
        if self._speculator is not None:
            self._speculator.observe(tree, verdict, top)
        for token_id, logprob in zip(verdict.tokens, verdict.logprobs, strict=True):
            if job.answer.finish is None:
                job.answer.push(token_id, logprob)

    def _heal(self, job: Job, running: Running[C], healing: Healing) -> None:
        """A round without drafts whose token repeats typed characters: one or two, and they are repeated."""
        tree, pending = DraftTree.root(job.ids[-1]), job.ids[running.cache.length : -1]
        logits = healing.mask(self._forward(job, pending, tree, running))
        verdict = verify(tree, logits, job.request.sampling, position=len(job.ids) - len(job.request.prompt_ids))
        self._commit(running, pending, tree, verdict)
        self._mark_round(job)
        job.ids += verdict.tokens
        if job.steps is not None:
            job.steps += steps_of(verdict.tokens, verdict.logprobs, logits)
        healing.take(self.tokenizer.token_bytes(verdict.tokens[0]))
        job.answer.push(verdict.tokens[0], verdict.logprobs[0])

    def _candidates(self, job: Job, first: Candidate) -> tuple[Candidate, ...]:
        """``first`` and answers that differ from it, the likeliest first; as many as there is time for."""
        explorer = Explorer(self.tokenizer.decode, self.tokenizer.stop_ids)
        explorer.add((job.steps or [])[: len(first.token_ids)])
        others: dict[str, Candidate] = {}
        for _ in range(TRIES * job.request.alternatives):
            branch = explorer.next() if len(others) < job.request.alternatives else None
            if branch is None or job.interrupted() is not None:
                break
            other, steps = self._from_branch(job, branch)
            explorer.add(steps)
            if other is not None and other.text.strip() not in {"", first.text.strip(), *others}:
                others[other.text.strip()] = other
        return first, *sorted(others.values(), key=lambda candidate: -candidate.mean_logprob)

    def _from_branch(self, job: Job, branch: Branch) -> tuple[Candidate | None, list[Step]]:
        """The answer that goes on from there, None when it was interrupted; and its steps, so far as it kept them."""
        request = replace(job.request, alternatives=0)
        answer = Answer(request, self.tokenizer)
        ids = [*request.prompt_ids, *(step.token for step in branch.steps)]
        other = Job(request, job.cancel, job.submitted, ids, answer, steps=list(branch.steps), interrupt=job.interrupt)
        if request.typed:
            other.healing = Healing(self._spell(), request.typed)
        for step in branch.steps:
            if other.healing is not None:
                other.healing.take(self.tokenizer.token_bytes(step.token))
            if answer.finish is None:
                answer.push(step.token, step.logprob)
        running = Running(self._prefixes)
        try:
            self._prefill(other, running)
            for _ in self._decode(other, running):
                pass
        finally:
            running.stop()
        whole = answer.whole()
        kept = (other.steps or [])[: len(whole.token_ids)]
        return None if answer.finish is None else whole, kept or list(branch.steps)

    def _guide(self, job: Job) -> Guide | None:
        """At the end of what the answer has already; None where that is not what a guide would allow."""
        constraint = None if job.request.typed else job.request.constraint
        guide = None if constraint is None or self._constrain is None else self._constrain(constraint)
        written = tuple(job.ids[len(job.request.prompt_ids) :])
        if guide is None or guide.first_forbidden(written) is not None:
            return None
        guide.commit(written)
        return guide

    def _propose(self, job: Job, guide: Guide | None) -> DraftTree:
        left = job.request.max_tokens - job.answer.tokens - 1
        budget = min(self._options.draft_budget, left)
        if self._speculator is None or budget <= 0:
            return DraftTree.root(job.ids[-1])
        if guide is None:
            return self._speculator.propose(job.request, job.ids, budget)
        return guide.prune(self._speculator.propose(job.request, job.ids, budget, guide.forced(budget)))

    def _forward(self, job: Job, pending: list[int], tree: DraftTree, running: Running[C]) -> torch.Tensor:
        """Logits [len(tree), vocab]; ``pending`` are the ids before the root that have no rows yet."""
        before, n, start = len(pending), len(pending) + len(tree), running.cache.length
        positions = mask = None
        if len(tree) > 1:
            positions = torch.tensor([*range(start, start + before), *(start + before + d for d in tree.depth)])
            mask = torch.ones(n, n, dtype=torch.bool).tril()
            mask[before:, before:] = ancestor_mask(tree)
        return self._transformer.forward(
            torch.tensor([*pending, *tree.token]),
            running.cache,
            positions=positions,
            tree_mask=mask,
            logit_rows=torch.arange(before, n),
            interrupt=job.interrupt,
        )

    def _commit(self, running: Running[C], pending: list[int], tree: DraftTree, verdict: Verdict) -> None:
        """Keep the rows of the accepted path."""
        start = running.cache.length - len(tree)
        if len(verdict.path) < len(tree):
            running.cache.keep([*range(start), *(start + node for node in verdict.path)])
        running.ids += [*pending, *(tree.token[node] for node in verdict.path)]

    def _mark_round(self, job: Job) -> None:
        """The first round ends the prefill: its forward took the last of the prompt."""
        if job.decoding:
            job.forwards += 1
        else:
            job.decoding = time.monotonic()


class _TurnLostError(Exception):
    """A background job was interrupted while others computed."""
