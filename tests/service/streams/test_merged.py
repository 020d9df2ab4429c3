"""Several sessions as one flow: whose each message is, how one ends and how all do, and how little a slow one holds."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.changes.change import FeedKey
from service.changes.log import Page, Snapshot
from service.errors import DatabaseUnavailable
from service.events.endings import Ending
from service.events.wire import Encoded
from service.feeds.cursor import parse_each
from service.feeds.hub import Hub
from service.feeds.outbox import Budget
from service.metrics import Metrics
from service.streams.frames import item_writer
from service.streams.merged import KeySession, Merged, Part
from service.streams.session import Request, Session
from service.streams.several import Several
from tests.service.fakes import FakeLog, until
from tests.service.feeds.test_hub import START, FakeListener
from tests.service.tiny import TinyFeed, make_change

HOUR = 3600.0
KEYS = ("a", "b", "c")


class KeyedLog:
    """A log for each key."""

    def __init__(self) -> None:
        self.of = {key: FakeLog(floor=START) for key in KEYS}

    async def since(self, key: FeedKey, cursor: int) -> Page:
        return await self.of[key.key].since(key, cursor)

    async def heads(self, feed: str, keys: list[str]) -> dict[str, int]:
        return {key: self.of[key].head for key in keys}

    async def snapshot(self, function: str, argument: str, key: str) -> Snapshot:
        return await self.of[key].snapshot(function, argument, key)


@dataclass
class Reader:
    """Takes a flow step by step; a step that waits goes on at the next."""

    merged: Merged
    parts: list[Part] = field(default_factory=list)
    ended: bool = False

    def __post_init__(self) -> None:
        self._flow = self.merged.flow()

    async def step(self) -> bool:
        try:
            self.parts += await anext(self._flow)
        except StopAsyncIteration:
            self.ended = True
        return not self.ended

    async def until(self, type_: str, key: str | None) -> dict[str, Any]:
        while not (found := [body for body in self.of(key) if body["type"] == type_]):
            assert await self.step(), f"ended without {type_}"
        return found[-1]

    async def all(self) -> None:
        while await self.step():
            pass

    def of(self, key: str | None) -> list[dict[str, Any]]:
        return [json.loads(part.encoded.data) for part in self.parts if part.key == key and part.encoded is not None]

    async def close(self) -> None:
        await self._flow.aclose()


class Stage:
    """A hub with a topic a key."""

    def __init__(self, outbox_bytes: int = 1 << 20) -> None:
        self.log = KeyedLog()
        self.hub = Hub(self.log, {"tiny": TinyFeed()}, 60, outbox_bytes, Metrics())  # type: ignore[arg-type]
        self.hub.bind(FakeListener(self.log))  # type: ignore[arg-type]
        self.budget = Budget(outbox_bytes)

    def commit(self, key: str) -> int:
        revision = self.log.of[key].head + 1
        change = self.log.of[key].append(make_change(revision, "I", f"r{revision}"))
        self.hub.changes(FeedKey("tiny", key), [change])
        return revision

    async def offered(self) -> None:
        """Once viewers have been offered all that was written."""
        await until(lambda: not any(topic._pending for topic in self.hub._topics.values()))

    def session(self, key: str, cursor: int | None = None, *, snapshot: bool = False) -> KeySession:
        wanted = Request(cursor, snapshot, math.inf, math.inf, self.budget)
        return Session(self.hub, FeedKey("tiny", key), wanted, item_writer(None), HOUR, lambda: 0.0, None, "s")

    def merged(
        self, *sessions: KeySession, expires_in: float = HOUR, max_age: float = HOUR, stays: bool = False
    ) -> Merged:
        return Merged(sessions, time.time() + expires_in, max_age, HOUR, stays=stays)

    async def reader(self, *keys: str, **asked: Any) -> Reader:
        """Once all are connected."""
        reader = Reader(self.merged(*(self.session(key) for key in keys), **asked))
        for key in keys:
            await reader.until("connected", key)
        return reader


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.hub.close()


async def test_what_happens_to_each_is_told_as_its_own(stage: Stage) -> None:
    reader = await stage.reader("a", "b")
    for key in ("b", "a", "b"):
        revision = stage.commit(key)
        await reader.step()
        assert (reader.parts[-1].key, reader.parts[-1].id) == (key, revision)
    await reader.close()


async def test_one_that_is_done_is_told_so_and_the_others_go_on(stage: Stage) -> None:
    sessions = [stage.session(key) for key in ("a", "b")]
    reader = Reader(stage.merged(*sessions))
    for key in ("a", "b"):
        await reader.until("connected", key)
    stage.commit("a")
    sessions[0].end(Ending.ACCESS_REVOKED)
    assert (await reader.until("stream_end", "a"))["reason"] == "access_revoked"
    assert [body["type"] for body in reader.of("a")] == ["connected", "stream_end"]
    stage.commit("b")
    await reader.until("new", "b")
    sessions[1].end(Ending.COMPLETED)
    await reader.all()
    assert reader.of(None) == [{"type": "stream_end", "reason": "completed", "reconnect": False}]
    assert stage.hub.viewers == 0


async def test_a_right_that_ends_takes_back_what_nobody_has_written_yet(stage: Stage) -> None:
    sessions = [stage.session(key) for key in ("a", "b")]
    reader = Reader(stage.merged(*sessions))
    for key in ("a", "b"):
        await reader.until("connected", key)
    stage.commit("a")
    await until(lambda: reader.merged._offers)
    for session in sessions:
        session.end(Ending.ACCESS_REVOKED)
    await reader.all()
    assert [body["type"] for key in ("a", "b") for body in reader.of(key)] == ["connected", "stream_end"] * 2


@pytest.mark.parametrize("ending", [Ending.SHUTDOWN, Ending.TOO_SLOW, Ending.ERROR])
async def test_what_lets_a_page_come_back_ends_all_and_is_said_once(stage: Stage, ending: Ending) -> None:
    sessions = [stage.session(key) for key in KEYS]
    reader = Reader(stage.merged(*sessions))
    for key in KEYS:
        await reader.until("connected", key)
    sessions[1].end(ending)
    await reader.all()
    told = [part.encoded.type for part in reader.parts if part.encoded is not None]
    assert told.count("stream_end") == 1
    assert told.count("error") == (ending is Ending.ERROR)
    assert reader.of(None) == [{"type": "stream_end", "reason": ending.reason, "reconnect": True}]
    assert stage.hub.viewers == 0


async def test_at_the_end_what_waits_of_each_is_told_first(stage: Stage) -> None:
    reader = await stage.reader("a", "b")
    for key in ("a", "b"):
        stage.commit(key)
        stage.commit(key)
    await stage.offered()
    draining = asyncio.ensure_future(stage.hub.drain(60))
    await reader.all()
    await draining
    for key in ("a", "b"):
        assert [body["value"] for body in reader.of(key) if body["type"] == "new"] == [101, 102]


async def test_when_the_token_ends_nothing_more_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = await stage.reader("a", "b")
    stage.commit("a")
    await until(lambda: reader.merged._offers)
    later = time.time() + 2 * HOUR
    monkeypatch.setattr(time, "time", lambda: later)
    await reader.all()
    assert reader.of(None) == [{"type": "stream_end", "reason": "token_expired", "reconnect": True}]
    assert [body["type"] for body in reader.of("a")] == ["connected"]


async def test_a_warning_comes_once_a_token_and_a_new_token_goes_on(stage: Stage) -> None:
    reader = await stage.reader("a", expires_in=30)
    assert (await reader.until("reauth", None))["expiresAt"]
    revision = stage.commit("a")
    await reader.step()
    assert reader.parts[-1].id == revision
    reader.merged.renew(time.time() + 40)
    await reader.step()
    reader.merged.renew(time.time() + HOUR)
    stage.commit("a")
    await reader.step()
    assert [body["type"] for body in reader.of(None)] == ["reauth", "reauth"]
    await reader.close()


async def test_age_ends_all_with_shutdown(stage: Stage) -> None:
    reader = Reader(stage.merged(stage.session("a"), stage.session("b"), max_age=0.01))
    await reader.all()
    assert reader.of(None)[-1]["reason"] == "shutdown"


async def test_a_database_that_can_not_be_asked_ends_all_with_an_error(stage: Stage) -> None:
    reader = Reader(stage.merged(stage.session("a"), stage.session("b", cursor=START - 1)))
    stage.log.of["b"].fail = DatabaseUnavailable("down")
    await reader.all()
    assert [body["type"] for body in reader.of("b")][-1] == "error"
    assert reader.of(None)[-1]["reason"] == "error"


async def test_sessions_come_and_go_while_it_stays(stage: Stage) -> None:
    reader = Reader(stage.merged(stage.session("a"), stays=True))
    left: list[str] = []
    await reader.until("connected", "a")
    reader.merged.add(stage.session("b"), lambda: left.append("b"))
    await reader.until("connected", "b")
    stage.commit("a")
    await until(lambda: reader.merged._offers)
    await reader.merged.remove("a")
    await reader.merged.remove("nobody")
    revision = stage.commit("b")
    await reader.step()
    assert reader.parts[-1].id == revision
    assert [body["type"] for body in reader.of("a")] == ["connected"]
    assert left == []
    await reader.merged.remove("b")
    assert left == ["b"]
    reader.merged.end(Ending.SHUTDOWN)
    await reader.all()
    assert stage.hub.viewers == 0


async def test_what_is_said_beside_is_told_in_its_turn(stage: Stage) -> None:
    reader = Reader(stage.merged(stays=True))
    saying = asyncio.ensure_future(reader.merged.say(Encoded("hello", b'{"type":"hello"}'), "a"))
    await reader.until("hello", "a")
    assert not saying.done()
    stepping = asyncio.ensure_future(reader.step())
    await saying
    reader.merged.end(Ending.SHUTDOWN)
    await stepping


async def test_whoever_leaves_takes_all_viewers_along(stage: Stage) -> None:
    reader = await stage.reader(*KEYS)
    assert stage.hub.viewers == 3
    await reader.close()
    assert stage.hub.viewers == 0


async def test_a_reader_who_takes_nothing_is_too_slow_for_all_of_them_together() -> None:
    """Less waits for each than for one alone, and more for all than may: the reader has one budget."""
    stage = Stage(outbox_bytes=10_000)
    reader = await stage.reader(*KEYS)
    for _ in range(15):  # of about 400 bytes
        for key in KEYS:
            stage.commit(key)
        await stage.offered()
    await reader.all()
    assert reader.of(None) == [{"type": "stream_end", "reason": "too_slow", "reconnect": True}]
    assert stage.budget.left == 10_000
    await stage.hub.close()


# Cuts


@dataclass
class CutPage:
    """Reads bytes, and goes on from the last id that it saw."""

    stage: Stage
    told: dict[str, list[int]] = field(default_factory=lambda: {key: [] for key in KEYS})
    last: str = ".".join([str(START)] * 3)

    def open(self) -> None:
        cursors = parse_each(self.last, 3)
        sessions = [self.stage.session(key, at) for key, at in zip(KEYS, cursors, strict=True)]
        how: dict[str, Any] = {"named": False, "retry_milliseconds": 1, "keepalive_seconds": HOUR}
        self._chunks = Several("s", self.stage.merged(*sessions), TinyFeed(), KEYS, cursors, **how).chunks()

    async def read(self) -> None:
        for block in (await anext(self._chunks)).decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            if "data" in fields:
                body = json.loads(fields["data"])
                if body["type"] == "new":
                    self.told[body["key"]].append(body["value"])
            if "id" in fields:
                steps = zip(parse_each(self.last, 3), parse_each(fields["id"], 3), strict=True)
                assert all(old <= new for old, new in steps)
                self.last = fields["id"]

    async def cut(self) -> None:
        await self._chunks.aclose()


@settings(max_examples=60)
@given(st.lists(st.sampled_from([*KEYS, "read", "read", "cut"]), max_size=25))
def test_however_it_is_cut_each_key_is_told_in_order_and_nothing_is_missed(steps: list[str]) -> None:
    async def run() -> None:
        stage = Stage()
        page = CutPage(stage)
        page.open()
        for step in steps:
            if step in KEYS:
                stage.commit(step)
            elif step == "cut":
                await page.cut()
                page.open()
            elif page.last != heads(stage):
                await page.read()
        while page.last != heads(stage):
            await page.read()
        await page.cut()
        for key in KEYS:
            written = list(range(START + 1, stage.log.of[key].head + 1))
            assert sorted(set(page.told[key])) == written
        assert stage.hub.viewers == 0
        await stage.hub.close()

    asyncio.run(run())


def heads(stage: Stage) -> str:
    return ".".join(str(stage.log.of[key].head) for key in KEYS)
