"""A language server that answers the self-test right and then misbehaves as its argument says."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

Message = dict[str, Any]
"""JSON of the protocol, as it comes."""
MODE = sys.argv[1]
ANSWERS = {
    "textDocument/hover": {"contents": {"kind": "plaintext", "value": "str"}},
    "textDocument/typeDefinition": [],
    "textDocument/completion": [{"label": "upper", "kind": 2}, {"label": "lower", "kind": 2}],
    "textDocument/signatureHelp": {
        "signatures": [
            {
                "label": "(a: int, b: str) -> None",
                "parameters": [{"label": "a: int"}, {"label": "b: str"}],
                "activeParameter": 1,
            }
        ]
    },
}


EARLY: list[Message] = []
"""What came while a reply was waited for: requests need not wait for each other."""


def reply() -> Message:
    while True:
        message = receive()
        if "method" not in message:
            return message
        EARLY.append(message)


def read() -> Message:
    return EARLY.pop(0) if EARLY else receive()


def receive() -> Message:
    length = 0
    while line := sys.stdin.buffer.readline().strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    if not length:
        sys.exit(0)
    message: Message = json.loads(sys.stdin.buffer.read(length))
    return message


def raw(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def write(message: Message) -> None:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    raw(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))


def diagnostics(text: str, tested: bool) -> Message:
    place = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}
    found = [{"range": place, "severity": 1, "message": "wrong"}] if "(1, 5)" in text else []
    if "reveal_type" in text and MODE != "no-reveal" and not (tested and MODE == "unknown"):
        found.append({"range": place, "severity": 3, "message": "Revealed type: `str`"})
    return {"items": found}


def answer(message: Message, text: str, tested: bool) -> None:
    method, number = message["method"], message["id"]
    if method == "initialize":
        time.sleep(60) if MODE == "hang-at-start" else write({"id": number, "result": {"capabilities": {}}})
        return
    if tested:
        misbehave(number)
    if method == "textDocument/diagnostic":
        write({"id": number, "result": diagnostics(text, tested)})
    elif method == "textDocument/hover" and (MODE == "no-hover" or (tested and MODE == "unknown")):
        write({"id": number, "result": {"contents": "Unknown"}})
    elif method in ("textDocument/signatureHelp", "textDocument/completion") and tested and MODE == "unknown":
        write({"id": number, "result": None})
    else:
        write({"id": number, "result": ANSWERS.get(method)})


def misbehave(number: int) -> None:
    if MODE == "hang":
        time.sleep(60)
    elif MODE == "exit":
        sys.exit(3)
    elif MODE == "exit-in-message":
        raw(b"Content-Length: 500\r\n\r\n{")
        sys.exit(3)
    elif MODE == "rubbish":
        raw(b"thread 'main' panicked at src/main.rs\n" * 3)
    elif MODE == "bad-json":
        raw(b'Content-Length: 9\r\n\r\n{"id": 1,')
    elif MODE == "no-object":
        raw(b"Content-Length: 2\r\n\r\n[]")
    elif MODE == "oversized":
        raw(b"Content-Length: 99999999999\r\n\r\n")
    elif MODE == "negative":
        raw(b"Content-Length: -5\r\n\r\n")
    elif MODE == "long-line":
        raw(b"x" * 100_000)
    elif MODE == "slow":
        time.sleep(0.15)
    elif MODE == "errors":
        write({"id": number, "error": {"code": -32603, "message": "internal"}})
    elif MODE == "questions":
        write({"id": "q", "method": "workspace/configuration", "params": {"items": [{}, {}]}})
        write({"id": "r", "method": "window/somethingNew", "params": {}})
        first, second = reply(), reply()
        assert first["result"] == [None, None]
        assert second["error"]["code"] == -32601


def main() -> None:
    if MODE == "exit-at-start":
        sys.exit(1)
    texts: dict[str, str] = {}
    newest = ""
    while True:
        message = read()
        params = message.get("params") or {}
        if message["method"] in ("textDocument/didOpen", "textDocument/didChange"):
            newest = params["textDocument"]["uri"]
            changes = params.get("contentChanges")
            texts[newest] = changes[0]["text"] if changes else params["textDocument"]["text"]
        elif "id" in message:
            answer(message, texts.get(newest, ""), tested="self_test" not in newest)


main()
