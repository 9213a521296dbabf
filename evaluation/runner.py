"""The system under test: backend, tokenizer and context → the ``Completer`` that the editor uses.

The one file of this layer that knows how the product is wired.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from holefill.context.gather import Gatherer
from holefill.context.index.workspace import WorkspaceIndex
from holefill.context.items import CharOffset, Cursor, Item
from holefill.context.provider import Deadline
from holefill.evaluation.arms import Repositories, arm_named
from holefill.evaluation.cases import Case, DataError, Published
from holefill.evaluation.fitting import Fitting
from holefill.evaluation.recording import RecordingBackend
from holefill.evaluation.suites.registry import PromptPolicy
from holefill.lsp_server.completer import Completer
from holefill.lsp_server.completion import CompleterOptions, CompletionRequest, Fit, Trigger
from holefill.lsp_server.copies import CopyGuard, learned_text
from holefill.lsp_server.repository_link import send_index
from holefill.model.copies import Fingerprints
from holefill.model.repository import RepositoryBackend
from holefill.model.request import Backend
from holefill.model.serving.client import HttpBackend
from holefill.model.store import ModelStore
from holefill.model.tokenizer import Tokenizer as ModelTokenizer

if TYPE_CHECKING:
    from holefill.evaluation.token_ranks import TokenRanks  # torch

_PATIENCE_MS = 10_000.0
"""Context is not raced against a keystroke here; the latency suite measures that."""
PUBLISHED = ("rg1", "oracle")
"""Arms whose chunks come with the benchmark."""
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class System:
    """An engine and its tokenizer, whatever process the engine is in."""

    backend: Backend
    tokenizer: ModelTokenizer
    device: str
    ranks: TokenRanks | None = None
    """Set where the ranks of the true tokens are wanted too."""
    repositories: Repositories = field(default_factory=Repositories)
    fitting: Fitting = field(default_factory=Fitting)
    copies: Fingerprints | None = None
    """Of the text that the adapter learned."""

    @property
    def model(self) -> str:
        return self.backend.model_name

    def accepted(self) -> Mapping[str, int]:
        """Drafted tokens confirmed so far, by drafter; empty for an engine that does not say."""
        speculator = getattr(self.backend, "speculator", None)
        tally = getattr(speculator, "tally", None)
        return dict(tally.accepted_by_source) if tally is not None else {}

    def draft_from(self, index: WorkspaceIndex | None) -> None:
        """The engine's copy of the repository becomes what the index holds: nothing of a hidden file stays behind."""
        if index is not None and isinstance(self.backend, RepositoryBackend) and self.backend.takes_repositories:
            send_index(self.backend, index)

    def close(self) -> None:
        self.repositories.close()
        self.fitting.close()
        self.backend.close()


HOLEFILL, LLAMA_CPP = "holefill", "llama.cpp"


@dataclass(frozen=True, slots=True)
class EngineUnderTest:
    model: str
    name: str = HOLEFILL
    url: str | None = None
    """An engine or OpenAI-compatible server; then ``name`` does not count."""
    token_ranks: bool = False
    adapter: Path | None = None
    """Of our own engine in this process."""
    fit: Fit | None = None


Loaded = Callable[[str, float], None]
"""Called with what is being done and the share that is done."""


def load_system(under_test: EngineUnderTest, progress: Loaded | None = None) -> System:
    """In-process, llama.cpp, or over HTTP with the tokenizer of ``model``. Raises ``ModelError``."""
    model = under_test.model
    if under_test.adapter is not None and (under_test.url is not None or under_test.name != HOLEFILL):
        raise DataError("an adapter is for our own engine in this process: leave --engine and --engine-url out")
    if under_test.url is not None:
        url = under_test.url.removeprefix("unix://")
        backend = HttpBackend(uds=Path(url)) if url.startswith("/") else HttpBackend(url)
        return System(backend, _tokenizer(model), f"engine at {under_test.url}")
    if under_test.name == LLAMA_CPP:
        from holefill.evaluation.llama_cpp_backend import LlamaCppBackend

        tokenizer = _tokenizer(model)
        path = ModelStore.default().resolve(model)
        return System(LlamaCppBackend(path, tokenizer, Path(model).name), tokenizer, cpu_name())
    from holefill.model.loading import load_engine  # torch: only where the engine is in this process

    engine = load_engine(model, wait_for_masks=True, adapter=under_test.adapter, progress=progress)
    ranks = None
    if under_test.token_ranks:
        from holefill.evaluation.token_ranks import TokenRanks

        ranks = TokenRanks(engine)
    copies = learned_text(under_test.adapter, model)
    return System(engine, engine.tokenizer, device_name(), ranks, fitting=Fitting(under_test.fit), copies=copies)


