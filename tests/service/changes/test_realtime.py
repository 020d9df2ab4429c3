"""A generation on the PyPI client against the real stand-in, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from service.changes import realtime
from service.changes.change import FeedKey, from_record
from service.changes.realtime import RealtimeGeneration
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project


@dataclass
class Hearing:
    """Writes down what it is told. A key may be told ready again, whenever the server has subscribed anew."""

    readied: list[FeedKey] = field(default_factory=list)
    records: list[tuple[FeedKey, Mapping[str, Any] | None]] = field(default_factory=list)
    over: str | None = None
    _something: asyncio.Event = field(default_factory=asyncio.Event)

    def ready(self, key: FeedKey) -> None:
        self.readied.append(key)
        self._something.set()

    def record(self, key: FeedKey, record: Mapping[str, Any] | None) -> None:
        self.records.append((key, record))
        self._something.set()

    def end(self, reason: str) -> None:
        self.over = reason
        self._something.set()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            assert self.over is None, f"the generation ended: {self.over}"
            self._something.clear()
            await self._something.wait()

    async def until_ready(self, *keys: FeedKey) -> None:
        await self.until(lambda: set(keys) <= set(self.readied))


@pytest.fixture
def hearing() -> Hearing:
    return Hearing()


@pytest.fixture
async def generation(stack: StackFacts, hearing: Hearing) -> AsyncIterator[RealtimeGeneration]:
    generation = RealtimeGeneration(stack.supabase_url, stack.secret_key, hearing)
    await generation.open()
    ended = asyncio.ensure_future(generation.ended())
    ended.add_done_callback(lambda end: None if end.cancelled() else hearing.end(end.result()))
    yield generation
    ended.cancel()
    await generation.close()


async def test_a_joined_key_becomes_ready_and_its_changes_are_heard(
    generation: RealtimeGeneration, hearing: Hearing, project: Project
) -> None:
    key = FeedKey("project", project.id)
    generation.join(key)
    await hearing.until_ready(key)
    source = project.source()
    await hearing.until(lambda: hearing.records)
    [(heard_key, record)] = hearing.records
    assert heard_key == key
    assert record is not None
    change = from_record(record)
    assert (change.op, change.identity) == ("I", ("ingestion_sources", source))
    assert change.row is not None
    assert change.row["source_name"] == "a.md"


async def test_keys_hear_their_own_changes_alone(
    generation: RealtimeGeneration, hearing: Hearing, project: Project
) -> None:
    key, other = FeedKey("project", project.id), FeedKey("project", str(uuid4()))
    generation.join(other)
    generation.join(key)
    await hearing.until_ready(key, other)
    project.source()
    await hearing.until(lambda: hearing.records)
    assert [heard for heard, _ in hearing.records] == [key]


async def test_a_key_that_was_left_is_silent_and_the_generation_goes_on(
    generation: RealtimeGeneration, hearing: Hearing, project: Project
) -> None:
    left, kept = FeedKey("other", project.id), FeedKey("project", project.id)
    generation.join(left)
    generation.join(kept)
    await hearing.until_ready(left, kept)
    generation.leave(left)
    generation.leave(left)
    project.source()
    await hearing.until(lambda: hearing.records)
    assert [heard for heard, _ in hearing.records] == [kept]


async def test_a_key_that_is_left_and_joined_again_at_once_goes_on_and_so_do_the_others(
    generation: RealtimeGeneration, hearing: Hearing, project: Project
) -> None:
    """The farewell to the first is on its way when the second is joined."""
    key, other = FeedKey("project", project.id), FeedKey("other", project.id)
    generation.join(other)
    generation.join(key)
    await hearing.until_ready(key, other)
    for _ in range(5):
        generation.leave(key)
        generation.join(key)
        hearing.readied.clear()
        await hearing.until_ready(key)
    project.source()
    await hearing.until(lambda: len(hearing.records) == 2)
    assert {heard for heard, _ in hearing.records} == {key, other}


async def test_a_change_over_a_mebibyte_is_heard_without_its_row(
    generation: RealtimeGeneration, hearing: Hearing, project: Project
) -> None:
    key = FeedKey("project", project.id)
    generation.join(key)
    await hearing.until_ready(key)
    project.execute(
        "insert into proposed_nodes (project_id, title, body) values (%s, 'big', repeat('x', 1100000))", project.id
    )
    ended = asyncio.ensure_future(generation.ended())
    something = asyncio.ensure_future(hearing.until(lambda: hearing.records))
    # Either way nobody takes it for whole: a hole in the log, or the end of a client that can't bear such a frame.
    done, pending = await asyncio.wait({ended, something}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    assert done
    assert all(record is None for _, record in hearing.records)


async def test_an_exception_in_a_callback_ends_the_generation(
    generation: RealtimeGeneration, hearing: Hearing, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = FeedKey("project", project.id)
    generation.join(key)
    await hearing.until_ready(key)

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(hearing, "record", fail)
    project.source()
    assert await generation.ended() == "callback failed: RuntimeError('a bug')"


async def test_a_wrong_key_is_refused_at_the_door(stack: StackFacts, hearing: Hearing) -> None:
    generation = RealtimeGeneration(stack.supabase_url, "sb_secret_wrong", hearing)
    with pytest.raises(Exception, match="401"):
        await generation.open()
    await generation.close()


async def test_nobody_there(hearing: Hearing) -> None:
    generation = RealtimeGeneration(f"http://127.0.0.1:{unused_port()}", "sb_secret_x", hearing)
    with pytest.raises(OSError, match="Connect call failed"):
        await generation.open()
    await generation.close()


@dataclass
class RawServer:
    """A Realtime that answers as a test says: what a join gets, frame by frame; None closes the socket."""

    answers: list[dict[str, Any] | None]
    sockets: list[web.WebSocketResponse] = field(default_factory=list)

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            frame = message.json()
            if frame["event"] == "phx_join":
                for answer in self.answers:
                    if answer is None:
                        await socket.close(code=1011)
                    else:
                        await socket.send_json({"topic": frame["topic"], "ref": frame["ref"], **answer})
        return socket


@pytest.fixture
async def raw() -> AsyncIterator[tuple[RawServer, str]]:
    server = RawServer([])
    app = web.Application()
    app.router.add_get("/realtime/v1/websocket", server.socket)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    port = unused_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield server, f"http://127.0.0.1:{port}"
    await runner.cleanup()


KEY = FeedKey("project", "11111111-1111-4111-8111-111111111111")
JOINED: dict[str, Any] = {
    "event": "phx_reply",
    "payload": {
        "status": "ok",
        "response": {
            "postgres_changes": [
                {"id": 1, "event": "INSERT", "schema": "public", "table": "feed_changes", "filter": f"key=eq.{KEY.key}"}
            ]
        },
    },
}


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([None], "CHANNEL_ERROR"),
        ([{"event": "phx_reply", "payload": {"status": "error", "response": {"reason": "no"}}}], "CHANNEL_ERROR"),
        ([JOINED, None], "CHANNEL_ERROR"),
        ([JOINED, {"event": "phx_close", "payload": {}}], "CLOSED"),
        (
            [
                JOINED,
                {
                    "event": "system", "ref": None,
                    "payload": {
                        "channel": "x", "extension": "postgres_changes", "status": "error",
                        "message": "Unable to subscribe",
                    },
                },
            ],
            "CHANNEL_ERROR",
        ),
    ],
)  # fmt: skip
async def test_whatever_goes_wrong_with_a_channel_ends_the_generation(
    raw: tuple[RawServer, str], hearing: Hearing, answers: list[dict[str, Any] | None], reason: str
) -> None:
    server, url = raw
    server.answers = answers
    generation = RealtimeGeneration(url, "sb_secret_x", hearing)
    await generation.open()
    generation.join(KEY)
    assert reason in await generation.ended()
    await generation.close()
    assert hearing.readied == []


async def test_a_channel_that_is_joined_but_never_ready_ends_the_generation(
    raw: tuple[RawServer, str], hearing: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime, "READY_SECONDS", 0.05)
    server, url = raw
    server.answers = [JOINED]
    generation = RealtimeGeneration(url, "sb_secret_x", hearing)
    await generation.open()
    generation.join(KEY)
    assert "not subscribed within" in await generation.ended()
    await generation.close()


async def test_a_socket_without_channels_that_the_server_closes_ends_the_generation_at_the_next_join(
    raw: tuple[RawServer, str], hearing: Hearing
) -> None:
    server, url = raw
    generation = RealtimeGeneration(url, "sb_secret_x", hearing)
    await generation.open()
    while not server.sockets:
        await asyncio.sleep(0.001)
    await server.sockets[0].close(code=1001)
    server.answers = [None]
    generation.join(KEY)
    assert await generation.ended()
    await generation.close()


async def test_closing_twice_or_before_opening_is_no_error(raw: tuple[RawServer, str], hearing: Hearing) -> None:
    generation = RealtimeGeneration(raw[1], "sb_secret_x", hearing)
    await generation.close()
    await generation.close()
