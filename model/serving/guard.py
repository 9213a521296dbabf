"""Who may talk to a listener. A web page must not reach a local server, with or without DNS rebinding (PEERS.md §4)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from holefill.model.serving.protocol import error_body
from holefill.model.serving.repository_protocol import PATH

OPEN_PATHS = frozenset({"/health"})


@dataclass(frozen=True, slots=True)
class Policy:
    token: str | None = None
    hosts: frozenset[str] | None = None
    """Names the Host header may give, without port; None: any (Unix socket, or a wildcard address with a token)."""
    repositories: bool = True
    """Whether repositories may be sent here: between the users of one address they could be told apart by time."""


class Guard:
    """Wraps the application of one listener."""

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refuse(scope)) is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refuse(self, scope: Scope) -> JSONResponse | None:
        headers, policy = Headers(scope=scope), self._policy
        if "origin" in headers:
            return JSONResponse(error_body("web pages may not use this server", "forbidden"), 403)
        if policy.hosts is not None and _host_name(headers.get("host", "")) not in policy.hosts:
            return JSONResponse(error_body("this server does not answer to that Host name", "forbidden"), 403)
        if not policy.repositories and scope["path"] == PATH:
            return JSONResponse(error_body("repositories are taken from this machine only", "forbidden"), 403)
        if policy.token is not None and scope["path"] not in OPEN_PATHS:
            given = headers.get("authorization", "").removeprefix("Bearer ").encode()
            if not hmac.compare_digest(given, policy.token.encode()):
                message = "send the token of the server's --token-file as 'Authorization: Bearer TOKEN'"
                return JSONResponse(error_body(message, "unauthorized"), 401)
        return None


def _host_name(header: str) -> str:
    """``[::1]:80`` → ``::1``, ``name:80`` → ``name``."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