def _tokenizer(model: str) -> ModelTokenizer:
    return ModelTokenizer.load(ModelStore.default().resolve(model))


def completer_for(
    system: System, policy: PromptPolicy, case: Case, context: str, index: WorkspaceIndex | None, backend: Backend
) -> Completer:
    """A fresh completer: neither a cached answer nor a sticky pack of an earlier case may serve this one."""
    options = CompleterOptions(
        prefix_tokens=policy.prefix_tokens,
        suffix_tokens=policy.suffix_tokens,
        context_tokens=0 if context == "off" else policy.context_tokens,
        max_new_tokens=policy.max_new_tokens,
        shape=policy.shape,
        gather_ms=_PATIENCE_MS,
        fit=system.fitting.level_of(policy.masks),
        judge_ms=_PATIENCE_MS,
        heal=policy.heal,
    )
    judge = system.fitting.judge(index)
    copies = None if system.copies is None else CopyGuard(system.copies, lambda root: index)
    chunks = _published(case, context, index)
    if chunks is not None:
        published = Gatherer([PublishedProvider(chunks)], system.tokenizer)
        return Completer(backend, system.tokenizer, options, published, judge, copies)
    if context == "off" or index is None:
        return Completer(backend, system.tokenizer, options, judge=judge, copies=copies)
    arm = arm_named(context)
    gather = system.repositories.gather(arm, case, index, request_for(case, index.root).cursor, system.tokenizer)
    return Completer(backend, system.tokenizer, replace(options, context_form=arm.form), gather, judge, copies)


def _published(case: Case, context: str, index: WorkspaceIndex | None) -> tuple[Published, ...] | None:
    """The benchmark's own chunks, where the arm asks for them or there is no repository to look into."""
    if context == "off" or (context not in PUBLISHED and index is not None):
        return None
    source = context if context in PUBLISHED else "rg1"
    chunks = case.published.get(source)
    if chunks is None and context != "on":
        raise DataError(f"{case.id} has no published {source} context: use --context on or off")
    return chunks or ()


class PublishedProvider:
    """A ``ContextProvider`` of the chunks a benchmark ships, best first."""

    name = "published"

    def __init__(self, chunks: tuple[Published, ...]) -> None:
        self._chunks = chunks

    def gather(self, cursor: Cursor, budget_tokens: int, deadline: Deadline) -> list[Item]:
        return [
            Item(f"{chunk.path}\n{chunk.text}", self.name, symbol_ids=(f"{chunk.path}#{number}",), score=chunk.score)
            for number, chunk in enumerate(self._chunks)
        ]


def request_for(case: Case, root: Path | None) -> CompletionRequest:
    folder = root or Path("/nowhere")
    cursor = Cursor(
        path=str(folder / case.path),
        text=case.prefix + case.suffix,
        offset=CharOffset(len(case.prefix)),
        language=case.language,
        root=None if root is None else str(root),
    )
    return CompletionRequest(cursor, Trigger.INVOKED)


def recording(system: System, complete: Callable[[str], bool], stop_rule: bool) -> RecordingBackend:
    return RecordingBackend(system.backend, complete, stop_rule)


def device_name() -> str:
    """``cuda NVIDIA H100``, or ``cpu AMD EPYC (2 cores)``."""
    import torch

    return f"cuda {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else cpu_name()


def cpu_name(cpuinfo: Path = _CPUINFO) -> str:
    """With family and model where the system tells them: machines to rent often hide the rest of the name."""
    facts: dict[str, str] = {}
    for line in cpuinfo.read_text("utf-8").splitlines() if cpuinfo.is_file() else ():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name", "cpu")
    made = f" family {facts['cpu family']} model {facts['model']}" if {"cpu family", "model"} <= facts.keys() else ""
    return f"cpu {name}{made} ({len(os.sched_getaffinity(0))} cores)"


def commit_name() -> str:
    """Of the checkout this file is in, ``-dirty`` when it has changes; empty for an installed package."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def model_sha256(model: str) -> str:
    """The pinned hash of a known model; empty for others."""
    known = ModelStore.default().known.get(model)
    return known.sha256 if known is not None else ""
