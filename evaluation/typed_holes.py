"""Typed holes without a model: does the type oracle name the type, the callee and the member? (TYPES.md)

``expected_type``: named and equal after normalisation. ``callee_at_8``: the function that the answer calls is among the
relevant headers. ``member_at_10``: the true member is among the first ten offered after the dot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.provider import Deadline
from holefill.context.types.type_text import normalised
from holefill.context.types.typed_holes import TypedHole, TypedHoles
from holefill.evaluation.cases import Case
from holefill.evaluation.metrics.ranking import hit_at, reciprocal_rank
from holefill.evaluation.records import Record
from holefill.evaluation.runner import request_for
from holefill.evaluation.workspaces import Workspaces

_PATIENCE_MS = 5_000.0
_CALLEE = re.compile(r"\s*(?:await\s+)?([\w.]+)\(")
HEADERS, MEMBERS = 8, 10


def ask_oracle(cases: Sequence[Case], workspaces: Workspaces) -> Iterator[Record]:
    """Cases of one repository share its checker process."""
    oracles: dict[str, TypedHoles] = {}
    with ExitStack() as closing:
        for case in cases:
            try:
                with workspaces.around(case) as index:
                    assert index is not None
                    assert case.workspace is not None
                    if case.workspace not in oracles:
                        oracles[case.workspace] = closing.enter_context(_Closing(TypedHoles(index)))
                    yield _asked(case, oracles[case.workspace], index)
            except Exception as error:  # the boundary of one case: it is recorded, the run goes on
                yield _record(case, {}, "", error=f"{type(error).__name__}: {error}")


class _Closing:
    def __init__(self, oracle: TypedHoles) -> None:
        self.oracle = oracle

    def __enter__(self) -> TypedHoles:
        return self.oracle

    def __exit__(self, *_: object) -> None:
        self.oracle.close()


def _asked(case: Case, oracle: TypedHoles, index: WorkspaceIndex) -> Record:
    request = request_for(case, index.root)
    oracle.sync(request.cursor.path, request.cursor.text, case.language)
    answer = oracle.query(request.cursor, Deadline.after_ms(_PATIENCE_MS))
    oracle.sync(request.cursor.path, None, case.language)
    return _record(case, score(case, answer, index), _told(answer), answer.elapsed_ms)


def score(case: Case, answer: TypedHole, index: WorkspaceIndex) -> dict[str, float]:
    names = [member.name for member in answer.members]
    if case.kind == "member":
        real = [name for name in names[:MEMBERS] if name]
        return {
            f"member_at_{MEMBERS}": 100.0 * hit_at(real, case.member, MEMBERS),
            f"member_mrr_at_{MEMBERS}": 100 * reciprocal_rank(real, case.member, MEMBERS),
        }
    told = answer.expected_type.text if answer.expected_type is not None else ""
    scores = {"expected_type": 100.0 * (bool(told) and normalised(told) == normalised(case.expected_type))}
    callee = _CALLEE.match(case.target)
    name = callee.group(1).rsplit(".", 1)[-1] if callee is not None else ""
    if name and index.find(name):
        scores[f"callee_at_{HEADERS}"] = 100.0 * hit_at([header.name for header in answer.headers], name, HEADERS)
    return scores


def _told(answer: TypedHole) -> str:
    lines = [f"expected type: {answer.expected_type.text if answer.expected_type else f'unknown ({answer.reason})'}"]
    lines += [f"header: {header.text}" for header in answer.headers]
    lines += [f"member: {member.name}" for member in answer.members[:MEMBERS]]
    return "\n".join(lines)


def _record(case: Case, scores: dict[str, float], told: str, elapsed_ms: float = 0.0, error: str = "") -> Record:
    return Record(
        id=case.id,
        context="oracle",
        language=case.language,
        kind=case.kind,
        repo=case.repo,
        cross_file=case.cross_file,
        scores=scores,
        shown=told,
        target=f"{case.target}  (expected type {case.expected_type})",
        total_ms=elapsed_ms,
        error=error,
    )
