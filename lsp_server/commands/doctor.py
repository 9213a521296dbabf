"""``holefill doctor``: tries each link of the chain, and says of each broken one what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holefill.model.tokenizer import Tokenizer

KNOWN_HOLE = ("def add(first, second):\n    return first ", "\n\n\nprint(add(1, 2))\n")
KNOWN_ANSWER = "+ second"
EDITORS = {
    "code": "VS Code: install the extension from vscode-extension/ (npm run package)",
    "nvim": "Neovim 0.12: vim.lsp.config('holefill', {cmd = {'holefill', 'serve'}}) and vim.lsp.enable('holefill')",
    "hx": 'Helix: a language server with command = "holefill", args = ["serve"] in languages.toml',
    "emacs": 'Emacs: (add-to-list \'eglot-server-programs \'(python-mode . ("holefill" "serve")))',
}


class ProblemError(Exception):
    """A check failed; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    run: Callable[[], str]


@click.command(short_help="Test the whole path, from Python to editors.")
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="Name, GGUF file or model folder.")
def doctor(model: str) -> None:
    """Test the whole path: Python, torch, model, fill-in-the-middle, speed, engine process, type checkers, editors."""
    patient = _Patient(model)
    checks = (
        Check("python", _python),
        Check("torch", _torch),
        Check("model files", patient.files),
        Check("tokenizer", patient.tokens),
        Check("load", patient.load),
        Check("known hole", patient.known_hole),
        Check("engine socket", _socket_folder),
        Check("types", _checkers),
        Check("editors", _editors),
    )
    passed = [_passes(check) for check in checks]
    if not all(passed):
        sys.exit(1)


def _passes(check: Check) -> bool:
    from holefill.context.errors import ContextError
    from holefill.model.errors import ModelError

    start = time.perf_counter()
    try:
        said = check.run()
    except (ProblemError, ModelError, ContextError, OSError, ImportError) as error:
        click.echo(f"{click.style('fail', fg='red')}  {check.name}: {error}")
        return False
    took = time.perf_counter() - start
    click.echo(f"{click.style('ok', fg='green')}    {check.name}: {said}" + (f" ({took:.1f} s)" if took > 0.5 else ""))
    return True


def _python() -> str:
    return f"{platform.python_version()} on {platform.machine()}, {os.cpu_count()} CPUs"


def _torch() -> str:
    import torch

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    return f"{torch.__version__}, {torch.get_num_threads()} threads, {cuda}"


class _Patient:
    """One model, examined step by step; a step whose predecessor failed says so."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._path: Path | None = None
        self._tokenizer: Tokenizer | None = None
        self._engine: object = None

    def files(self) -> str:
        from holefill.model.store import ModelStore

        self._path = ModelStore.default().resolve(self._model)
        size = sum(file.stat().st_size for file in ([self._path] if self._path.is_file() else self._path.iterdir()))
        return f"{self._path} ({size / 1e6:.0f} MB)"

    def tokens(self) -> str:
        from holefill.context.prompt import choose_format
        from holefill.model.tokenizer import Tokenizer

        if self._path is None:
            raise ProblemError("not tried, there is no model")
        tokenizer = Tokenizer.load(self._path)
        form = choose_format(tokenizer)
        text = "def f(x):\n\treturn 'é😀'  # <|fim_middle|>\n"
        if tokenizer.decode(tokenizer.encode(text)) != text:
            raise ProblemError("text does not survive tokenisation: fetch the model again")
        return f"{tokenizer.vocab_size} tokens, fill-in-the-middle form {form.name}"

    def load(self) -> str:
        from holefill.model.loading import load_engine
        from holefill.model.shipped import shipped_adapter

        if self._path is None:
            raise ProblemError("not tried, there is no model")
        self._engine = load_engine(self._path, adapter=shipped_adapter(self._model))
        return "ready"

    def known_hole(self) -> str:
        from holefill.context.items import CharOffset, Cursor
        from holefill.lsp_server.completer import Completer
        from holefill.lsp_server.completion import CompletionRequest, Trigger
        from holefill.model.cancel import CancelToken
        from holefill.model.engine import Engine

        if not isinstance(self._engine, Engine):
            raise ProblemError("not tried, there is no engine")
        prefix, suffix = KNOWN_HOLE
        cursor = Cursor("known_hole.py", prefix + suffix, CharOffset(len(prefix)), "python")
        completer = Completer(self._engine, self._engine.tokenizer)
        done = completer.complete(CompletionRequest(cursor, Trigger.INVOKED), CancelToken())
        if done.text != KNOWN_ANSWER:
            raise ProblemError(
                f"the answer should be {KNOWN_ANSWER!r} and was {done.text!r} ({done.reason.value} "
                f"{done.receipt.note}): remove the model and pull it again, or choose another one"
            )
        timing = done.receipt.timing
        speed = 1000 * timing.completion_tokens / timing.decode_ms if timing.decode_ms else 0.0
        return f"right; first answer {done.receipt.stage_ms['total']:.0f} ms, {speed:.0f} tokens/s"


def _socket_folder() -> str:
    from holefill.model.serving.socket_folder import private_folder, runtime_dir, unusable

    folder = runtime_dir()
    private_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unusable(folder, error) from error
    running = len(list(folder.glob("*.sock")))
    return f"{folder}, {running} in use"


def _checkers() -> str:
    from holefill.context.types.specs import python_spec, typescript_spec

    here = os.getcwd()
    python, typescript = python_spec(here), typescript_spec(here)
    if python is None:
        raise ProblemError("ty, which tells the types of Python, is not beside this Python: install holefill again")
    hint = "none for TypeScript but of enums: npm install --save-dev typescript@7, or set holefill.typescript"
    return f"Python {python.command[0]}; {hint if typescript is None else f'TypeScript {typescript.command[0]}'}"


def _editors() -> str:
    found = [hint for command, hint in EDITORS.items() if shutil.which(command)]
    return "; ".join(found) if found else "none of " + ", ".join(EDITORS) + " found here; see README.md"
