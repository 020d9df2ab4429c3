"""Sends a stream after the request that asked for it has ended.

Quart keeps a request, its context and two tasks of its own for as long as it sends a response: right for answers, and a
quarter of what a stream that is open for hours would cost. So a route answers with :func:`event_stream`; this
middleware lets Quart finish that answer, all but its end, and then writes the stream's chunks itself.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractContextManager, aclosing
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)
from quart import Response, request

STREAM = "rowcast.stream"
"""Where in the ASGI scope a route leaves its stream."""
CONNECTION = "rowcast.connection"
"""Where in a scope's ``state`` a server may leave its :class:`Connection`."""

WriteNow = Callable[[bytes], bool]
"""See :meth:`Connection.write_now`."""


class Connection(Protocol):
    """What ASGI does not offer: how to do without a task that writes, and one that waits for the client to go."""

    def write_now(self, part: bytes) -> bool:
        """Sends a part of the response's body at once, after all that has been sent before.

        False, and nothing is sent, when it is not ready for more: what was sent before waits, or its end has come.
        """

    def gone(self) -> asyncio.Future[None]:
        """Done once the client has gone, or all is sent. Whoever asked may cancel it, and asks once."""


class Stream(NamedTuple):
    """``held`` is entered before the first of the chunks and left after the last, or at once if none is ever sent."""

    chunks: AsyncGenerator[bytes, None]
    held: AbstractContextManager[object]


def event_stream(stream: Stream, headers: Mapping[str, str]) -> Response:
    """The answer of the current request: 200, ``headers``, and the stream until it ends or the client has gone."""
    response = Response(b"", headers=dict(headers))
    del response.headers["Content-Length"]
    scope: Any = request.scope  # ASGI leaves room in it for an application's own
    scope[STREAM] = stream
    return response


def write_now() -> WriteNow | None:
    """The current request's connection's, None where the server offers none."""
    connection = _connection(request.scope)
    return None if connection is None else connection.write_now


def _connection(scope: Any) -> Connection | None:
    found: Connection | None = scope.get("state", {}).get(CONNECTION)
    return found


def _stream_of(scope: Any) -> Stream | None:
    """Takes the stream out of a scope, if there is one: ASGI's type knows no keys of an application's own."""
    stream: Stream | None = scope.pop(STREAM, None)
    return stream


class StreamMiddleware:
    """Wraps ``Quart.asgi_app``."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        follows = False
        connection = _connection(scope)
        try:
            follows = await self._answer(scope, receive, send)
        finally:  # a client may leave, and cancel the rest, at any point of its answer
            stream = _stream_of(scope)
            if stream is not None and not follows:
                with stream.held:
                    pass
        if stream is not None and follows:
            with stream.held:
                await _send_all(stream.chunks, send, connection.gone() if connection else _disconnect(receive))

    async def _answer(self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable) -> bool:
        """Has Quart answer; returns whether a stream is to follow: there is one, and the client has not gone."""
        gone = told = False
        begun: Any = None
        streams = False
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def receive_noting() -> ASGIReceiveEvent:
            """Once there is an answer that a stream is to follow, Quart hears that the client has gone.

            From 0.23 on it waits for that, which here comes with the stream's end.
            """
            nonlocal gone
            receiving = asyncio.ensure_future(receive())
            try:
                await asyncio.wait((receiving, answered), return_when=asyncio.FIRST_COMPLETED)
            finally:  # what has been received is noted even if Quart (0.22) has just stopped listening
                if not receiving.cancel():
                    gone = gone or receiving.result()["type"] == "http.disconnect"
            return receiving.result() if receiving.done() else {"type": "http.disconnect"}

        async def send_but_the_end(event: ASGISendEvent) -> None:
            nonlocal begun, streams
            if told:
                return  # a task of Quart's that was to be cancelled had its answer already
            if event["type"] == "http.response.start":
                begun = event
                streams = STREAM in scope and event["status"] == 200 and scope["method"] != "HEAD"
            if not (streams and event["type"] == "http.response.body"):
                await send(event)
            elif not event["more_body"]:
                answered.set_result(None)

        try:
            await self._app(scope, receive_noting, send_but_the_end)
        except asyncio.CancelledError:
            if begun is None:
                told = True
                await _tell_to_come_back(send)
            raise
        if streams:
            # Hypercorn keeps both until the stream ends, for hours: what was asked, with a token, and the answer.
            scope["headers"] = []
            scope["query_string"] = b""
            scope.pop("state", None)
            begun["headers"] = []
        return streams and not gone


class UntilGone:
    """A context that is left when ``gone`` is done: the client has gone, and what is sent to it need not go on.

    It is left in silence, too, when the kernel has cut a client that takes nothing: hypercorn (0.18) is prepared for
    resets alone.
    """

    __slots__ = ("_gone", "_has_gone", "_sender")

    def __init__(self, gone: asyncio.Future[None]) -> None:
        self._gone = gone
        self._has_gone = False

    def __enter__(self) -> None:
        sender = asyncio.current_task()
        assert sender is not None, "a coroutine runs in a task"  # noqa: S101 - asyncio's own promise
        self._sender = sender
        self._gone.add_done_callback(self._leave)

    def _leave(self, _: object) -> None:
        self._has_gone = True
        self._sender.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._gone.remove_done_callback(self._leave)
        self._gone.cancel()
        if isinstance(error, asyncio.CancelledError) and self._has_gone:
            self._sender.uncancel()
            return True
        return isinstance(error, TimeoutError)


async def _send_all(chunks: AsyncGenerator[bytes, None], send: ASGISendCallable, gone: asyncio.Future[None]) -> None:
    with UntilGone(gone):
        async with aclosing(chunks):
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _tell_to_come_back(send: ASGISendCallable) -> None:
    """The server stops while the answer waits for something: hypercorn would make a 500 of it."""
    body = b'{"error":"upstream_unavailable","message":"The service is shutting down."}'
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"1"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _disconnect(receive: ASGIReceiveCallable) -> asyncio.Future[None]:
    """Done once the client has gone."""

    async def wait() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    return asyncio.get_running_loop().create_task(wait())
