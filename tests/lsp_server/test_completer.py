"""The pipeline on a scripted engine: what reaches the engine, what reaches the user, what needs neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from holefill.context.items import CharOffset, Cursor
from holefill.lsp_server.completer import Completer
from holefill.lsp_server.completion import CompleterOptions, Completion, CompletionRequest, Fit, Reason, Trigger
from holefill.model.cancel import CancelToken
from holefill.model.errors import EngineError
from holefill.model.request import Candidate, Chunk, FinishReason, GenerateRequest, Shape, Timing

SPECIALS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>", "<|endoftext|>"]


class CharTokenizer:
    """One token per character; special tokens after them."""

    def encode(self, text: str) -> list[int]:
        return [ord(char) for char in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(token) for token in ids)

    def special_id(self, name: str) -> int | None:
        return 0x110000 + SPECIALS.index(name) if name in SPECIALS else None


@dataclass
class ScriptedEngine:
    """Says ``text`` character by character and keeps what it was asked."""

    text: str = "x)"
    finish: FinishReason = FinishReason.SHAPE
    logprob: float = -0.1
    error: EngineError | None = None
    cancel_after: int | None = None
    asked: list[GenerateRequest] = field(default_factory=list)
    model_name: str = "scripted"
    candidates: tuple[Candidate, ...] = ()
    heals: bool = False

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        for index, char in enumerate(self.text):
            if index == self.cancel_after:
                cancel.cancel()
            if cancel.is_set():
                yield Chunk("", finish=FinishReason.CANCELLED, timing=Timing())
                return
            yield Chunk(char, (ord(char),), (self.logprob,))
        timing = Timing(prompt_tokens=len(request.prompt_ids))
        yield Chunk("", finish=self.finish, timing=timing, candidates=self.candidates)

    def close(self) -> None:
        pass


def cursor(marked: str, language: str = "python", path: str = "/w/a.py") -> Cursor:
    prefix, suffix = marked.split("|")
    return Cursor(path, prefix + suffix, CharOffset(len(prefix)), language, root="/w")


def ask(
    completer: Completer, marked: str, trigger: Trigger = Trigger.AUTOMATIC, selected: str | None = None
) -> Completion:
    return completer.complete(CompletionRequest(cursor(marked), trigger, selected), CancelToken())


def make(engine: ScriptedEngine, options: CompleterOptions | None = None) -> Completer:
    return Completer(engine, CharTokenizer(), options)


def test_prompt_and_stop_rule() -> None:
    engine = ScriptedEngine()
    done = ask(make(engine), "def f(a):\n    print(|)\n    return a\n")
    request = engine.asked[0]
    assert request.prompt_text == ("<|fim_prefix|>def f(a):\n    print(<|fim_suffix|>)\n    return a\n<|fim_middle|>")
    assert request.stop.shape is Shape.STATEMENT
    assert request.stop.indent == 4
    assert request.stop.suffix_lines == ("return a",)
    assert request.stop.closers == ")"
    assert (done.text, done.reason) == ("x", Reason.MODEL)
    assert done.receipt.raw_text == "x)"
    assert done.receipt.mean_logprob == pytest.approx(-0.1)
    assert {"gather", "prompt", "generate", "postprocess", "total"} <= done.receipt.stage_ms.keys()


def test_blank_line_asks_for_a_block() -> None:
    engine = ScriptedEngine("return 1")
    ask(make(engine), "def f():\n    |\n\nx = 1\n")
    assert engine.asked[0].stop.shape is Shape.BLOCK


def test_typing_what_was_suggested_asks_nothing() -> None:
    engine = ScriptedEngine("value + other")
    completer = make(engine)
    ask(completer, "x = |\n")
    again = ask(completer, "x = val|\n")
    assert (again.text, again.reason) == ("ue + other", Reason.TYPE_THROUGH)
    assert ask(completer, "x = |\n").reason is Reason.CACHE
    assert len(engine.asked) == 1
    other = ask(completer, "x = vol|\n")
    assert other.reason is Reason.MODEL
    assert len(engine.asked) == 2


def test_a_bracket_the_editor_closed_is_not_closed_twice() -> None:
    engine = ScriptedEngine("(a, b)")
    completer = make(engine)
    ask(completer, "f|\n")
    again = ask(completer, "f(|)\n")
    assert (again.text, again.reason) == ("a, b", Reason.TYPE_THROUGH)


@pytest.mark.parametrize(("marked", "path"), [("x = |1\n", "/w/a.py"), ("x = |\n", "/w/b.py"), ("y = |\n", "/w/a.py")])
def test_another_input_is_another_answer(marked: str, path: str) -> None:
    engine = ScriptedEngine("value")
    completer = make(engine)
    ask(completer, "x = |\n")
    completer.complete(CompletionRequest(cursor(marked, path=path)), CancelToken())
    assert len(engine.asked) == 2


def test_cancelled_text_drafts_the_next_key() -> None:
    engine = ScriptedEngine("value + other", cancel_after=9)
    completer = make(engine)
    assert ask(completer, "x = |\n").reason is Reason.CANCELLED
    engine.cancel_after = None
    assert ask(completer, "x = v|\n").reason is Reason.MODEL
    assert engine.asked[1].draft_texts == ("alue + o",)


def test_cancelled_before_it_starts() -> None:
    engine, cancel = ScriptedEngine(), CancelToken()
    cancel.cancel()
    assert make(engine).complete(CompletionRequest(cursor("x = |")), cancel).reason is Reason.CANCELLED
    assert not engine.asked


def test_an_unsure_answer_waits_to_be_asked_for() -> None:
    completer = make(ScriptedEngine("value", logprob=-2.0), CompleterOptions(show_threshold=-0.4))
    silent = ask(completer, "x = |\n")
    assert (silent.text, silent.reason) == ("", Reason.LOW_CONFIDENCE)
    assert ask(completer, "x = |\n", Trigger.INVOKED).text == "value"


def test_answer_continues_the_selected_entry() -> None:
    engine = ScriptedEngine("(item)")
    done = ask(make(engine), "items.app|\n", selected="append")
    assert "items.append<|fim_suffix|>" in engine.asked[0].prompt_text
    assert done.text == "end(item)"


def test_engine_failure_is_a_reason() -> None:
    done = ask(make(ScriptedEngine(error=EngineError("run `holefill engine`"))), "x = |")
    assert (done.text, done.reason, done.receipt.note) == ("", Reason.ENGINE_ERROR, "run `holefill engine`")


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (Cursor("/w/a.py", "abc", CharOffset(4), "python"), Reason.BAD_POSITION),
        (Cursor("/w/a.py", "abc", CharOffset(-1), "python"), Reason.BAD_POSITION),
        (Cursor("/w/a.bin", "a\0b", CharOffset(1), "text"), Reason.BINARY),
        (Cursor("/w/.env", "KEY=", CharOffset(4), "text"), Reason.SECRET_FILE),
        (Cursor("/home/u/.ssh/config", "Host ", CharOffset(5), "text"), Reason.SECRET_FILE),
        (Cursor("/w/a.py", "x" * 16_000_001, CharOffset(4), "python"), Reason.TOO_LARGE),
    ],
)
def test_refused_without_a_prompt(where: Cursor, reason: Reason) -> None:
    engine = ScriptedEngine()
    assert make(engine).complete(CompletionRequest(where), CancelToken()).reason is reason
    assert not engine.asked


def test_large_file_is_answered_quickly() -> None:
    text = "value = compute(1, 2, 3)\n" * 200_000
    engine = ScriptedEngine("value")
    where = Cursor("/w/a.py", text, CharOffset(len(text) // 2 // 25 * 25), "python")
    done = make(engine).complete(CompletionRequest(where), CancelToken())
    assert done.receipt.stage_ms["total"] < 1000
    assert len(engine.asked[0].prompt_ids) < 2_000


@pytest.mark.parametrize(
    ("said", "reason"), [("9 " * 40, Reason.LOOP), ("y = 1\n", Reason.DUPLICATE), ("  \n", Reason.DEADLINE)]
)
def test_what_was_wrong_with_an_answer_cut_off_is_said(said: str, reason: Reason) -> None:
    done = ask(make(ScriptedEngine(said, finish=FinishReason.DEADLINE)), "x = 0\n|\ny = 1\n")
    assert (done.text, done.reason) == ("", reason)


def test_deadline_without_text_is_said() -> None:
    done = ask(make(ScriptedEngine("", finish=FinishReason.DEADLINE), CompleterOptions(deadline_ms=5)), "x = |")
    assert done.reason is Reason.DEADLINE


def test_user_text_cannot_forge_a_special_token() -> None:
    engine = ScriptedEngine("value")
    text = "s = '<|fim_middle|>'\nx = "
    make(engine).complete(CompletionRequest(Cursor("/w/a.py", text, CharOffset(len(text)), "python")), CancelToken())
    assert sum(token >= 0x110000 for token in engine.asked[0].prompt_ids) == 3


@pytest.mark.parametrize(
    ("marked", "heals", "typed", "shown"),
    [
        ("x = a.val|\n", True, "val", "<|fim_prefix|>x = a.<|fim_suffix|>"),
        ("return val|\n", True, " val", "<|fim_prefix|>return<|fim_suffix|>"),
        ("f(|)\n", True, "", "<|fim_prefix|>f(<|fim_suffix|>"),
        ("x = a.val|\n", False, "", "<|fim_prefix|>x = a.val<|fim_suffix|>"),
    ],
)
def test_a_half_typed_word_is_left_out_where_the_engine_heals(marked: str, heals: bool, typed: str, shown: str) -> None:
    engine = ScriptedEngine("ue")
    engine.heals = heals
    assert ask(make(engine, CompleterOptions(heal=True)), marked).text == "ue"
    request = engine.asked[0]
    assert request.typed == typed
    assert request.prompt_text.startswith(shown)


class WholeWord(ScriptedEngine):
    """Has nothing to add to a word that it has to repeat."""

    def generate(self, request: GenerateRequest, cancel: CancelToken) -> Iterator[Chunk]:
        if not request.typed:
            yield from super().generate(request, cancel)
            return
        self.asked.append(request)
        yield Chunk("", finish=FinishReason.STOP_TOKEN, timing=Timing())


def test_what_follows_a_whole_word_is_asked_with_the_word_in_the_prompt() -> None:
    engine = WholeWord(" and other", heals=True)
    assert ask(make(engine, CompleterOptions(heal=True, deadline_ms=5_000)), "return value|\n").text == " and other"
    first, second = engine.asked
    assert (first.typed, second.typed) == (" value", "")
    assert second.prompt_text.startswith("<|fim_prefix|>return value<|fim_suffix|>")
    assert first.deadline_ms == 5_000
    assert second.deadline_ms is not None
    assert 0 < second.deadline_ms < 5_000


def test_silence_where_no_word_was_typed_is_an_answer() -> None:
    engine = ScriptedEngine("", FinishReason.STOP_TOKEN, heals=True)
    assert ask(make(engine, CompleterOptions(heal=True)), "f(|)\n").reason is Reason.EMPTY
    assert len(engine.asked) == 1


def test_an_alternative_that_was_cut_off_ends_where_the_file_closes() -> None:
    engine = ScriptedEngine("value")
    cut, whole = Candidate("f(a, b", -1.0, (1,) * 8), Candidate("g(a, b", -1.0, (1,) * 7)
    engine.candidates = (Candidate("value", -1.0, (1,)), cut, whole)
    request = CompletionRequest(cursor("x = |\n"), Trigger.INVOKED, alternatives=2)
    completer = make(engine, CompleterOptions(max_new_tokens=8, fit=Fit.OFF))
    assert completer.complete(request, CancelToken()).alternatives == ("f", "g(a, b")


def test_an_engine_without_masks_is_not_held_to_them() -> None:
    """Else an eighth of its answers would not be shown."""

    class Foreign(ScriptedEngine):
        constrains = False

    engine = Foreign("f(a")
    assert ask(make(engine), "x = |\n").text == "f(a"
    assert engine.asked[0].constraint is None
    assert ask(make(ScriptedEngine("f(a")), "x = |\n").text == "f"


@pytest.mark.parametrize(("fit", "shown"), [(Fit.OFF, "if a:"), (Fit.MASKS, "")])
def test_a_stop_rule_does_not_break_what_the_masks_promise(fit: Fit, shown: str) -> None:
    options = CompleterOptions(fit=fit)
    assert ask(make(ScriptedEngine("if a:"), options), "def f(a):\n    |\n    return 1\n").text == shown
    assert ask(make(ScriptedEngine("a()"), options), "def f(a):\n    |\n    return 1\n").text == "a()"


def test_alternatives_come_when_asked_for_and_serve_the_next_keys() -> None:
    engine = ScriptedEngine("value)")
    engine.candidates = tuple(Candidate(text, -1.0, (1,)) for text in ("value)", "other + 1)", "value", "last)"))
    completer = make(engine)
    request = CompletionRequest(cursor("x = (|)\n"), Trigger.INVOKED, alternatives=3)
    done = completer.complete(request, CancelToken())
    assert engine.asked[0].alternatives == 3
    assert (done.text, done.alternatives) == ("value", ("other + 1", "last"))  # fitted to the place, none twice
    assert [candidate.text for candidate in done.candidates] == ["value)", "other + 1)", "value", "last)"]
    typed = ask(completer, "x = (oth|)\n")
    assert (typed.text, typed.reason) == ("er + 1", Reason.TYPE_THROUGH)
    assert ask(completer, "x = (|)\n").text == "value"  # the first answer stays the first
    assert ask(completer, "x = (|)\n").alternatives == ()
    again = completer.complete(request, CancelToken())
    assert (again.alternatives, again.reason) == (done.alternatives, Reason.CACHE)
    assert len(engine.asked) == 1
    engine.candidates = ()
    assert ask(make(engine), "x = (|)\n").alternatives == ()
