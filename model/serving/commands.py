"""``holefill engine``: the model behind a socket."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Literal, get_args

import click
from filelock import FileLock, Timeout

from holefill.model.errors import EngineError, ModelError
from holefill.model.shipped import adapter_options, served_adapter

DEFAULT_MODEL = "qwen2.5-coder-0.5b"
KernelName = Literal["auto", "triton", "native", "torch", "reference"]
"""``kernels.dispatch.Name``, whose module would import torch before the arguments are read."""
WARM_TOKENS = 8  # one forward that pages the weights in, so that the first key does not pay for it


@click.command(short_help="Serve a model on a Unix socket or a network address.")
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="Known name, GGUF file or Hugging Face folder.")
@click.option(
    "--socket",
    "socket_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Unix socket to listen on (mode 0600, in a folder of mode 0700). Default: the one `holefill serve` looks for.",
)
@click.option("--listen", metavar="HOST:PORT", help="Also listen on this address; needs --token-file.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the token that clients of --listen must send as 'Authorization: Bearer TOKEN'.",
)
@click.option("--idle-minutes", type=click.FloatRange(min=0.01), help="Exit after this long without a request.")
@adapter_options
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--kernels",
    type=click.Choice(get_args(KernelName)),
    default="auto",
    show_default=True,
    help="What computes: a set that cannot run here is an error, never another one.",
)
@click.option(
    "--draft-model",
    default="auto",
    show_default=True,
    help="Smaller model that guesses ahead: a name or path, off, or auto: one that is here, where it pays.",
)
@click.option(
    "--cache-mb",
    type=click.FloatRange(min=0, min_open=True),
    help="Memory for computed prompts. Default: 256, or that of one whole context if it is more.",
)
@click.option("--max-context", type=click.IntRange(64), default=8192, show_default=True, help="Tokens per request.")
def engine(
    model: str,
    socket_path: Path | None,
    listen: str | None,
    token_file: Path | None,
    idle_minutes: float | None,
    adapter: Path | None,
    no_adapter: bool,
    device: str,
    kernels: KernelName,
    draft_model: str,
    cache_mb: float | None,
    max_context: int,
) -> None:
    """Serve a model to every editor window of this machine, or (--listen) to a team.

    Speaks OpenAI's /v1/completions with server-sent events; GET /health, /metrics and /v1/models tell its state.
    Nothing of a prompt or an answer is logged.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    for one_line in ("holefill.kernels.dispatch", "holefill.model.spec.pairing"):  # what computes, who drafts, and why
        logging.getLogger(one_line).setLevel(logging.INFO)
    try:
        address = _address(listen, token_file)
        adapter = served_adapter(model, adapter, no_adapter)
        socket_path = socket_path or (None if listen else _default_socket(model, adapter))
        _run(model, socket_path, address, idle_minutes, adapter, device, kernels, draft_model, cache_mb, max_context)
    except ModelError as error:
        raise click.ClickException(str(error)) from error


def _address(listen: str | None, token_file: Path | None) -> tuple[str, int, str] | None:
    if listen is None:
        if token_file is not None:
            raise click.UsageError("--token-file is for --listen: a Unix socket needs no token")
        return None
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.UsageError(f"--listen {listen}: give HOST:PORT, such as 127.0.0.1:8012")
    if token_file is None:
        raise click.UsageError("--listen needs --token-file: any process of any user could connect otherwise")
    try:
        token = token_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read --token-file {token_file}: {error}") from error
    if len(token) < 16 or not token.isascii() or not token.isprintable():
        raise click.UsageError(f"the token in {token_file} must be one line of 16 or more printable ASCII characters")
    return host.strip("[]"), int(port), token


def _default_socket(model: str, adapter: Path | None) -> Path:
    from holefill.model.serving.launch import socket_path

    return socket_path(model, adapter=adapter)


def _run(
    model: str,
    path: Path | None,
    address: tuple[str, int, str] | None,
    idle_minutes: float | None,
    adapter: Path | None,
    device: str,
    kernels: KernelName,
    draft_model: str,
    cache_mb: float | None,
    max_context: int,
) -> None:
    from holefill.model.serving.app import ServingState
    from holefill.model.serving.server import run_server, tcp_listener, unix_listener
    from holefill.model.serving.socket_folder import private_folder
    from holefill.model.store import ModelStore

    ModelStore.default().resolve(model)  # a wrong name fails before anything listens
    state = ServingState(Path(model).name)

    def report(_: str, progress: float) -> None:
        state.progress = progress

    def load() -> None:
        from holefill.model.engine import EngineOptions
        from holefill.model.loading import load_engine

        options = EngineOptions(name=state.model_name, cache_mb=cache_mb, max_context=max_context)
        loaded = load_engine(
            model,
            device=device,
            options=options,
            adapter=adapter,
            kernels=kernels,
            draft_model=draft_model,
            progress=report,
        )
        state.ready(loaded, loaded.tokenizer, loaded.check, loaded)
        click.echo(f"ready: {state.model_name}", err=True)
        loaded.warm(range(WARM_TOKENS))

    lock = None
    listeners = [] if address is None else [tcp_listener(*address)]
    if path is not None:
        private_folder(path.parent)
        lock = FileLock(f"{path}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise EngineError(f"an engine already listens on {path}: use it, or choose another --socket") from None
        listeners.append(unix_listener(path))
    try:
        run_server(state, listeners, load, idle_minutes=idle_minutes)
    finally:
        if path is not None and lock is not None:
            path.unlink(missing_ok=True)
            lock.release()


if __name__ == "__main__":
    engine()
