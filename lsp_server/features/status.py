"""holefill/status notifications, and the command an editor runs to fetch the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from holefill.lsp_server.engine_link import State, Status

if TYPE_CHECKING:
    from holefill.lsp_server.server import HolefillServer

STATUS = "holefill/status"
PULL_COMMAND = "holefill.pullModel"
FETCH = "Fetch the model"


def params_of(status: Status) -> dict[str, str | float | None]:
    return {"state": status.state.value, "message": status.message, "percent": status.percent}


def show(server: HolefillServer, status: Status) -> None:
    """Tells the status bar; an error is also a message, once, with a button where fetching the model helps."""
    server.protocol.notify(STATUS, params_of(status))
    if status.state is not State.ERROR:
        return
    text = f"holefill: {status.message}"
    if not server.engine.can_pull:
        server.window_show_message(types.ShowMessageParams(types.MessageType.Error, text))
        return
    actions = [types.MessageActionItem(FETCH)]

    def answered(chosen: types.MessageActionItem | None) -> None:
        if chosen is not None and chosen.title == FETCH:
            server.engine.pull()

    question = types.ShowMessageRequestParams(type=types.MessageType.Warning, message=text, actions=actions)
    server.window_show_message_request(question, answered)


def register(server: HolefillServer) -> None:
    @server.command(PULL_COMMAND)
    def pull_model(*arguments: object) -> None:
        server.engine.pull()
