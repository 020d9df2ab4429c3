"""A stream from its first byte to its last, read as a page reads it."""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.changes.change import Change
from service.errors import DatabaseRefused, DatabaseUnavailable
from service.events.endings import Ending
from service.feeds.delivery import Delivery
from service.streams import frames
from tests.service.fakes import KEY, until
from tests.service.feeds.test_hub import START
from tests.service.feeds.test_outbox import State, logs, reduce, tell
from tests.service.logged import logged
from tests.service.streams.stages import HOUR, Page, Stage, opened
from tests.service.tiny import ShopFeed, TinyFeed, make_change, sold_out


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with opened() as stage:
        yield stage


async def test_connected_comes_first_with_the_heads_id(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    assert page.frames == [("message", "103", {"type": "connected", "rowId": KEY.key, "value": 103, "other": None})]


async def test_changes_follow_with_their_ids(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    stage.commit(104)
    await page.read()
    stage.commit(105)
    await page.read()
    assert page.ids == [("connected", "103"), ("new", "104"), ("new", "105")]


async def test_only_the_last_message_of_a_revision_carries_its_id(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    stage.hub.changes(KEY, [stage.log.append(make_change(104, "D", "a")), stage.log.append(make_change(105, "I", "a"))])
    await page.read()
    assert page.ids[1:] == [("gone", None), ("new", "105")]


async def test_resuming_tells_what_was_missed_and_starts_from_the_cursor(stage: Stage) -> None:
    page = stage.page(cursor=101)
    await page.read_until("new")
    assert page.ids == [("connected", "101"), ("new", "102"), ("new", "103")]


async def test_a_cut_right_after_connected_misses_nothing(stage: Stage) -> None:
    page = stage.page(cursor=101)
    await page.read()
    await page.close()
    again = stage.page(cursor=int(page.last_id))
    await again.read_until("new")
    assert [id_ for _, id_ in again.ids] == ["101", "102", "103"]


async def test_what_happens_during_a_replay_comes_after_it_and_once(stage: Stage) -> None:
    stage.topic.ring.restart(103)
    page = stage.page(cursor=101)
    await page.read()
    stage.log.gate = asyncio.Event()
    reading = asyncio.ensure_future(page.read_until("new"))
    await until(lambda: "since 101" in stage.log.calls)
    stage.commit(104)
    stage.log.gate.set()
    await reading
    stage.commit(105)
    await page.read()
    while len(page.ids) < 5:
        await page.read()
    assert [id_ for _, id_ in page.ids] == ["101", "102", "103", "104", "105"]


async def test_a_snapshot_comes_second_and_carries_the_id_that_connected_leaves_out(stage: Stage) -> None:
    page = stage.page(snapshot=True)
    await page.read_until("snapshot")
    assert page.ids == [("connected", None), ("snapshot", "103")]
    assert page.frames[1][2]["rows"] == [{"type": "row", "rowId": "a", "value": 1, "other": None}]


async def test_what_the_snapshot_has_is_not_told_again(stage: Stage) -> None:
    page = stage.page(snapshot=True)
    await page.read()
    stage.commit(104)  # before the snapshot is read
    await page.read()
    stage.commit(105)
    await page.read()
    assert page.ids == [("connected", None), ("snapshot", "104"), ("new", "105")]


async def test_a_cursor_beats_a_snapshot(stage: Stage) -> None:
    page = stage.page(snapshot=True, cursor=102)
    await page.read_until("new")
    assert page.types == ["connected", "new"]


async def test_a_cursor_that_makes_no_sense_here_is_a_reset_with_a_snapshot(stage: Stage) -> None:
    for cursor in (START - 1, 10**15):
        page = stage.page(cursor=cursor)
        await page.read_until("snapshot")
        assert page.ids == [("connected", str(cursor)), ("reset", None), ("snapshot", "103")]
        await page.close()


async def test_after_a_reset_from_a_cursor_far_ahead_changes_are_told(stage: Stage) -> None:
    page = stage.page(cursor=10**15)
    await page.read_until("snapshot")
    stage.commit(104)
    await page.read()
    assert page.ids[-1] == ("new", "104")


async def test_a_loss_on_the_way_is_a_reset_with_a_snapshot_and_the_stream_goes_on(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    stage.elsewhere(500)
    stage.hub.lost(KEY, 500, "pruned")
    await page.read_until("snapshot")
    stage.commit(501)
    await page.read()
    assert page.ids[1:] == [("reset", None), ("snapshot", "500"), ("new", "501")]


async def test_a_reset_waits_for_a_database_that_is_down(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    stage.hub.lost(KEY, 103, "pruned")
    stage.log.fail = DatabaseUnavailable("down")
    await page.read()
    reading = asyncio.ensure_future(page.read_until("snapshot"))
    await until(lambda: stage.log.calls.count("snapshot") >= 2)
    assert page.types == ["connected", "reset"]
    stage.log.fail = None
    await reading


async def test_what_happens_before_the_snapshot_of_a_reset_is_in_it(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    stage.hub.lost(KEY, 103, "pruned")
    stage.log.fail = DatabaseUnavailable("down")
    await page.read()
    reading = asyncio.ensure_future(page.read_until("snapshot"))
    await until(lambda: "snapshot" in stage.log.calls)
    stage.commit(104)
    stage.log.fail = None
    await reading
    stage.commit(105)
    await page.read()
    assert page.ids[1:] == [("reset", None), ("snapshot", "104"), ("new", "105")]


async def test_waiting_for_a_snapshot_ends_when_the_stream_does(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    stage.hub.lost(KEY, 103, "pruned")
    stage.log.fail = DatabaseUnavailable("down")
    reading = asyncio.ensure_future(page.read_all())
    await until(lambda: "snapshot" in stage.log.calls)
    await stage.hub.drain(60)
    await reading
    assert page.types == ["connected", "reset", "stream_end"]


async def test_a_database_that_refuses_the_snapshot_of_a_reset_ends_the_stream(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    stage.hub.lost(KEY, 103, "pruned")
    stage.log.fail = DatabaseRefused("permission denied")
    await page.read_all()
    assert page.types == ["connected", "reset", "error", "stream_end"]


async def test_named_events(stage: Stage) -> None:
    page = stage.page(named=True)
    await page.read()
    stage.commit(104)
    await page.read()
    assert [name for name, _, _ in page.frames] == ["connected", "new"]


async def test_types_narrow_what_is_told_and_keepalives_move_the_id_past_the_rest(stage: Stage) -> None:
    page = stage.page(types=frozenset({"changed"}), keepalive=0.02)
    await page.read()
    stage.commit(104)
    while page.last_id != "104":
        await page.read()
    assert page.types == ["connected"]
    stage.hub.changes(KEY, [stage.log.append(make_change(105))])
    await page.read_until("changed")
    assert page.ids[-1] == ("changed", "105")


async def test_after_a_reset_no_keepalive_goes_back(stage: Stage) -> None:
    page = stage.page(types=frozenset({"changed"}), keepalive=0.02)
    await page.read()
    stage.commit(104)
    await asyncio.sleep(0)
    stage.elsewhere(500)
    stage.hub.lost(KEY, 500, "pruned")
    await page.read_until("snapshot")
    comments = page.comments
    while page.comments == comments:
        await page.read()
    assert page.last_id == "500"


async def test_the_id_is_on_the_last_message_that_is_wanted(stage: Stage) -> None:
    page = stage.page(types=frozenset({"gone"}))
    await page.read()
    stage.hub.changes(KEY, [stage.log.append(make_change(104, "D", "a")), stage.log.append(make_change(105, "I", "a"))])
    await page.read()
    assert page.ids[1:] == [("gone", "105")]


async def test_silence_is_broken_by_comments(stage: Stage) -> None:
    page = stage.page(keepalive=0.01)
    while page.comments < 3:
        await page.read()
    assert page.types == ["connected"]


@pytest.fixture
async def pass_time(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[float], None]]:
    """Puts the event loop's clock forward, in s; nothing else of time changes."""
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, [0.0]

    def forward(seconds: float) -> None:
        ahead[0] += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + ahead[0])
    yield forward
    monkeypatch.undo()


async def settled(reading: asyncio.Future[bool]) -> bool:
    """Whether a chunk has come, once all that was due has happened."""
    await asyncio.sleep(0.01)
    return reading.done()


@pytest.mark.parametrize("takes", [False, True])
async def test_silence_is_counted_from_the_last_write(
    stage: Stage, pass_time: Callable[[float], None], takes: bool
) -> None:
    page = stage.page(keepalive=1000, takes=takes)
    await page.read()
    reading = asyncio.ensure_future(page.read())
    assert not await settled(reading)
    pass_time(900)
    stage.commit(104)
    if not takes:
        await reading
        reading = asyncio.ensure_future(page.read())
    assert not await settled(reading)
    pass_time(900)
    assert not await settled(reading)
    pass_time(101)
    await reading
    assert (page.types, page.comments) == (["connected", "new"], 1)


@pytest.mark.parametrize("takes", [False, True])
async def test_what_a_page_does_not_want_does_not_break_the_silence(
    stage: Stage, pass_time: Callable[[float], None], takes: bool
) -> None:
    """Else nothing would come for as long as such things happen, and the page take its connection for dead."""
    page = stage.page(keepalive=1000, types=frozenset({"gone"}), takes=takes)
    await page.read()
    reading = asyncio.ensure_future(page.read())
    for revision in (104, 105):
        assert not await settled(reading)
        pass_time(501)
        stage.commit(revision)
    await reading
    assert (page.types, page.comments, page.last_id) == (["connected"], 1, "105")


async def test_a_page_that_waits_is_told_in_the_topics_own_step(stage: Stage) -> None:
    page = stage.page(takes=True)
    await page.read()
    reading = asyncio.ensure_future(page.read())
    assert not await settled(reading)
    stage.commit(104)
    assert page.ids == [("connected", "103"), ("new", "104")]
    assert stage.hub.metrics.deliveries.counts[KEY.feed] == 1
    page.takes = False  # the connection is not ready any more
    stage.topic._flushed_at = 0.0
    stage.commit(105)
    await reading
    assert page.ids[1:] == [("new", "104"), ("new", "105")]


async def test_what_is_longer_than_a_write_goes_its_usual_way(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a page whose right ends in the middle is not told the rest."""
    monkeypatch.setattr(frames, "WRITE_BYTES", 1)
    page = stage.page(takes=True)
    await page.read()
    reading = asyncio.ensure_future(page.read())
    assert not await settled(reading)
    stage.topic._flushed_at = asyncio.get_running_loop().time()
    stage.commit(104, 105)
    await reading
    assert page.ids == [("connected", "103"), ("new", "104")]
    page.session.end(Ending.ACCESS_REVOKED)
    await page.read_all()
    assert page.types[2:] == ["stream_end"]


async def test_one_that_cannot_be_told_leaves_the_others_their_news(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    pages = [stage.page(takes=True) for _ in range(3)]
    for page in pages:
        await page.read()
        page.write_now = broken  # type: ignore[method-assign]
    del pages[-1].write_now
    reading = [asyncio.ensure_future(page.read()) for page in pages]
    await asyncio.sleep(0.01)
    stage.commit(104)
    await asyncio.gather(*reading[:2])
    assert [page.types for page in pages] == [["connected", "new"]] * 3
    told = [about["stream"] for _, _, about in logged(caplog, "service.streams.session")]
    assert sorted(told) == sorted(page.session.id for page in pages[:2])
    reading[2].cancel()


async def test_one_that_is_over_needs_no_garbage_collector(stage: Stage) -> None:
    gc.disable()
    try:
        page = stage.page(takes=True)
        await page.read()
        session = weakref.ref(page.session)
        reading = asyncio.ensure_future(page.read())
        assert not await settled(reading)
        reading.cancel()
        await asyncio.wait([reading])
        del reading
        await page.close()
        vars(page).clear()
        assert session() is None
    finally:
        gc.enable()


def broken(chunk: bytes) -> bool:
    raise RuntimeError("a transport that fails")


async def test_a_token_that_has_expired_is_told_nothing_in_that_step(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = stage.page(takes=True)
    await page.read()
    reading = asyncio.ensure_future(page.read_all())
    await asyncio.sleep(0.01)
    now = time.time()
    monkeypatch.setattr("service.streams.lifetime.time.time", lambda: now + HOUR)
    stage.commit(104)
    await reading
    assert page.types == ["connected", "stream_end"]
    assert page.frames[-1][2]["reason"] == "token_expired"


async def test_an_old_stream_ends_however_much_happens_on_it(stage: Stage, pass_time: Callable[[float], None]) -> None:
    page = stage.page(max_age=3000, keepalive=2500, expires_at=time.time() + 2 * HOUR)
    await page.read()
    for revision in range(104, 107):
        reading = asyncio.ensure_future(page.read())
        assert not await settled(reading)
        pass_time(999)
        stage.commit(revision)
        await reading
    reading = asyncio.ensure_future(page.read_all())
    pass_time(10)
    await reading
    assert page.types == ["connected", "new", "new", "new", "stream_end"]
    assert page.frames[-1][2]["reason"] == "shutdown"


async def test_who_comes_while_the_upstream_is_away_is_told_so(stage: Stage) -> None:
    await stage.hub.topic(KEY)
    stage.hub.live(KEY, False, "cut")
    page = stage.page()
    await page.read_until("live")
    assert [(body["type"], body.get("live")) for _, _, body in page.frames] == [("connected", None), ("live", False)]


async def test_losing_the_upstream_and_having_it_back_is_told(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    stage.hub.live(KEY, False, "cut")
    await page.read()
    stage.hub.live(KEY, True, "subscribed")
    await page.read()
    assert [(body["type"], body.get("live")) for _, _, body in page.frames[1:]] == [("live", False), ("live", True)]


async def test_a_stream_ends_with_its_token(stage: Stage) -> None:
    page = stage.page(expires_at=time.time() + 0.02)
    await page.read_all()
    assert page.frames[-1][2] == {"type": "stream_end", "reason": "token_expired", "reconnect": True}


async def test_a_wall_clock_set_forward_ends_what_has_expired_at_the_next_turn(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = stage.page(expires_at=time.time() + HOUR, keepalive=0.05)
    await page.read()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 2 * HOUR)
    await page.read_all()
    assert page.types == ["connected", "stream_end"]
    assert page.frames[-1][2]["reason"] == "token_expired"


async def test_a_wall_clock_set_back_does_not_end_a_stream_early(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    page = stage.page(expires_at=time.time() + 0.05, keepalive=0.1)
    await page.read()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - HOUR)
    while page.comments < 3:
        assert await page.read()
    monkeypatch.setattr(time, "time", now)
    await page.read_all()
    assert page.frames[-1][2]["reason"] == "token_expired"


async def test_no_leap_of_the_wall_clock_changes_what_is_not_of_the_token(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = stage.page(expires_at=1e12, max_age=0.2, keepalive=0.02)
    await page.read()
    for leap in (1e9, -1e9):
        monkeypatch.setattr(time, "time", lambda leap=leap: leap)
        comments = page.comments
        while page.comments < comments + 2:
            await page.read()
    await page.read_all()
    assert page.frames[-1][2]["reason"] == "shutdown"


async def test_a_stream_that_is_old_enough_is_asked_to_come_back(stage: Stage) -> None:
    page = stage.page(max_age=0.02)
    await page.read_all()
    assert page.frames[-1][2] == {"type": "stream_end", "reason": "shutdown", "reconnect": True}


async def test_what_waits_is_sent_before_the_end(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    stage.commit(104)
    draining = asyncio.ensure_future(stage.hub.drain(60))
    await page.read_all()
    await draining
    assert page.types == ["connected", "new", "stream_end"]


async def test_what_the_tick_has_held_back_is_told_before_a_farewell_that_says_so(stage: Stage) -> None:
    """As when the service moves to the change log: a page comes back with the cursor, and would never hear of it."""
    page = stage.page()
    await page.read()
    reading = asyncio.ensure_future(page.read_all())
    await asyncio.sleep(0.01)
    stage.commit(104, 105)
    await stage.hub.drain(60, lambda _: Ending("shutdown", reconnect=True, cursor=105))
    await reading
    assert page.ids == [("connected", "103"), ("new", "104"), ("new", "105"), ("stream_end", "105")]


async def test_what_was_read_before_a_restart_is_not_told_behind_it(stage: Stage) -> None:
    """Of a database restored to an older state, whose revisions are lower: nothing of it would seem to be new."""
    stage.log.gate = asyncio.Event()
    snapshot, resumed = stage.page(snapshot=True), stage.page(cursor=101)
    stage.topic.ring.restart(103)  # too short for either
    for page in (snapshot, resumed):
        await page.read()
    reading = [asyncio.ensure_future(page.read_all()) for page in (snapshot, resumed)]
    await until(lambda: {"snapshot", "since 101"} <= set(stage.log.calls))
    stage.log.changes.clear()
    stage.hub.lost(KEY, 100, "another database")
    stage.log.gate.set()
    stage.log.gate = None
    await until(lambda: all(page.types[-1] == "snapshot" for page in (snapshot, resumed)))
    stage.commit(101)
    await stage.hub.drain(60)
    await asyncio.gather(*reading)
    after = [("reset", None), ("snapshot", "100"), ("new", "101")]
    assert snapshot.ids[1:-1] == [("snapshot", "103"), *after]
    assert resumed.ids[1:-1] == [("new", "102"), ("new", "103"), *after]


async def test_a_reader_too_slow_is_told_and_resumes_where_it_was(stage: Stage) -> None:
    stage.topic._outbox_bytes = 1000
    page = stage.page()
    await page.read()
    stage.commit(*range(104, 120))
    await until(lambda: not stage.topic._pending)
    await page.read_all()
    assert page.frames[-1][2] == {"type": "stream_end", "reason": "too_slow", "reconnect": True}
    again = stage.page(cursor=int(page.last_id))
    await again.read_until("new")
    assert [id_ for _, id_ in again.ids] == [str(revision) for revision in range(103, 120)]


# Any interleaving


def told(log: Iterable[Change]) -> tuple[State, set[str]]:
    """What a page that misses nothing shows after these changes, and the events it heard of."""
    return reduce({}, (Delivery(change, TinyFeed()) for change in log))


def shown(pages: Iterable[Page]) -> tuple[State, set[str]]:
    """What one viewer shows and heard of, who read these pages one after the other."""
    state: State = {}
    events = set()
    for page in pages:
        for _, _, body in page.frames:
            if body["type"] == "event":
                events.add(body["rowId"])
            else:
                tell(state, body)
    return state, events


class Reader:
    """One viewer through all its connections: it reads when told to, is cut, and resumes where it was."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.pages = [stage.page(cursor=START)]
        self._reading: asyncio.Task[bool] | None = None

    @property
    def last_id(self) -> int:
        return max(int(page.last_id or START) for page in self.pages)

    async def read(self) -> None:
        """Takes a chunk if there is one; else the read stays open, as of a page that waits."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self.pages[-1].read())
        for _ in range(5):
            await asyncio.sleep(0)
        if self._reading.done():
            self._reading.result()
            self._reading = None

    async def cut(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
            self._reading = None
        await self.pages[-1].close()
        self.pages.append(self._stage.page(cursor=self.last_id))


@settings(deadline=None)
@given(logs(), st.data())
def test_in_any_interleaving_every_viewer_ends_with_each_rows_state_and_each_event_once(
    log: list[Delivery], data: st.DataObject
) -> None:
    """Changes told one by one or in batches, viewers that read or don't, are cut, and come back with their last id."""

    async def scenario() -> None:
        stage = Stage()
        stage.topic = await stage.hub.topic(KEY)
        readers = [Reader(stage) for _ in range(3)]
        waiting = [replace(one.change, revision=START + one.change.revision) for one in log]
        while waiting:
            match data.draw(st.sampled_from(["commit", "commit", "tell", "read", "read", "cut", "fill"])):
                case "commit":
                    stage.hub.changes(KEY, [stage.log.append(waiting.pop(0))])
                case "tell":
                    stage.topic.flush()
                case "read":
                    await data.draw(st.sampled_from(readers)).read()
                case "cut":
                    await data.draw(st.sampled_from(readers)).cut()
                case "fill":  # a connection, or empty it
                    page = data.draw(st.sampled_from(readers)).pages[-1]
                    page.takes = not page.takes
        stage.topic.flush()
        for reader in readers:
            while reader.last_id < stage.log.head:
                await reader.read()
            await reader.cut()
            ids = [
                int(id_) for page in reader.pages for _, id_, body in page.frames if id_ and body["type"] != "connected"
            ]
            assert ids == sorted(set(ids))
            assert shown(reader.pages) == told(stage.log.changes)
        await stage.hub.close()

    asyncio.run(scenario())


# What an operator reads


# A key that ends


@pytest.fixture
async def shop() -> AsyncIterator[Stage]:
    async with opened(feed=ShopFeed()) as stage:
        yield stage


def sell_out(shop: Stage, revision: int) -> None:
    shop.hub.changes(KEY, [shop.log.append(sold_out(revision))])
    shop.log.rows = {"rows": [{"id": "a", "value": 0}]}


STREAM_END = {"type": "stream_end", "reason": "sold_out", "reconnect": False}


async def test_events_of_a_feed_that_names_them_are_named(shop: Stage) -> None:
    page = shop.page(state=await shop.topic.past.state())
    await page.read()
    assert [(name, id_) for name, id_, _ in page.frames] == [("connected", "103")]


async def test_a_stream_ends_after_the_last_event(shop: Stage) -> None:
    page = shop.page(state=await shop.topic.past.state())
    await page.read()
    shop.commit(104)
    sell_out(shop, 105)
    await page.read_all()
    assert page.ids == [("connected", "103"), ("new", "104"), ("event", "105"), ("stream_end", None)]
    assert page.frames[-1][2] == STREAM_END
    assert not shop.topic.viewers


async def test_a_stream_goes_on_when_the_last_event_was_not_the_last(shop: Stage) -> None:
    page = shop.page(state=await shop.topic.past.state())
    await page.read()
    shop.hub.changes(KEY, [shop.log.append(sold_out(104)), shop.log.append(make_change(105, "I", "b"))])
    await page.read_until("new")
    shop.commit(106)
    await page.read()
    assert page.types == ["connected", "event", "new", "new"]
    await page.close()


async def test_a_replay_that_ends_with_the_last_event_ends_the_stream(shop: Stage) -> None:
    sell_out(shop, 104)
    page = shop.page(cursor=102, state=await shop.topic.past.state())
    await page.read_all()
    assert page.ids == [("connected", "102"), ("new", "103"), ("event", "104"), ("stream_end", None)]


async def test_a_page_that_has_the_last_event_is_told_the_end_alone(shop: Stage) -> None:
    sell_out(shop, 104)
    page = shop.page(cursor=104, state=await shop.topic.past.state())
    await page.read_all()
    assert page.ids == [("connected", "104"), ("stream_end", None)]
    assert page.session.ending is not None
    assert page.session.ending.reason == "sold_out"


async def test_a_replay_beyond_the_last_event_does_not(shop: Stage) -> None:
    sell_out(shop, 104)
    shop.commit(105)
    page = shop.page(cursor=103, state=await shop.topic.past.state())
    await page.read_until("new")
    assert page.types == ["connected", "event", "new"]
    shop.commit(106)
    assert await page.read()
    await page.close()


async def test_nor_does_what_tells_nothing_keep_it_open(shop: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    sell_out(shop, 104)
    page = shop.page(cursor=103, state=await shop.topic.past.state())
    await page.read_until("event")
    monkeypatch.setattr(ShopFeed, "translate", lambda *_: [])
    shop.commit(105)
    shop.topic.flush()
    await page.read_all()
    assert page.types == ["connected", "event", "stream_end"]


async def test_a_key_that_has_ended_is_told_with_its_last_event_and_the_end(shop: Stage) -> None:
    sell_out(shop, 104)
    page = shop.page(state=await shop.topic.past.state())
    await page.read_all()
    assert page.ids == [("connected", "104"), ("event", None), ("stream_end", None)]
    assert page.frames[0][2]["value"] == 0


async def test_so_it_is_after_a_snapshot(shop: Stage) -> None:
    sell_out(shop, 104)
    page = shop.page(snapshot=True, state=await shop.topic.past.state())
    await page.read_all()
    assert page.ids == [("connected", None), ("snapshot", "104"), ("event", None), ("stream_end", None)]


async def test_so_it_is_after_a_reset(shop: Stage) -> None:
    sell_out(shop, 104)
    page = shop.page(cursor=1, state=await shop.topic.past.state())
    await page.read_all()
    told = [("connected", "1"), ("reset", None), ("snapshot", "104"), ("event", None), ("stream_end", None)]
    assert page.ids == told


async def test_what_came_after_the_state_was_read_is_told(shop: Stage) -> None:
    state = await shop.topic.past.state()
    shop.commit(104, 105)
    page = shop.page(state=state)
    await page.read_until("new")
    assert page.ids == [("connected", "103"), ("new", "104"), ("new", "105")]
    await page.close()


async def test_what_the_state_knows_before_it_is_published_is_not_told_again(shop: Stage) -> None:
    shop.elsewhere(104)
    page = shop.page(state=await shop.topic.past.state())
    await page.read()
    shop.hub.changes(KEY, [shop.log.changes[-1]])
    shop.commit(105)
    await page.read()
    assert page.ids == [("connected", "104"), ("new", "105")]
    await page.close()


async def test_a_key_that_began_anew_since_its_end_was_read_goes_on(shop: Stage) -> None:
    sell_out(shop, 104)
    state = await shop.topic.past.state()
    shop.commit(105)
    page = shop.page(state=state)
    await page.read_until("new")
    assert page.ids == [("connected", "104"), ("new", "105")]
    await page.close()


@pytest.mark.parametrize("wanted", [{"snapshot": True}, {"cursor": 0}], ids=["asked for", "after a reset"])
async def test_a_right_that_ends_within_a_snapshot_ends_it(stage: Stage, wanted: dict[str, Any]) -> None:
    stage.log.rows = {"rows": [{"id": f"{number} " + "x" * 100_000, "value": 1} for number in range(10)]}
    page = stage.page(**wanted)
    await page.read_until("snapshot")
    page.session.end(Ending.ACCESS_REVOKED)
    await page.read_all()
    assert page.types[-2:] == ["snapshot", "stream_end"]
    assert page.types.count("snapshot") == 1


async def test_a_right_that_ends_within_a_replay_ends_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.streams.session.REPLAY_PIECE", 1)
    page = stage.page(cursor=START)
    await page.read_until("new")
    page.session.end(Ending.ACCESS_REVOKED)
    await page.read_all()
    assert page.types == ["connected", "new", "stream_end"]


async def test_a_token_expires_however_much_there_is_to_tell(stage: Stage) -> None:
    page = stage.page(expires_at=time.time() + 0.1)
    revision = 104
    while not page.ended:
        stage.commit(revision)
        await until(lambda: not stage.topic._pending)
        revision += 1
        await page.read()
    assert page.frames[-1][2]["reason"] == "token_expired"


async def test_a_page_is_told_once_that_its_token_will_expire(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.streams.lifetime.REAUTH_SECONDS", 0.2)
    page = stage.page(expires_at=1_900_000_000.5, keepalive=0.02)
    now = time.time
    offset = 1_900_000_000.5 - 0.3 - now()
    monkeypatch.setattr(time, "time", lambda: now() + offset)
    await page.read_all()
    assert page.types == ["connected", "reauth", "stream_end"]
    assert page.comments > 0
    assert page.frames[1][2] == {"type": "reauth", "expiresAt": "2030-03-17T17:46:40.500Z"}


async def test_a_page_that_comes_late_with_its_token_is_told_at_once(stage: Stage) -> None:
    page = stage.page(expires_at=time.time() + 30, snapshot=True)
    await page.read_until("reauth")
    assert page.types == ["connected", "snapshot", "reauth"]
    stage.commit(104)
    await page.read_until("new")
    assert page.types.count("reauth") == 1
