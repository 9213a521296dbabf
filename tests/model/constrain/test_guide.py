"""A request's guide: trees like sequences, forks, the end of the answer, names, and when it stays out of the way."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from holefill.model.constrain.constraint import Constraint
from holefill.model.constrain.documents import Document
from holefill.model.constrain.guide import Guide, Guides
from holefill.model.constrain.languages import automaton
from holefill.model.constrain.vocabulary import allowed, unpack
from holefill.model.spec.tree import DraftTree, TreeBuilder
from holefill.model.tokenizer import Tokenizer
from tests.model.constrain.test_grammars import GOOD


@pytest.fixture(scope="module")
def guides(byte_tokenizer: Tokenizer) -> Guides:
    return Guides(byte_tokenizer, wait=True)


def _guide(guides: Guides, prefix: str, suffix: str, language: str = "python", names: tuple[str, ...] = ()) -> Guide:
    guide = guides.guide(Constraint(language, prefix, suffix, names))
    assert guide is not None
    return guide


STOP = 256


def _allows(guide: Guide, text: str, *, end: bool = False) -> bool:
    return guide.first_forbidden([*text.encode(), *([STOP] if end else [])]) is None


def test_the_answer_may_end_only_where_the_file_closes(guides: Guides) -> None:
    guide = _guide(guides, "x = f(a, ", ")\ny = 1\n")
    assert _allows(guide, "b", end=True)
    assert _allows(guide, "g(b)", end=True)
    assert _allows(guide, "b)\nz = (c", end=True)
    assert not _allows(guide, "g(b", end=True)
    assert not _allows(guide, "b)", end=True)
    assert not _allows(guide, "b]")
    assert not _allows(guide, "'b", end=True)


def test_indentation_must_meet_an_open_block(guides: Guides) -> None:
    guide = _guide(guides, "def f():\n    if a:\n        b\n", "    return c\n")
    assert _allows(guide, "        c\n", end=True)
    assert _allows(guide, "    c\n", end=True)
    assert not _allows(guide, "  c")
    assert not _allows(guide, "c\n", end=True)  # then `return` is indented for no reason
    assert not _allows(guide, "    if c:\n", end=True)


@pytest.mark.parametrize(
    ("reason", "constraint"),
    [
        ("language", Constraint("cobol", "", "")),
        ("size", Constraint("python", "#" * 300_000, "")),
        ("prefix", Constraint("python", "x = (]", "\n")),
        ("suffix", Constraint("python", "x = 1\n", "y = 'a\n'\n")),
        ("suffix", Constraint("java", "class A {", "} ] } ] }")),
    ],
)
def test_a_place_that_cannot_be_read_is_left_alone(guides: Guides, reason: str, constraint: Constraint) -> None:
    before = guides.tally[reason]
    assert guides.guide(constraint) is None
    assert guides.tally[reason] == before + 1


def test_brackets_missing_on_either_side_keep_the_guide(guides: Guides) -> None:
    assert _allows(_guide(guides, "x = f(a, [", "\ny = 1\n"), "b])", end=True)
    assert _allows(_guide(guides, "x = ", ")]\n"), "[f(", end=True)


def test_tables_that_are_being_made_hold_nothing_up(byte_tokenizer: Tokenizer) -> None:
    guides = Guides(byte_tokenizer)
    guides.guide(Constraint("rust", "", ""))
    assert set(guides.tally) <= {"tables", "on"}


def _tree(rng: random.Random, guide: Guide, nodes: int) -> DraftTree:
    builder = TreeBuilder(0)
    while len(builder) < nodes:
        builder.add(rng.randrange(len(builder)), rng.choice(b"(){}[]'\" ab:\n#"), 1.0, "", 0)
    return builder.tree()


@pytest.mark.parametrize("language", ["python", "typescript", "rust"])
def test_masks_of_a_tree_are_those_of_its_paths(guides: Guides, language: str) -> None:
    rng = random.Random(language)
    for _ in range(15):
        text = rng.choice(GOOD[language])
        at = rng.randrange(len(text))
        made = guides.guide(Constraint(language, text[:at], text[at:]))
        if made is None:
            continue
        tree = _tree(rng, made, 12)
        rows = made.words(tree)
        pruned = made.prune(tree)
        for node in range(len(tree)):
            path: list[int] = []
            above = node
            while above > 0:
                path.insert(0, tree.token[above])
                above = tree.parent[above]
            fine = made.first_forbidden(path) is None
            assert (tuple(path) in pruned.paths() or not path) == fine
            if fine:
                replay = made.fork()
                replay.commit(path)
                assert (replay.words(DraftTree.root(0))[0] == rows[node]).all()
            else:
                assert unpack(rows[node], 256).all()  # never reached: its parent forbids it


def test_a_fork_leaves_its_origin_alone(guides: Guides) -> None:
    guide = _guide(guides, "x = ", "\n")
    root = DraftTree.root(0)
    before = guide.words(root)
    fork = guide.fork()
    fork.commit(list(b"f([{'a"))
    assert (guide.words(root) == before).all()
    assert not (fork.words(root) == before).all()


def test_only_the_names_given_may_come_first(guides: Guides) -> None:
    guide = _guide(guides, "x = a", "\n", names=(".append", ".appendleft", ".pop"))
    assert _allows(guide, ".append(1)", end=True)
    assert _allows(guide, ".appendleft", end=True)
    assert _allows(guide, ".pop.anything", end=True)
    assert not _allows(guide, ".push")
    assert not _allows(guide, ".app", end=True)
    assert not _allows(guide, ".poppy")
    root = DraftTree.root(0)
    for text in ("", ".ap", ".append", ".append("):
        fork = guide.fork()
        fork.commit(list(text.encode()))
        row = fork.words(root)[0]
        for token in range(256):
            assert allowed(row, token) == (fork.first_forbidden([token]) is None), (text, token)


def test_typing_on_gives_the_states_of_lexing_anew() -> None:
    lexer = automaton("typescript")
    text = (GOOD["typescript"][0] * 40).encode()
    document = Document(lexer)
    rng = random.Random(0)
    at, typed = 0, b""
    for _ in range(200):
        what = rng.random()
        if what < 0.2:  # elsewhere
            at, typed = rng.randrange(len(text)), b""
        elif what < 0.4:  # back
            typed = typed[:-1]
        else:
            typed += rng.choice([b"x", b"(", b"'", b"`${", b"}", b"\n", b"// "])
        changed = text[:at] + typed
        kept = [(one.mode, one.stack.symbols()) for one in document.before(changed)]
        assert kept == [(one.mode, one.stack.symbols()) for one in lexer.run(lexer.begin(), changed)]


def test_a_suffix_remembers_only_what_is_true(guides: Guides) -> None:
    text = GOOD["python"][1]
    for at in range(0, len(text), 3):
        shared = guides.guide(Constraint("python", text[:at], text[at:]))
        assert shared is None or _allows(shared, "", end=True)


@pytest.mark.parametrize("language", ["c", "cpp"])
@pytest.mark.parametrize(
    "file", ["a();\nif (b) {\n  c(d[1]);\n}\n}\ne();\n", "switch (b)\n{\n  for (;;)\n  {\n  case 0: (c)\n"]
)
def test_a_file_that_is_half_a_function_keeps_its_own_lines(guides: Guides, language: str, file: str) -> None:
    """Another file includes it; what it opens or closes for that one is no mistake."""
    lines = file.splitlines(keepends=True)
    for start in range(len(lines)):
        for end in range(start + 1, len(lines) + 1):
            middle, rest = "".join(lines[start:end]), "".join(lines[:start] + lines[end:])
            if rest.count("{") == rest.count("}"):  # without the hole it is no half any more
                continue
            guide = guides.guide(Constraint(language, "".join(lines[:start]), "".join(lines[end:])))
            assert guide is None or _allows(guide, middle, end=True)
    whole = guides.guide(Constraint(language, "int f() {\n  a(", ");\n}\n"))
    assert whole is not None
    assert not _allows(whole, "b)", end=True)


def test_names_bind_in_a_file_that_is_in_the_middle_of_another_edit(guides: Guides) -> None:
    unreadable = Constraint("python", "y = ]\nx = a", "\n", (".append", ".pop"))
    unfinished = Constraint("python", "f(\nx = a", "\n", (".append", ".pop"), unfinished=True)
    for constraint in (unreadable, unfinished):
        assert guides.guide(replace(constraint, names=())) is None
        guide = guides.guide(constraint)
        assert guide is not None
        assert _allows(guide, ".pop((", end=True)
        assert not _allows(guide, ".push(1)", end=True)


@pytest.mark.parametrize(
    ("before", "middle", "after"),
    [
        ("def f(a):\n    if a:\n", "        a = 1", "    return b\n"),
        ("def f(a):\n    if a.", "b:", "\n        return b\n"),
        ("def f(a):\n    if a.", "b({'c'}):", "\n        return b\n"),
        ("def f(a):\n", "    if a:\n", "        return b\n"),
        ("x = f'{a.", "b}'", "\n"),
        ("def f(a):\n    try:\n        ", "b()", "\n    except E:\n        pass\n"),
    ],
)
def test_heads_of_blocks_and_ends_of_strings_may_be_the_holes_to_write(
    guides: Guides, before: str, middle: str, after: str
) -> None:
    """Else a hole whose answer needs one would count as the middle of an edit, and nothing would hold in it."""
    guide = _guide(guides, before, after)
    assert _allows(guide, middle, end=True)
    assert not _allows(guide, middle + "(", end=True)
