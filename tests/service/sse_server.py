"""A service that does what a script says, connection by connection, over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Act = Callable[[web.Request], Awaitable[web.StreamResponse]]


def message(type_: str, id_: int | None = None, **fields: Any) -> bytes:
    """A message of the project feed as a frame."""
    data = json.dumps({"type": type_, **fields})
    return f"data: {data}\n".encode() + (b"\n" if id_ is None else b"id: %d\n\n" % id_)


def connected(id_: int | None = None, *, resumed: bool = False) -> bytes:
    return message("connected", id_, revision=id_ or 1, resumed=resumed, live=True)


def snapshot(id_: int | None, part: int = 1, *, last: bool = True, **lists: Any) -> bytes:
    rows = {"sources": [], "jobs": [], "proposals": [], **lists}
    return message("snapshot", id_, revision=id_ or 1, part=part, last=last, **rows)


def stream_end(reason: str, *, reconnect: bool) -> bytes:
    return message("stream_end", reason=reason, reconnect=reconnect)


def stream(*chunks: bytes, then: str = "end") -> Act:
    """Sends ``chunks``; then ends the answer, cuts the connection ("cut"), or leaves it open ("hold")."""

    async def act(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if then == "cut":
            assert request.transport is not None
            request.transport.abort()
        elif then == "hold":
            await asyncio.Event().wait()
        return response

    return act


def answer(status: int, body: object, **headers: str) -> Act:
    async def act(_: web.Request) -> web.StreamResponse:
        if isinstance(body, str):
            return web.Response(text=body, status=status, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    return act


@dataclass
class ScriptedService:
    """``script`` is used up one act a connection; after it comes a refusal that ends watching."""

    script: list[Act]
    url: str = ""
    requests: list[web.Request] = field(default_factory=list)

    @property
    def last_event_ids(self) -> list[str | None]:
        """What each connection said it had."""
        return [request.headers.get("Last-Event-ID") for request in self.requests]

    async def _act(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        act = (
            self.script.pop(0) if self.script else answer(404, {"error": "not_found", "message": "the script is over"})
        )
        return await act(request)


@asynccontextmanager
async def serving(*script: Act) -> AsyncIterator[ScriptedService]:
    service = ScriptedService(list(script))
    app = web.Application()
    app.router.add_get("/api/{path:.*}", service._act)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield service
    finally:
        await runner.cleanup()
