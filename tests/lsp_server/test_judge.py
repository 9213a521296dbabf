"""The judge on a real workspace: wrong names lose, are written anew or brought in, and nothing is waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor
from holefill.context.provider import Deadline
from holefill.context.types.holes import hole_at
from holefill.context.types.registry import HolesRegistry
from holefill.context.types.visible import visible_names
from holefill.lsp_server.completer import Completer
from holefill.lsp_server.completion import CompleterOptions, CompletionRequest, Fit, Reason
from holefill.lsp_server.judge import Judge, Judged, Option, Rewrite
from holefill.model.cancel import CancelToken
from holefill.model.request import Candidate, Chunk, FinishReason, GenerateRequest, Timing
from tests.lsp_server.test_completer import CharTokenizer

SHELF = """class Shelf:
    def put(self, book: str) -> None: ...
    def count(self) -> int: ...


def opened() -> Shelf: ...
"""
MAIN = (
    "from shelf import Shelf\n\n\ndef fill(shelf: Shelf, title: str) -> None:\n    {}\n\n\ndef other(elsewhere): ...\n"
)


@pytest.fixture
def index(tmp_path: Path) -> WorkspaceIndex:
    (tmp_path / "shelf.py").write_text(SHELF)
    (tmp_path / "main.py").write_text(MAIN.format("pass"))
    index = WorkspaceIndex(tmp_path)
    index.refresh()
    return index


@pytest.fixture
def judge(index: WorkspaceIndex) -> Iterator[Judge]:
    registry = HolesRegistry()
    yield Judge(lambda _: index, registry)
    registry.close()


def _cursor(index: WorkspaceIndex, typed: str = "") -> Cursor:
    text = MAIN.format(typed)
    offset = text.index("-> None:\n    ") + len("-> None:\n    ") + len(typed)
    return Cursor(str(index.root / "main.py"), text, CharOffset(offset), "python", str(index.root))


def _soon() -> Deadline:
    return Deadline.after_ms(20_000)


@dataclass
class Writer:
    """Takes the first of the names that fits, and remembers what it was asked."""

    then: str = "(title)"
    asked: list[Rewrite] = field(default_factory=list)

    def __call__(self, wanted: Rewrite) -> Option | None:
        self.asked.append(wanted)
        text = wanted.kept + wanted.names[0] + self.then
        return Option(text, -1.0, text)


def _pick(judge: Judge, cursor: Cursor, writer: Writer, *texts: str) -> Judged:
    options = [Option(text, -0.1 * rank, text) for rank, text in enumerate(texts)]
    return judge.pick(cursor, options, writer, _soon())


def test_the_first_candidate_stays_when_nothing_is_wrong_with_it(index: WorkspaceIndex, judge: Judge) -> None:
    writer = Writer()
    judged = _pick(judge, _cursor(index), writer, "shelf.put(title)", "shelf.count()")
    assert (judged.option.text, judged.errors, judged.repaired) == ("shelf.put(title)", 0, False)
    assert not writer.asked


def test_a_candidate_with_a_new_error_never_beats_one_without(index: WorkspaceIndex, judge: Judge) -> None:
    judged = _pick(judge, _cursor(index), Writer(), "shelf.insert(title)", "shelf.missing()", "shelf.put(title)")
    assert judged.option.text == "shelf.put(title)"


def test_the_order_is_that_of_answer_and_suffix_together(index: WorkspaceIndex, judge: Judge) -> None:
    """The model's favourite loses to an answer that leads to what stands behind the hole; a new error loses to both."""
    said = {"shelf.put(title)": -9.0, "shelf.missing()": -1.0, "shelf.count()": -5.0}
    options = [Option(text, -0.1 * rank, text, joint) for rank, (text, joint) in enumerate(said.items())]
    assert judge.pick(_cursor(index), options, Writer(), _soon()).option.text == "shelf.count()"
    partly = [*options[:1], Option("shelf.count()", -1.0, "shelf.count()")]
    assert judge.pick(_cursor(index), partly, Writer(), _soon()).option.text == "shelf.put(title)"


def test_an_unknown_member_is_written_again_among_those_there_are(index: WorkspaceIndex, judge: Judge) -> None:
    writer = Writer(then="()")
    judged = _pick(judge, _cursor(index), writer, "shelf.total()")
    assert writer.asked == [Rewrite("shelf", (".count", ".put"))]
    assert (judged.option.text, judged.repaired, judged.rewrites) == ("shelf.count()", True, 1)


def test_a_member_half_typed_goes_on_from_there(index: WorkspaceIndex, judge: Judge) -> None:
    writer = Writer(then="()")
    judged = _pick(judge, _cursor(index, "shelf.co"), writer, "llect()")
    assert writer.asked == [Rewrite("", ("unt",))]
    assert judged.option.text == "unt()"


def test_a_keyword_that_is_no_parameter_is_written_again_among_those_there_are(
    index: WorkspaceIndex, judge: Judge
) -> None:
    writer = Writer(then="=title)")
    judged = _pick(judge, _cursor(index), writer, "shelf.put(title=title)")
    assert writer.asked == [Rewrite("shelf.put", ("(book",))]
    assert judged.option.text == "shelf.put(book=title)"


