"""Run cases through the completer and score them: one ``Record`` per case and arm, broken cases included."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from holefill.evaluation.cases import Case
from holefill.evaluation.cuts import CUTS, Cut
from holefill.evaluation.metrics.exact_match import exact_match
from holefill.evaluation.metrics.first_member import first_member
from holefill.evaluation.metrics.invented_names import invented_names
from holefill.evaluation.metrics.pass_at_k import pass_at_k
from holefill.evaluation.metrics.table import MEASURES, Gold
from holefill.evaluation.metrics.token_classes import token_scores
from holefill.evaluation.recording import RecordingBackend
from holefill.evaluation.records import Record, UsedItem
from holefill.evaluation.retrieved import retrieval_scores
from holefill.evaluation.runner import PUBLISHED, System, completer_for, recording, request_for
from holefill.evaluation.sandbox import run_program
from holefill.evaluation.suites.registry import Suite
from holefill.evaluation.workspaces import Workspaces
from holefill.lsp_server.completion import Completion, Reason
from holefill.model.cancel import CancelToken
from holefill.model.request import FinishReason

_LOG = logging.getLogger(__name__)
_BROKEN = frozenset({Reason.ENGINE_ERROR, Reason.MODEL_LOADING})


class BrokenCaseError(Exception):
    """The system gave no answer that could be scored."""


@dataclass(frozen=True, slots=True)
class Task:
    case: Case
    context: str


def tasks_of(cases: Sequence[Case], contexts: Sequence[str]) -> list[Task]:
    """Arms of one case run one after the other, so that a cut-off run is still paired."""
    return [Task(case, context) for case in cases for context in contexts]


def evaluate(suite: Suite, system: System, workspaces: Workspaces, tasks: Sequence[Task]) -> Iterator[Record]:
    cut = CUTS[suite.cut]()
    for task in tasks:
        try:
            yield _run(suite, cut, system, workspaces, task)
        except Exception as error:  # the boundary of one case: it is recorded, the run goes on
            _LOG.debug("case %s failed", task.case.id, exc_info=True)
            yield _record(task, error=f"{type(error).__name__}: {error}")


def _run(suite: Suite, cut: Cut, system: System, workspaces: Workspaces, task: Task) -> Record:
    case = task.case
    before = system.accepted()
    with workspaces.around(case) as index:
        system.draft_from(index)
        backend = recording(system, lambda text: cut.complete(case, text), suite.prompt.stop_rule)
        completer = completer_for(system, suite.prompt, case, task.context, index, backend)
        request = request_for(case, None if index is None else index.root)
        with system.fitting.around(index, request.cursor, case.dropped) as holes:
            completion = completer.complete(request, CancelToken())
            generated = backend.whole(completion.receipt.raw_text)
            checked = dict[str, float]()
            if holes is not None:
                said = _measured(suite, cut, case, generated, completion)
                checked["invented_names"] = invented_names(holes, request.cursor, said)
                checked |= first_member(holes, request.cursor, said, case.member)
        if completion.reason in _BROKEN:
            raise BrokenCaseError(completion.receipt.note or completion.reason.value)
        scores = score(suite, cut, case, generated, completion)
        scores |= checked
        if index is not None and task.context not in ("off", *PUBLISHED):  # a published chunk names no place
            scores |= retrieval_scores(case, index, completion.receipt.pack.items)
    accepted = {name: count - before.get(name, 0) for name, count in system.accepted().items()}
    record = _record(task, completion, generated, scores)
    return replace(
        record,
        token_scores=_token_scores(suite, cut, system, case, backend, completion),
        prompt=backend.prompt_text,
        prompt_sha=_sha(backend.prompt_ids),
        accepted={name: count for name, count in accepted.items() if count},
    )


def score(suite: Suite, cut: Cut, case: Case, generated: str, completion: Completion) -> dict[str, float]:
    """The suite's measures on the officially cut text, and what the user would have seen."""
    prediction = _measured(suite, cut, case, generated, completion)
    gold = Gold(cut.target(case), case.language, case.cross_names, case.unseen_names)
    values = {name: MEASURES[name](prediction, gold) for name in suite.measures}
    scores = {name: value for name, value in values.items() if value is not None}
    scores["em_untruncated"] = 100.0 * exact_match(completion.text, case.target)
    scores["natural_stop"] = 100.0 * (completion.receipt.finish is FinishReason.STOP_TOKEN)
    if suite.execute:
        program = case.prefix + _middle(case, completion.text) + case.suffix + "\n" + case.test
        scores["pass_at_1"] = 100 * pass_at_k(1, int(run_program(program).passed), 1)
    return scores


def _measured(suite: Suite, cut: Cut, case: Case, generated: str, completion: Completion) -> str:
    return cut.cut(case, completion.text if suite.cut == "none" else generated)


def _token_scores(
    suite: Suite, cut: Cut, system: System, case: Case, backend: RecordingBackend, completion: Completion
) -> dict[str, float]:
    target = cut.target(case)
    scores = token_scores(
        _measured(suite, cut, case, backend.whole(completion.receipt.raw_text), completion), target, case.language
    )
    if system.ranks is not None:
        scores |= system.ranks.scores(backend.prompt_ids, case.target, case.language)
    return scores


def _sha(ids: Sequence[int]) -> str:
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:16] if ids else ""


def _middle(case: Case, shown: str) -> str:
    """What an editor would have put into the hole.

    Where the hole is whole lines, the cursor stands on an empty line of its own, whose line end is not the
    completion's to write; the benchmark's files have no such line, so it is added.
    """
    own_line = case.prefix.endswith("\n") and not case.suffix.startswith("\n")
    return shown + "\n" if own_line and shown and not shown.endswith("\n") else shown


def _record(
    task: Task,
    completion: Completion | None = None,
    generated: str = "",
    scores: dict[str, float] | None = None,
    error: str = "",
) -> Record:
    case = task.case
    receipt = completion.receipt if completion is not None else None
    return Record(
        id=case.id,
        context=task.context,
        language=case.language,
        kind=case.kind,
        repo=case.repo,
        cross_file=case.cross_file,
        length=case.length,
        scores=scores or {},
        shown=completion.text if completion is not None else "",
        generated=generated,
        target=case.target,
        reason=completion.reason.value if completion is not None else "",
        finish=receipt.finish.value if receipt is not None and receipt.finish is not None else "",
        items=_items(completion),
        prompt_tokens=receipt.prompt_tokens if receipt is not None else 0,
        cached_tokens=receipt.timing.cached_tokens if receipt is not None else 0,
        completion_tokens=receipt.timing.completion_tokens if receipt is not None else 0,
        forwards=receipt.timing.forwards if receipt is not None else 0,
        prefill_ms=receipt.timing.prefill_ms if receipt is not None else 0.0,
        decode_ms=receipt.timing.decode_ms if receipt is not None else 0.0,
        total_ms=receipt.stage_ms.get("total", 0.0) if receipt is not None else 0.0,
        mean_logprob=receipt.mean_logprob if receipt is not None else None,
        error=error,
    )


def _items(completion: Completion | None) -> tuple[UsedItem, ...]:
    if completion is None:
        return ()
    return tuple(
        UsedItem(item.source, tuple(span.path for span in item.spans) or item.symbol_ids, item.text)
        for item in completion.receipt.pack.items
    )
