"""A stream outlives its request: Quart answers, the middleware sends, and whoever leaves ends it."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from quart import Quart, Response, has_request_context

from service.streams.asgi import STREAM, Stream, StreamMiddleware, event_stream
from tests.service.fakes import until

HEADERS = {"Content-Type": "text/event-stream"}


class Client:
    """The other side of one request to an application, as a server would be."""

    def __init__(self, app: Quart, method: str = "GET", path: str = "/", *, stuck_from: int = 1000) -> None:
        self.sent: list[Any] = []
        self.stuck_from = stuck_from  # so many messages are taken
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.heard.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        scope: Any = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": [],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "extensions": {}, "state": {},
        }  # fmt: skip
        self.scope = scope
        self.task = asyncio.ensure_future(app(scope, self.heard.get, self._send))

    async def _send(self, message: Any) -> None:
        self.sent.append(message.copy())
        if message["type"] == "http.response.body" and not message["more_body"]:
            self.leave()  # as servers say when all is sent
        if len(self.sent) > self.stuck_from:
            await asyncio.Event().wait()

    def leave(self) -> None:
        self.heard.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        return self.sent[0]["status"]  # type: ignore[no-any-return]

    @property
    def body(self) -> list[bytes]:
        return [message["body"] for message in self.sent[1:]]


class Stage:
    """An application with one stream of what the test puts in; None ends it."""

    def __init__(self) -> None:
        self.app = Quart("stage")
        self.app.asgi_app = StreamMiddleware(self.app.asgi_app)  # type: ignore[method-assign]
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.ended = 0
        self.held = [0, 0]  # how often entered and left
        self.in_request: list[bool] = []

        @self.app.get("/")
        async def stream() -> Response:
            return event_stream(Stream(self.generate(), self.hold()), HEADERS)

    @contextmanager
    def hold(self) -> Iterator[None]:
        self.held[0] += 1
        try:
            yield
        finally:
            self.held[1] += 1

    async def generate(self) -> AsyncGenerator[bytes, None]:
        try:
            while (chunk := await self.chunks.get()) is not None:
                self.in_request.append(has_request_context())
                yield chunk
        finally:
            self.ended += 1


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_chunks_follow_the_answers_head_one_by_one_and_then_its_end(stage: Stage) -> None:
    client = Client(stage.app)
    for chunk in (b"a", b"b", None):
        stage.chunks.put_nowait(chunk)
    await client.task
    assert client.status == 200
    assert dict(client.sent[0]["headers"]) == {b"content-type": b"text/event-stream"}
    assert client.body == [b"a", b"b", b""]
    assert [message["more_body"] for message in client.sent[1:]] == [True, True, False]
    assert (stage.ended, stage.in_request) == (1, [False, False])
    assert stage.held == [1, 1]


async def test_a_client_that_leaves_while_nothing_happens_ends_the_stream(stage: Stage) -> None:
    client = Client(stage.app)
    stage.chunks.put_nowait(b"a")
    await until(lambda: b"a" in client.body)
    client.leave()
    await client.task
    assert stage.ended == 1
    assert client.body == [b"a"]


async def test_a_client_that_leaves_while_it_is_being_sent_to_ends_the_stream(stage: Stage) -> None:
    client = Client(stage.app, stuck_from=1)
    stage.chunks.put_nowait(b"a")
    await until(lambda: b"a" in client.body)
    assert stage.held == [1, 0]
    client.leave()
    await client.task
    assert stage.ended == 1
    assert stage.held == [1, 1]


async def test_a_server_that_stops_cancels_the_stream(stage: Stage) -> None:
    client = Client(stage.app)
    stage.chunks.put_nowait(b"a")
    await until(lambda: b"a" in client.body)
    client.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client.task
    assert stage.ended == 1
    assert stage.held == [1, 1]


async def test_a_client_that_has_left_before_the_answer_gets_no_stream(stage: Stage) -> None:
    asked = asyncio.Event()

    @stage.app.before_request
    async def slow() -> None:
        asked.set()
        await asyncio.Event().wait()

    client = Client(stage.app)
    await asked.wait()
    client.leave()
    await client.task
    assert client.sent == []


async def test_a_client_that_leaves_just_when_it_is_answered_is_not_waited_for(stage: Stage) -> None:
    client = Client(stage.app)
    client.leave()
    await client.task
    assert client.body == []
    assert stage.held == [1, 1]


async def test_a_request_s_token_is_not_kept_with_its_stream(stage: Stage) -> None:
    client = Client(stage.app)
    client.scope["query_string"] = b"token=secret"
    client.scope["headers"].append((b"authorization", b"Bearer secret"))
    stage.chunks.put_nowait(b"a")
    await until(lambda: b"a" in client.body)
    assert "secret" not in repr(client.scope)
    stage.chunks.put_nowait(None)
    await client.task


async def test_who_asks_for_the_head_alone_gets_it_and_no_stream(stage: Stage) -> None:
    client = Client(stage.app, "HEAD")
    await client.task
    assert client.status == 200
    assert b"".join(client.body) == b""
    assert stage.ended == 0
    assert stage.held == [1, 1]


async def test_a_client_that_leaves_before_its_answer_has_begun_holds_nothing(stage: Stage) -> None:
    made = asyncio.Event()

    @stage.app.after_request
    async def slow(response: Response) -> Response:
        made.set()
        await asyncio.Event().wait()
        return response

    client = Client(stage.app)
    await made.wait()
    client.leave()
    await client.task
    assert client.sent == []
    assert stage.held == [1, 1]


async def test_an_answer_that_turns_into_an_error_takes_the_stream_with_it(stage: Stage) -> None:
    @stage.app.after_request
    async def fail(response: Response) -> Response:
        raise RuntimeError("a bug")

    client = Client(stage.app)
    await client.task
    assert client.status == 500
    assert STREAM not in client.scope
    assert stage.held == [1, 1]


async def test_other_answers_pass_as_they_are(stage: Stage) -> None:
    client = Client(stage.app, path="/unknown")
    await client.task
    assert client.status == 404
    assert client.sent[-1]["more_body"] is False


async def test_who_is_told_to_come_back_is_told_nothing_else() -> None:
    """As when the server stops while Quart's own task just has an answer: servers fail at a second one."""
    late = asyncio.Event()

    async def answers_late(send: Any) -> None:
        await late.wait()
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"late", "more_body": False})

    answering: list[asyncio.Task[None]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        answering.append(asyncio.ensure_future(answers_late(send)))
        await asyncio.shield(answering[0])

    client = Client(StreamMiddleware(app))  # type: ignore[arg-type]
    await until(lambda: answering)
    client.task.cancel()
    await asyncio.wait([client.task])
    late.set()
    await answering[0]
    assert [message["type"] for message in client.sent] == ["http.response.start", "http.response.body"]
    assert b"shutting down" in client.body[0]
