"""The listener of direct mode, with tables and a Realtime in the test's hands."""

import asyncio
from collections.abc import AsyncIterator
from itertools import repeat
from typing import Any

import pytest

from service.changes.change import FeedKey, Reader
from service.changes.differ import State
from service.changes.direct import DirectListener, nudges
from service.changes.listener import Sink
from service.errors import DatabaseRefused, DatabaseUnavailable
from service.metrics import Metrics
from service.tables import mapped
from tests.service.fakes import Generations, Heard, until
from tests.service.logged import logged

KEY = FeedKey("project", "11111111-1111-4111-8111-111111111111")
ANNE, BEN = (FeedKey(KEY.feed, KEY.key, Reader(name)) for name in ("anne", "ben"))


class FakeRows:
    """Rows in memory. ``hidden`` are those that a reader does not see; ``gate``, when set, holds readings back."""

    def __init__(self) -> None:
        self.there: dict[str, int] = {}
        self.hidden: dict[str, set[str]] = {}
        self.readings = 0
        self.fail: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def check(self) -> None:
        if self.fail is not None:
            raise self.fail

    async def read(self, key: FeedKey) -> State:
        self.readings += 1
        hidden = self.hidden.get(key.reader.token, set()) if key.reader else set()
        state = {"jobs": {id_: {"value": value} for id_, value in self.there.items() if id_ not in hidden}}
        if self.gate is not None:
            await self.gate.wait()
        else:
            await asyncio.sleep(0)
        if self.fail is not None:
            raise self.fail
        return state


