"""Drafting changes no answer: real forwards of tiny models, and a target that notices any row that does not belong."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, Qwen2Config

from holefill.model.cancel import CancelToken, Interrupt, Interrupted
from holefill.model.engine import Engine, EngineOptions
from holefill.model.kv.rows import RowPool, RowTable
from holefill.model.request import Backend, FinishReason, GenerateRequest, Sampling
from holefill.model.spec.cost import CostCurve
from holefill.model.spec.drafters import SEARCHING
from holefill.model.spec.drafters.drafter import Scope
from holefill.model.spec.measure import PLAIN, Prompt, arms, measure_speculation
from holefill.model.spec.speculator import TreeSpeculator
from holefill.model.tokenizer import Tokenizer
from holefill.model.transformer import Transformer
from tests.model.conftest import random_network

PROMPTS = 200
TOKENS = 10
FIM = (257, 259, 258)
INTERLEAVINGS = 10_000
CHEAP = CostCurve((1, 2, 32), (1.0, 1.01, 1.3))
"""Nodes cost next to nothing, so that trees are large."""
CONFIGS: dict[str, Qwen2Config | LlamaConfig] = {
    "qwen2": Qwen2Config(
        vocab_size=260,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        tie_word_embeddings=True,
    ),
    "llama": LlamaConfig(
        vocab_size=260,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=256,
        initializer_range=0.2,
        tie_word_embeddings=False,
    ),
}


def speculator(names: Sequence[str] = SEARCHING, cost: CostCurve = CHEAP) -> TreeSpeculator:
    ticks = itertools.count()  # every forward takes as long as any other
    drafting = TreeSpeculator(
        260,
        cost=cost,
        drafters=names,
        encode=lambda text: list(text.encode()),
        fim_ids=FIM,
        clock=lambda: next(ticks) / 1000,
    )
    drafting.index_repository([list(b"def total(items):\n    return sum(items)\n") * 2])
    return drafting


def answer(engine: Backend, request: GenerateRequest, cancel: CancelToken | None = None) -> tuple[int, ...]:
    return tuple(id_ for chunk in engine.generate(request, cancel or CancelToken()) for id_ in chunk.token_ids)


@pytest.fixture(params=list(CONFIGS), scope="module")
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("tiny")
    random_network(CONFIGS[request.param]).save_pretrained(folder)
    return Transformer.load(folder, device="cpu", weights="fp32")


def random_requests(rng: random.Random, count: int) -> list[GenerateRequest]:
    """Prompts of one document that is edited; half of them have a hole."""
    document = [rng.randrange(32, 120) for _ in range(60)]
    requests = []
    for index in range(count):
        cut = rng.randrange(10, 50)
        document[rng.randrange(60)] = rng.randrange(32, 120)
        ids = document[:cut] if index % 2 else [257, *document[:cut], 259, *document[cut:], 258]
        quoted = (bytes(document[20:40]).decode(),) if index % 3 else ()
        requests.append(GenerateRequest(tuple(ids), max_tokens=TOKENS, draft_texts=quoted))
    return requests


def test_greedy_with_any_drafters_is_plain_greedy(tiny: Transformer, byte_tokenizer: Tokenizer) -> None:
    """200 prompts, each drafter alone and all together; the first 40 twice, when the drafters know the answer."""
    options = EngineOptions(prefill_chunk=16, max_context=256, vocab_size=260)
    requests = random_requests(random.Random(1), PROMPTS - 40)
    requests += requests[:40]
    plain = Engine(tiny, byte_tokenizer, options)
    expected = [answer(plain, request) for request in requests]
    for names in [SEARCHING, *((name,) for name in SEARCHING)]:
        drafting = speculator(names)
        engine = Engine(tiny, byte_tokenizer, options, drafting)
        assert [answer(engine, request) for request in requests] == expected, names
        assert sum(drafting.tally.accepted_by_source.values()) > 20, names  # a drafter that never hits proves nothing


def test_same_seed_same_sample_with_and_without_drafts(tiny: Transformer, byte_tokenizer: Tokenizer) -> None:
    options = EngineOptions(max_context=256, vocab_size=260)
    plain, fast = Engine(tiny, byte_tokenizer, options), Engine(tiny, byte_tokenizer, options, speculator())
    for seed, request in enumerate(random_requests(random.Random(2), 30)):
        sampled = GenerateRequest(
            request.prompt_ids, max_tokens=8, sampling=Sampling(temperature=0.7, top_p=0.9, seed=seed)
        )
        assert answer(fast, sampled) == answer(plain, sampled)


def test_runs_are_repeatable(tiny: Transformer, byte_tokenizer: Tokenizer) -> None:
    requests = random_requests(random.Random(3), 20)
    tallies = []
    for _ in range(2):
        drafting = speculator()
        engine = Engine(tiny, byte_tokenizer, EngineOptions(max_context=256, vocab_size=260), drafting)
        for request in requests:
            answer(engine, request)
        tallies.append(drafting.tally)
    assert tallies[0] == tallies[1]


def test_the_report_counts_tokens_per_forward(tiny: Transformer, byte_tokenizer: Tokenizer) -> None:
    options = EngineOptions(max_context=256, vocab_size=260)
    requests = random_requests(random.Random(4), 6)
    ticks = itertools.count()
    report = measure_speculation(
        lambda drafting: Engine(tiny, byte_tokenizer, options, drafting),
        lambda arm: speculator(arm.drafters),
        [Prompt(request, cross_file=index < 2) for index, request in enumerate(requests)],
        arms(),
        clock=lambda: float(next(ticks)),
    )
    plain = report.results[PLAIN]
    assert list(report.results) == [PLAIN, *arms()]
    assert {"ours", "all", "recycling", "recycling+trigram", "K=12", "automaton K=16"} <= set(report.results)
    assert (report.prompts, report.cross_file) == (6, 2)
    assert (plain.rounds, plain.drafted, plain.mat) == (plain.tokens, 0, 1)
    assert 0 < plain.cross_tokens < plain.tokens <= 6 * TOKENS
    for name, result in report.results.items():
        assert (result.tokens, result.cross_tokens) == (plain.tokens, plain.cross_tokens), name
        assert (result.mismatches, result.seconds) == (0, 6.0), name
        assert result.rounds <= plain.rounds
        assert 0 <= result.calibration_error <= 1
    assert report.results["ours"].drafted > 0
    assert report.speedup("ours") == 1


class HashTarget:
    """Every token depends on all tokens and positions a row sees: one row too many, missing or misplaced changes it.

    Mostly it follows the last two tokens, so that drafters have something to learn.
    """

    def __init__(self) -> None:
        self.before_forward: list[CancelToken] = []
        self.row_bytes = 2**20  # so that a cache of n MB holds n rows
        self.stored: dict[int, tuple[int, int]] = {}
        """Position and token of each row of the pool."""

    @staticmethod
    def next_token(rows: Sequence[tuple[int, int]]) -> int:
        total = sum((token + 1) * (position + 1) * 2654435761 % 4294967291 for position, token in rows)
        tail = [token for _, token in sorted(rows)[-2:]]
        return 40 + (total % 7 if total % 5 == 0 else (tail[-1] * 3 + tail[0]) % 11)

    def new_pool(self, rows: int) -> RowPool:
        return RowPool(rows)

    def new_cache(self, capacity: int) -> RowTable:
        return RowPool(capacity).sequence()

    def forward(
        self,
        ids: torch.Tensor,
        cache: RowTable,
        *,
        positions: torch.Tensor | None = None,
        tree_mask: torch.Tensor | None = None,
        logit_rows: torch.Tensor | None = None,
        interrupt: Interrupt | None = None,
    ) -> torch.Tensor:
        while self.before_forward:
            self.before_forward.pop().cancel()
        first, n = cache.length, len(ids)
        at = (torch.arange(first, first + n) if positions is None else positions).tolist()
        mask = (torch.ones(n, n, dtype=torch.bool).tril() if tree_mask is None else tree_mask).tolist()
        cache.reserve(n)
        past = [self.stored[row] for row in cache.rows().tolist()]
        if interrupt is not None and interrupt.is_set():  # in its midst: some rows hold something by now
            self.stored.update(dict.fromkeys(cache.rows(n)[first:].tolist(), (-1, -1)))
            raise Interrupted
        new = list(zip(at, ids.tolist(), strict=True))
        self.stored.update(zip(cache.rows(n)[first:].tolist(), new, strict=True))
        cache.length += n
        rows = range(n) if logit_rows is None else logit_rows.tolist()
        logits = torch.zeros(len(rows), 260)
        for index, row in enumerate(rows):
            logits[index, self.next_token([*past, *(new[j] for j in range(n) if mask[row][j])])] = 1.0
        return logits


def expected_answer(prompt: Sequence[int], tokens: int) -> tuple[int, ...]:
    rows = list(enumerate(prompt))
    for _ in range(tokens):
        rows.append((len(rows), HashTarget.next_token(rows)))
    return tuple(token for _, token in rows[len(prompt) :])


def edit(rng: random.Random, document: list[int]) -> None:
    """A typed character, a deletion, a change in the middle, or another file."""
    kind = rng.randrange(10)
    if kind < 5 and len(document) < 40:
        document.append(40 + rng.randrange(11))
    elif kind < 7 and len(document) > 4:
        del document[-rng.randrange(1, 4) :]
    elif kind < 9:
        document[rng.randrange(len(document))] = 40 + rng.randrange(11)
    else:
        document[:] = [40 + rng.randrange(11) for _ in range(rng.randrange(4, 30))]


def balances(engine: Engine[RowTable]) -> bool:
    """Between requests every row is free or held by the tree, once."""
    pool, tree = engine._prefixes.pool, engine._prefixes.tree
    assert isinstance(pool, RowPool)
    held, nodes = list[int](), [tree._root]
    while nodes:
        node = nodes.pop()
        nodes += node.children.values()
        held += node.rows.tolist()
    return len(held) == len(set(held)) == tree.held == pool.capacity - pool.free


def test_interleaved_requests_cancels_and_edits_leak_no_row(byte_tokenizer: Tokenizer) -> None:
    """Over a pool that is full most of the time, so that rows are evicted and written anew all along."""
    rng = random.Random(9)
    target, drafting = HashTarget(), speculator()
    options = EngineOptions(cache_mb=192, prefill_chunk=8, draft_budget=8, max_context=64)
    engine = Engine(target, byte_tokenizer, options, drafting)
    documents = [[40 + rng.randrange(11) for _ in range(12)] for _ in range(3)]
    for _ in range(INTERLEAVINGS):
        document = rng.choice(documents)
        edit(rng, document)
        tokens, kind = rng.randrange(1, 7), rng.random()
        request = GenerateRequest(tuple(document), max_tokens=tokens, background=kind > 0.9)
        if kind < 0.7:
            assert answer(engine, request) == expected_answer(document, tokens)
        elif kind < 0.8:  # cancelled in the midst of its first forward
            cancel = CancelToken()
            target.before_forward = [cancel]
            found = answer(engine, request, cancel)
            assert found == expected_answer(document, tokens)[: len(found)]
        elif kind < 0.9:  # dropped by its reader
            reader = engine.generate(request, CancelToken())
            next(reader)
            reader.close()
        else:
            engine.warm(document)
        if rng.random() < 0.01:
            assert balances(engine)
        if rng.random() < 0.002:
            drafting.reset(rng.choice(list(Scope)))
    assert balances(engine)
    assert drafting.tally.tokens / drafting.tally.rounds > 1.2


def test_threads_get_the_sequential_answers(byte_tokenizer: Tokenizer) -> None:
    engine = Engine(HashTarget(), byte_tokenizer, EngineOptions(prefill_chunk=8, draft_budget=8), speculator())
    failures: list[str] = []

    def type_along(seed: int) -> None:
        rng = random.Random(seed)
        document = [40 + rng.randrange(11) for _ in range(12)]
        for _ in range(40):
            edit(rng, document)
            cancel = CancelToken()
            if rng.random() < 0.2:
                threading.Timer(0.001, cancel.cancel).start()
            request = GenerateRequest(tuple(document), max_tokens=5, background=rng.random() < 0.3)
            chunks = list(engine.generate(request, cancel))
            found = tuple(id_ for chunk in chunks for id_ in chunk.token_ids)
            expected = expected_answer(document, 5)
            complete = chunks[-1].finish is not FinishReason.CANCELLED
            if found != (expected if complete else expected[: len(found)]):
                failures.append(f"{document}: {found} is not {expected}")

    threads = [threading.Thread(target=type_along, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert balances(engine)


@pytest.mark.model
def test_the_real_model_drafts_losslessly(default_model_path: Path) -> None:
    """Default packed format: the same kernels one token at a time give the same answer, bit for bit."""
    from holefill.model.loading import load_engine

    plain = load_engine(default_model_path, speculation=False)
    fast = load_engine(default_model_path)
    tokenizer = plain.tokenizer
    prefix, suffix, middle = tokenizer.fim_ids() or (0, 0, 0)
    code = Path(__file__).read_text("utf-8")
    for cut in range(1200, 9000, 1300):
        before, after = tokenizer.encode(code[cut - 1200 : cut]), tokenizer.encode(code[cut : cut + 200])
        request = GenerateRequest((prefix, *before, suffix, *after, middle), max_tokens=16)
        assert answer(fast, request) == answer(plain, request)
