"""holefill/status notifications, and the commands an editor runs: an accepted suggestion, a model to fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from holefill.lsp_server.convert import ACCEPTED_COMMAND
from holefill.lsp_server.engine_link import State, Status

if TYPE_CHECKING:
    from holefill.lsp_server.server import HolefillServer

STATUS = "holefill/status"
PULL_COMMAND = "holefill.pullModel"


def params_of(status: Status) -> dict[str, str | float | None]:
    return {"state": status.state.value, "message": status.message, "percent": status.percent}


def show(server: HolefillServer, status: Status) -> None:
    server.protocol.notify(STATUS, params_of(status))
    if status.state is State.ERROR:
        server.window_show_message(types.ShowMessageParams(types.MessageType.Error, f"holefill: {status.message}"))


def register(server: HolefillServer) -> None:
    @server.command(ACCEPTED_COMMAND)
    def accepted(*arguments: object) -> None:
        server.accepted += 1

    @server.command(PULL_COMMAND)
    def pull_model(*arguments: object) -> None:
        server.engine.pull()
