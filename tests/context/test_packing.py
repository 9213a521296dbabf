"""Packing: budget, duplicates, what the window shows, stable order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.context.items import ByteOffset, CharOffset, Cursor, Item, Pack, Span
from holefill.context.packing import pack
from tests.context.conftest import ToyTokenizer


def cursor(prefix: str = "x = ", suffix: str = "") -> Cursor:
    return Cursor("/w/main.py", prefix + suffix, CharOffset(len(prefix)), "python", "/w")


def item(
    text: str,
    source: str = "imports",
    score: float = 0.0,
    path: str = "",
    span: tuple[int, int] = (0, 0),
    symbol: str = "",
) -> Item:
    spans = (Span(path, ByteOffset(span[0]), ByteOffset(span[1])),) if path else ()
    return Item(text, source, spans, (symbol,) if symbol else (), score)


FUNCTION = "def area(width: int, height: int) -> int:  # Area of a rectangle.\n    return width * height"
WORDS = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"),
    *("iota", "kappa", "lambda", "mu", "nu", "xi", "omicron"),
)


def test_what_the_window_shows_is_left_out(tokenizer: ToyTokenizer) -> None:
    shown = "def area(width: int, height: int) -> int:\n    return width * height\n"
    packed = pack([item("def area(width: int, height: int) -> int")], cursor(shown), tokenizer, 500)
    assert [dropped.reason for dropped in packed.dropped] == ["visible"]
    far = cursor(shown + "y = 1\n" * 1000)
    assert pack([item("def area(width: int, height: int) -> int")], far, tokenizer, 500).items


def test_duplicates(tokenizer: ToyTokenizer) -> None:
    items = [
        item(FUNCTION, path="a.py", span=(10, 90), symbol="a#area"),
        item("class Other: pass", symbol="a#area"),
        item("return width * height inside", "similar", path="a.py", span=(20, 80)),
        item(FUNCTION.replace("area(", "Area(").replace("def ", "async def "), "similar", path="b.py", span=(0, 80)),
        item("", "similar"),
    ]
    packed = pack(items, cursor(), tokenizer, 500)
    assert sorted(known.reason for known in packed.dropped) == ["duplicate", "duplicate", "empty"]
    assert packed.items[0].text == FUNCTION
    assert packed.items[1].text == "async def Area(width: int, height: int) -> int:  # Area of a rectangle."


def test_comments_go_first_when_space_is_short_then_the_body(tokenizer: ToyTokenizer) -> None:
    full = pack([item(FUNCTION)], cursor(), tokenizer, 500)
    bare = pack([item(FUNCTION)], cursor(), tokenizer, full.tokens - 1)
    assert bare.items[0].text == "def area(width: int, height: int) -> int:\n    return width * height"
    head = pack([item(FUNCTION)], cursor(), tokenizer, bare.tokens - 1)
    assert head.items[0].text == "def area(width: int, height: int) -> int:"
    nothing = pack([item(FUNCTION)], cursor(), tokenizer, 5)
    assert nothing.items == ()
    assert nothing.dropped[0].reason == "budget"


def test_secrets_are_blanked_and_secret_files_dropped(tokenizer: ToyTokenizer) -> None:
    key = "AKIA" + "ABCDEFGHIJKLMNOP"
    packed = pack([item(f"KEY = '{key}'"), item("A=1", path="deploy/.env", span=(0, 3))], cursor(), tokenizer, 500)
    assert key not in packed.items[0].text
    assert [known.reason for known in packed.dropped] == ["secret"]


def test_order_stays_when_scores_change_a_little(tokenizer: ToyTokenizer) -> None:
    items = [
        item(f"def {word}_{word}(): return {word * 3}", score=rank, symbol=word) for rank, word in enumerate(WORDS)
    ]
    first = pack(items, cursor(), tokenizer, 150)
    shuffled = [Item(old.text, old.source, old.spans, old.symbol_ids, -old.score) for old in reversed(items)]
    kept = [known.symbol_ids for known in first.items]
    # A little: two neighbours change places.
    nearly = list(items)
    nearly[-1] = Item(items[-1].text, "imports", (), items[-1].symbol_ids, 12.5)
    again = pack(nearly, cursor(), tokenizer, 150, first)
    assert [known.symbol_ids for known in again.items] == kept
    # Completely: the clear gain is worth a cold prefill.
    turned = pack(shuffled, cursor(), tokenizer, 150, first)
    assert [known.symbol_ids for known in turned.items] != kept


def test_new_items_come_after_yesterdays(tokenizer: ToyTokenizer) -> None:
    first = pack([item("def zebra(): return 'stripes'", symbol="z")], cursor(), tokenizer, 500)
    new = [item("def ant(): return 6 + legs", symbol="a", score=2.0), item("def zebra(): return 'stripes'", symbol="z")]
    assert [known.symbol_ids[0] for known in pack(new, cursor(), tokenizer, 500, first).items] == ["z", "a"]


def test_an_item_that_is_gone_leaves(tokenizer: ToyTokenizer) -> None:
    first = pack([item("def zebra(): return 'stripes'", symbol="z")], cursor(), tokenizer, 500)
    assert pack([], cursor(), tokenizer, 500, first) == Pack()


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(alphabet="ab(): #\n=é", max_size=60), max_size=8),
    budget=st.integers(0, 120),
    seed=st.integers(0, 3),
)
def test_budget_holds_and_nothing_is_lost(
    make_tokenizer: type[ToyTokenizer], texts: list[str], budget: int, seed: int
) -> None:
    tokenizer = make_tokenizer()
    items = [
        item(text, f"s{(index + seed) % 3}", float(index % 4), symbol=str(index)) for index, text in enumerate(texts)
    ]
    packed = pack(items, cursor(), tokenizer, budget)
    assert packed.tokens <= budget
    assert len(packed.items) + len(packed.dropped) == len(items)
    assert pack(items, cursor(), tokenizer, budget, packed).items == packed.items