class Bench:
    """``told`` is what was told of each key, as `I a`."""

    def __init__(self, reread_seconds: float) -> None:
        self.rows = FakeRows()
        self.heard = Heard()
        self.generations = Generations()
        self.listener = DirectListener(
            self.rows, self.rows, self.generations, lambda: 0.0, Metrics(), reread_seconds  # type: ignore[arg-type]
        )  # fmt: skip
        self.told: dict[FeedKey, list[str]] = {}
        bench = self

        class Telling(Heard):
            def changes(self, key: FeedKey, changes: Any) -> None:
                told = bench.told.setdefault(key, [])
                told += [f"{change.op} {change.row_id}" for change in changes]
                bench.heard.changes(key, changes)

            def live(self, key: FeedKey, live: bool, reason: str) -> None:
                bench.heard.live(key, live, reason)

            def lost(self, key: FeedKey, head: int, reason: str) -> None:
                bench.heard.lost(key, head, reason)

        sink: Sink = Telling()
        self.listener.bind(sink)

    async def ready(self) -> None:
        await until(lambda: self.generations.made and KEY in self.generations.newest.joined)
        self.generations.newest.hearing.ready(KEY)

    def nudge(self) -> None:
        self.generations.newest.hearing.record(KEY, {})


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A bench that reads for a reason alone."""
    bench = Bench(reread_seconds=600)
    yield bench
    await bench.listener.stop()


@pytest.fixture
async def rereading() -> AsyncIterator[Bench]:
    """A bench that reads all the time."""
    bench = Bench(reread_seconds=0.01)
    yield bench
    await bench.listener.stop()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.changes.direct.NUDGE_SECONDS", 0.0)


async def test_following_begins_with_what_is_there(bench: Bench) -> None:
    bench.rows.there = {"a": 1}
    assert await bench.listener.follow(KEY) == 0
    assert bench.told == {}
    snapshot = await bench.listener.snapshot(KEY, "", "")
    assert (snapshot.head, snapshot.rows) == (0, {"jobs": [{"value": 1}]})


async def test_what_happened_is_told_at_the_next_reading(rereading: Bench) -> None:
    rereading.rows.there = {"a": 1, "b": 1}
    await rereading.listener.follow(KEY)
    rereading.rows.there = {"a": 2, "c": 1}
    await rereading.heard.until(lambda heard: len(heard.revisions) == 3)
    assert rereading.told[KEY] == ["U a", "I c", "D b"]
    assert rereading.heard.revisions == [1, 2, 3]


async def test_a_nudge_has_it_read(bench: Bench) -> None:
    await bench.listener.follow(KEY)
    await bench.ready()
    await until(lambda: bench.rows.readings == 2)
    bench.rows.there = {"a": 1}
    bench.nudge()
    await bench.heard.until(lambda heard: heard.revisions == [1])


async def test_each_readiness_has_it_read(bench: Bench) -> None:
    await bench.listener.follow(KEY)
    for value in (1, 2):
        bench.rows.there = {"a": value}
        await bench.ready()
        await bench.heard.until(lambda heard, value=value: heard.revisions[-1:] == [value])
    assert bench.heard.words == ["live"]


async def test_a_nudge_during_a_reading_has_it_read_once_more(bench: Bench) -> None:
    await bench.listener.follow(KEY)
    bench.rows.gate = asyncio.Event()
    await bench.ready()
    await until(lambda: bench.rows.readings == 2)
    bench.rows.there = {"a": 1}
    for _ in range(100):
        bench.nudge()
    bench.rows.gate.set()
    await bench.heard.until(lambda heard: heard.revisions == [1])
    assert bench.rows.readings == 3


async def test_readers_share_a_channel_and_each_is_told_what_they_see(bench: Bench) -> None:
    bench.rows.hidden = {"ben": {"a"}}
    for key in (ANNE, BEN):
        await bench.listener.follow(key)
    await bench.ready()
    assert bench.heard.words == ["live", "live"]
    assert (bench.listener.keys, bench.listener.live_keys, bench.listener.is_live) == (2, 2, True)
    bench.rows.there = {"a": 1, "b": 1}
    bench.nudge()
    await bench.heard.until(lambda heard: len(heard.revisions) == 3)
    assert bench.told == {ANNE: ["I a", "I b"], BEN: ["I b"]}
    assert [generation.joined for generation in bench.generations.made] == [{KEY}]


async def test_the_channel_is_left_with_the_last_of_them(bench: Bench) -> None:
    for key in (ANNE, BEN):
        await bench.listener.follow(key)
    await bench.ready()
    bench.listener.unfollow(ANNE)
    assert bench.listener.is_key_live(BEN)
    bench.listener.unfollow(BEN)
    assert not bench.listener.is_key_live(BEN)
    await until(lambda: bench.generations.newest.closed)
    assert bench.listener.keys == 0


async def test_realtime_that_is_lost_is_told_and_readings_go_on(rereading: Bench) -> None:
    await rereading.listener.follow(KEY)
    await rereading.ready()
    await rereading.listener.wait_live(KEY, 60)
    rereading.generations.newest.end("cut")
    await rereading.heard.until(lambda heard: heard.words == ["live", "not live"])
    rereading.rows.there = {"a": 1}
    await rereading.heard.until(lambda heard: heard.revisions == [1])
    assert not rereading.listener.is_live


async def test_what_is_read_for_a_follow_that_has_ended_is_not_told_to_the_next(bench: Bench) -> None:
    """It counts from another reading: what the next one finds would seem to be known."""
    await bench.listener.follow(KEY)
    bench.rows.there = {"a": 1}
    gate = bench.rows.gate = asyncio.Event()
    asking = asyncio.create_task(bench.listener.snapshot(KEY, "", ""))
    await until(lambda: bench.rows.readings == 2)
    bench.rows.gate = None
    bench.listener.unfollow(KEY)
    await bench.listener.follow(KEY)
    gate.set()
    await asking
    assert bench.told == {}
    bench.rows.there = {"a": 2}
    assert (await bench.listener.snapshot(KEY, "", "")).head == 1
    assert bench.told == {KEY: ["U a"]}


async def test_a_snapshot_is_read_anew_and_what_it_shows_is_told(bench: Bench) -> None:
    await bench.listener.follow(KEY)
    bench.rows.there = {"a": 1}
    snapshot = await bench.listener.snapshot(KEY, "", "")
    assert (snapshot.head, snapshot.rows) == (1, {"jobs": [{"value": 1}]})
    assert bench.told[KEY] == ["I a"]
    assert (await bench.listener.snapshot(BEN, "", "")).head == 0  # of a key that nobody follows


async def test_who_asks_during_a_reading_shares_the_next(bench: Bench) -> None:
    await bench.listener.follow(KEY)
    bench.rows.gate = asyncio.Event()
    asking = [asyncio.create_task(bench.listener.snapshot(KEY, "", "")) for _ in range(5)]
    await until(lambda: bench.rows.readings == 2)
    later = [asyncio.create_task(bench.listener.snapshot(KEY, "", "")) for _ in range(5)]
    await asyncio.sleep(0)
    bench.rows.gate.set()
    await asyncio.gather(*asking, *later)
    assert bench.rows.readings == 3


async def test_a_database_that_is_down_is_asked_until_it_answers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.changes.direct.delays", lambda _: repeat(0.0))
    await bench.listener.follow(KEY)
    bench.rows.fail, bench.rows.there = DatabaseUnavailable("down"), {"a": 1}
    await bench.ready()
    await until(lambda: bench.rows.readings > 3)
    assert not bench.listener.available
    bench.rows.fail = None
    await bench.heard.until(lambda heard: heard.revisions == [1])
    assert bench.listener.available


@pytest.mark.parametrize("error", [DatabaseRefused("no"), ValueError("a bug")])
async def test_a_refusal_or_a_bug_is_told_and_it_is_tried_again(
    rereading: Bench, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    await rereading.listener.follow(ANNE)
    rereading.rows.fail = error
    readings = rereading.rows.readings
    await until(lambda: rereading.rows.readings > readings + 2)
    rereading.rows.fail, rereading.rows.there = None, {"a": 1}
    await rereading.heard.until(lambda heard: heard.revisions == [1])
    lines = logged(caplog, "service.changes.direct")
    assert {found["reader"] for _, _, found in lines} == {str(ANNE.reader)}
    if isinstance(error, DatabaseRefused):
        assert [message for _, message, _ in lines] == ["the database refuses to be read, it is tried again"]


@pytest.mark.parametrize("error", [DatabaseUnavailable("down"), DatabaseRefused("no")])
async def test_following_fails_where_nothing_can_be_read_and_leaves_nothing_behind(
    bench: Bench, error: Exception
) -> None:
    bench.rows.fail = error
    with pytest.raises(type(error)):
        await bench.listener.follow(KEY)
    assert bench.listener.keys == 0
    with pytest.raises(type(error)):
        await bench.listener.heads("project", [])
    bench.rows.fail = None
    assert await bench.listener.heads("project", [KEY.key]) == {KEY.key: 0}


async def test_catching_up_tells_what_is_new_of_those_who_may_read(bench: Bench) -> None:
    await bench.listener.follow(ANNE)
    bench.rows.there = {"a": 1}
    assert await bench.listener.catch_up([ANNE, BEN]) == {ANNE}
    assert bench.told == {ANNE: ["I a"]}
    bench.rows.fail = DatabaseRefused("her token has expired")
    assert await bench.listener.catch_up([ANNE]) == set()
    bench.rows.fail = DatabaseUnavailable("down")
    with pytest.raises(DatabaseUnavailable):
        await bench.listener.catch_up([ANNE])


async def test_more_than_a_page_should_be_told_one_by_one_is_told_as_a_loss(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.changes.direct.TOLD_LIMIT", 2)
    await bench.listener.follow(KEY)
    bench.rows.there = {"a": 1, "b": 1, "c": 1}
    assert (await bench.listener.snapshot(KEY, "", "")).head == 3
    assert bench.heard.words == ["lost before 3"]
    bench.rows.there = {"a": 2}
    await bench.listener.catch_up([KEY])
    assert bench.heard.words[1:] == ["lost before 6"]
    bench.rows.there = {"a": 3}
    await bench.listener.catch_up([KEY])
    assert bench.heard.revisions == [7]


async def test_nothing_is_known_of_the_past(bench: Bench) -> None:
    assert (await bench.listener.since(KEY, 7)).reset


def test_a_channel_hears_all_that_happens_to_the_tables_as_they_are_called() -> None:
    tables = mapped({"jobs": {"table": "tasks", "columns": {"project_id": "project"}}})
    assert [(binding.table, binding.column, binding.events.value) for binding in nudges(tables)] == [
        ("ingestion_sources", "project_id", "*"), ("tasks", "project", "*"), ("proposed_nodes", "project_id", "*"),
    ]  # fmt: skip


def test_a_readers_text_names_it_and_opens_nothing() -> None:
    assert ANNE.reader is not None
    assert "anne" not in repr(ANNE) + str(ANNE.reader)
    assert ANNE != BEN
    assert ANNE.named() == {"feed": "project", "key": KEY.key, "reader": str(ANNE.reader)}
    assert KEY.named() == {"feed": "project", "key": KEY.key}