def test_an_unknown_name_is_written_again_among_those_in_sight(index: WorkspaceIndex, judge: Judge) -> None:
    writer = Writer(then="")
    _pick(judge, _cursor(index), writer, "shelf.put(titel)")
    (wanted,) = writer.asked
    assert wanted.kept == "shelf.put"
    assert {"(title", "(shelf", "(len"} <= set(wanted.names)
    assert not {"(titel", "(elsewhere"} & set(wanted.names)


def test_a_name_that_lacks_only_its_import_is_kept_and_brought_in(index: WorkspaceIndex, judge: Judge) -> None:
    writer = Writer()
    judged = _pick(judge, _cursor(index), writer, "shelf = opened()")
    assert judged.option.text == "shelf = opened()"
    assert [problem.fix for problem in judged.checked.problems] == ["from shelf import opened"]
    assert not writer.asked


def test_a_rewriting_that_is_no_better_is_dropped(index: WorkspaceIndex, judge: Judge) -> None:
    judged = _pick(judge, _cursor(index), Writer(then=".nothing(missing)"), "shelf.total()")
    assert (judged.option.text, judged.repaired, judged.rewrites) == ("shelf.total()", False, 1)


def test_nothing_is_done_past_the_deadline(index: WorkspaceIndex, judge: Judge) -> None:
    writer = Writer()
    judged = judge.pick(_cursor(index), [Option("shelf.total()", 0.0)], writer, Deadline.after_ms(0))
    assert judged.option.text == "shelf.total()"
    assert not writer.asked


@pytest.mark.parametrize("fit", [Fit.MASKS, Fit.ON])
def test_where_answers_are_judged_the_prompt_shows_more_of_the_file(judge: Judge, fit: Fit) -> None:
    engine = Engine(["1"])
    options = CompleterOptions(fit=fit, prefix_tokens=4, suffix_tokens=4)
    text = "".join(f"x{n} = {n}\n" for n in range(9))
    cursor = Cursor("/made.py", text + "y = \n" + text, CharOffset(len(text) + 4), "python")
    Completer(engine, CharTokenizer(), options, judge=judge).complete(CompletionRequest(cursor), CancelToken())
    shown = "".join(chr(id_) for id_ in engine.asked[0].prompt_ids if id_ < 0x110000)
    assert shown.count("x4") == (2 if fit is Fit.ON else 0)


@dataclass
class Slow:
    """Says its answer at once, and writes others until it is cancelled."""

    finish: FinishReason
    cancelled: bool = False
    model_name: str = "slow"

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        yield Chunk("1", (1,), (-0.1,))
        ended = threading.Event()
        cancel.on_cancel(ended.set)
        self.cancelled = ended.wait(20)
        yield Chunk("", finish=self.finish, timing=Timing())

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("said", "known"),
    [(FinishReason.SHAPE, FinishReason.SHAPE), (FinishReason.CANCELLED, FinishReason.DEADLINE)],
)
def test_other_answers_are_not_waited_for_beyond_the_time_a_request_has(
    judge: Judge, said: FinishReason, known: FinishReason
) -> None:
    engine = Slow(said)
    completer = Completer(engine, CharTokenizer(), CompleterOptions(fit=Fit.ON), judge=judge)
    cursor = Cursor("/made.py", "x = \ny = 2\n", CharOffset(4), "python")
    done = completer.complete(CompletionRequest(cursor, due_ms=50), CancelToken())
    assert engine.cancelled
    assert (done.text, done.reason, done.receipt.finish) == ("1", Reason.MODEL, known)


def test_names_of_other_functions_are_not_in_sight(index: WorkspaceIndex) -> None:
    at = hole_at(_cursor(index))
    assert at is not None
    assert visible_names(at) == {"Shelf", "shelf", "title", "str", "fill", "other"}


@dataclass
class Engine:
    """Says one text per request."""

    texts: list[str]
    asked: list[GenerateRequest] = field(default_factory=list)
    model_name: str = "scripted"
    heals: bool = False
    candidates: tuple[Candidate, ...] = ()

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        self.asked.append(request)
        text = self.texts[len(self.asked) - 1]
        yield Chunk(text, (1,), (-0.1,), FinishReason.SHAPE, Timing(), candidates=self.candidates)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("fit", list(Fit))
def test_the_pipeline_asks_for_what_is_switched_on(index: WorkspaceIndex, judge: Judge, fit: Fit) -> None:
    engine = Engine(["shelf.total()", ".count()"])
    options = CompleterOptions(fit=fit, judge_ms=20_000)
    completer = Completer(engine, CharTokenizer(), options, judge=judge)
    cursor = _cursor(index)
    done = completer.complete(CompletionRequest(cursor), CancelToken())
    assert done.reason is Reason.MODEL
    first = engine.asked[0].constraint
    assert (first is None) == (fit is Fit.OFF)
    if first is not None:
        assert (first.prefix, first.suffix, first.names) == (cursor.prefix, cursor.suffix, ())
    judged = fit in (Fit.JUDGE, Fit.ON)
    assert (engine.asked[0].alternatives, engine.asked[0].foresight) == ((5, True) if judged else (0, False))
    if not judged:
        assert (done.text, done.receipt.judged, len(engine.asked)) == ("shelf.total()", None, 1)
        return
    assert done.text == "shelf.count()"
    second = engine.asked[1].constraint
    assert second is not None
    assert second.names == (".count", ".put")
    assert engine.asked[1].prompt_ids == (*engine.asked[0].prompt_ids, *CharTokenizer().encode("shelf"))


