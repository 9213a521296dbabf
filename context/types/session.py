"""One running checker: the documents it has been given, and the requests it is asked."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from holefill.context.types.positions import position_of, uri_of
from holefill.context.types.specs import LspSpec
from holefill.context.types.transport import Child, ChildError, Json, RefusedError

_MAX_OPEN = 64
_CAPABILITIES: Json = {
    "general": {"positionEncodings": ["utf-16"]},
    "workspace": {"configuration": True, "workspaceFolders": True},
    "textDocument": {
        # Without it ty checks the whole file on every change and pushes what it found.
        "diagnostic": {"dynamicRegistration": False},
        "hover": {"contentFormat": ["plaintext", "markdown"]},
        "completion": {"completionItem": {"snippetSupport": False}},
        "signatureHelp": {
            "contextSupport": True,
            "signatureInformation": {
                "parameterInformation": {"labelOffsetSupport": True},
                "activeParameterSupport": True,
            },
        },
        "typeDefinition": {"linkSupport": False},
    },
}
_LANGUAGE_IDS = {"tsx": "typescriptreact"}


@dataclass(slots=True)
class _Open:
    version: int
    text: str


class Session:
    """Not thread-safe: ``LspOracle`` asks one question at a time, because each needs its own state of a document.

    A document is either a *mirror* (the editor's text) or a *probe* (text with a hole). At most one is a probe, so that
    every other file is seen as the editor has it.
    """

    def __init__(self, child: Child, spec: LspSpec, root: str | None, start_s: float) -> None:
        """Raises ``ChildError`` when the child does not come up."""
        self.child = child
        self._mirrors: dict[str, str] = {}
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._probed: str | None = None
        folder = uri_of(root) if root is not None else None
        params: Json = {
            "processId": None,
            "rootUri": folder,
            "workspaceFolders": None if folder is None else [{"uri": folder, "name": "workspace"}],
            "capabilities": _CAPABILITIES,
            "initializationOptions": spec.init_options,
        }
        try:
            child.request("initialize", params, start_s)
        except RefusedError as error:
            raise ChildError(f"initialize: {error}") from error
        child.notify("initialized", {})

    def mirror(self, path: str, text: str | None, language: str) -> None:
        """The editor's text; None: the disk counts. Files of the disk need no mirror."""
        if text is None:
            self._mirrors.pop(path, None)
            if path in self._open and path != self._probed:
                self._close(path)
        elif self._mirrors.get(path) != text:
            self._mirrors[path] = text
            if path != self._probed:
                self._show(path, text, language)

    def ask(
        self, methods: tuple[str, ...], path: str, text: str, offset: int, language: str, timeout_s: float
    ) -> tuple[Json, ...]:
        """All of them of one probe and place; None for what is refused. Raises what ``Child.request`` raises."""
        self._probe(path, text, language)
        params: dict[str, Json] = {"textDocument": {"uri": uri_of(path)}}
        if methods != ("textDocument/diagnostic",):
            params["position"] = position_of(text, offset)
        return self.child.request_all(methods, params, timeout_s)

    def changed_on_disk(self, path: str) -> None:
        self.child.notify("workspace/didChangeWatchedFiles", {"changes": [{"uri": uri_of(path), "type": 2}]})

    def _probe(self, path: str, text: str, language: str) -> None:
        if self._probed is not None and self._probed != path:
            self._restore(self._probed, language)
        self._probed = path
        self._show(path, text, language)

    def _restore(self, path: str, language: str) -> None:
        self._probed = None
        if path in self._mirrors:
            self._show(path, self._mirrors[path], language)
        elif path in self._open:
            self._close(path)

    def _show(self, path: str, text: str, language: str) -> None:
        known = self._open.get(path)
        if known is None:
            document: Json = {
                "uri": uri_of(path),
                "languageId": _LANGUAGE_IDS.get(language, language),
                "version": 1,
                "text": text,
            }
            self.child.notify("textDocument/didOpen", {"textDocument": document})
            self._open[path] = _Open(1, text)
            if len(self._open) > _MAX_OPEN:
                self._close(next(other for other in self._open if other != path))
        elif known.text != text:
            known.version, known.text = known.version + 1, text
            identity: Json = {"uri": uri_of(path), "version": known.version}
            self.child.notify("textDocument/didChange", {"textDocument": identity, "contentChanges": [{"text": text}]})
        self._open.move_to_end(path)

    def _close(self, path: str) -> None:
        del self._open[path]
        self.child.notify("textDocument/didClose", {"textDocument": {"uri": uri_of(path)}})


def answer_child(method: str, params: Json) -> Json:
    """What a client must say when the checker asks; everything else is not supported."""
    if method == "workspace/configuration":
        items = params.get("items") if isinstance(params, dict) else None
        return [None] * (len(items) if isinstance(items, list) else 1)
    if method in ("client/registerCapability", "client/unregisterCapability", "window/workDoneProgress/create"):
        return None
    if method.startswith("workspace/") and method.endswith("/refresh"):
        return None
    raise NotImplementedError(method)