def test_an_answer_that_leads_to_the_suffix_wins_but_not_by_being_unlikely_itself(
    index: WorkspaceIndex, judge: Judge
) -> None:
    """Both estimates count: a copy of what follows makes it likely, and is an unlikely answer as plain text."""
    first = Candidate("shelf.put(title)", -1.0, (), 0.0, -24.0)
    leads = Candidate("shelf.count()", -2.0, (), 0.0, -13.0)
    copies = Candidate("shelf.put(other)", -2.0, (), 0.0, -63.0)
    engine = Engine([first.text], candidates=(first, leads, copies))
    completer = Completer(engine, CharTokenizer(), CompleterOptions(fit=Fit.JUDGE, judge_ms=20_000), judge=judge)
    assert completer.complete(CompletionRequest(_cursor(index)), CancelToken()).text == leads.text


def test_a_beginning_does_not_win_by_being_shorter(index: WorkspaceIndex, judge: Judge) -> None:
    """What the model would not end there is less likely than its tokens are."""
    begins = Candidate("shelf", -0.5, (), -6.0, -10.0)
    whole = Candidate("shelf.count()", -2.0, (), -0.1, -11.0)
    engine = Engine([begins.text], candidates=(begins, whole))
    completer = Completer(engine, CharTokenizer(), CompleterOptions(fit=Fit.JUDGE, judge_ms=20_000), judge=judge)
    assert completer.complete(CompletionRequest(_cursor(index)), CancelToken()).text == whole.text


def test_a_judge_that_is_switched_off_does_not_keep_a_word_from_being_healed(
    index: WorkspaceIndex, judge: Judge
) -> None:
    engine = Engine(["unt()"], heals=True)
    completer = Completer(engine, CharTokenizer(), CompleterOptions(heal=True), judge=judge)
    completer.complete(CompletionRequest(_cursor(index, "shelf.co")), CancelToken())
    assert engine.asked[0].typed == "co"


@pytest.mark.parametrize(
    ("typed", "heals", "names", "before"),
    [
        ("shelf.", False, {"put", "count", "__init__"}, "shelf."),
        ("shelf.co", False, {"unt"}, "shelf.co"),
        ("shelf.co", True, {"count"}, "shelf."),
        ("shelf.count", True, {"count"}, "shelf."),
        ("shelf.count", False, set(), "shelf.count"),
        ("shelf.zz", True, set(), "shelf."),
        ("other.", False, set(), "other."),
    ],
)
def test_behind_the_dot_of_a_known_receiver_only_its_members_may_come(
    index: WorkspaceIndex, judge: Judge, typed: str, heals: bool, names: set[str], before: str
) -> None:
    """A word that is a whole member already may go on in any way: then a mask could only end it."""
    engine = Engine(["x"], heals=heals)
    completer = Completer(engine, CharTokenizer(), CompleterOptions(fit=Fit.MASKS, gather_ms=20_000), judge=judge)
    completer.complete(CompletionRequest(_cursor(index, typed)), CancelToken())
    asked = engine.asked[0].constraint
    assert asked is not None
    assert (set(asked.names) >= names) if names else not asked.names
    assert asked.prefix.endswith(before)


def test_a_rewriting_of_a_half_typed_word_repeats_it(index: WorkspaceIndex, judge: Judge) -> None:
    """The word is not in the prompt, so what is written again begins with it; behind kept text it is in the prompt."""
    cursor = _cursor(index, "shelf.co")
    engine = Engine(["llect()", "unt()"], heals=True)
    options = CompleterOptions(fit=Fit.ON, judge_ms=20_000, gather_ms=0)
    assert (
        Completer(engine, CharTokenizer(), options, judge=judge).complete(CompletionRequest(cursor), CancelToken()).text
        == "unt()"
    )
    again = engine.asked[1]
    assert (again.typed, again.prompt_ids) == ("co", engine.asked[0].prompt_ids)
    assert again.constraint is not None
    assert (again.constraint.names, again.constraint.prefix) == (("count",), cursor.prefix[: -len("co")])


def test_what_a_check_needs_is_prepared_while_the_model_writes(
    index: WorkspaceIndex, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = threading.Event()

    class Waiting(Engine):
        def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
            assert prepared.wait(20)
            yield from super().generate(request, cancel)

    monkeypatch.setattr(Judge, "prepare", lambda *_: prepared.set())
    completer = Completer(Waiting(["shelf.count()"]), CharTokenizer(), CompleterOptions(fit=Fit.JUDGE), judge=judge)
    assert completer.complete(CompletionRequest(_cursor(index)), CancelToken()).text == "shelf.count()"
