"""Topics and their viewers: one opening, one query for all who wait, nothing between replay and the present."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from service.changes.change import FeedKey
from service.errors import DatabaseUnavailable
from service.events.endings import Ending
from service.feeds import hub as hubs
from service.feeds.hub import Hub, Topic
from service.feeds.viewer import Viewer
from service.metrics import Metrics
from tests.service.fakes import KEY, FakeLog, until
from tests.service.logged import logged
from tests.service.tiny import TinyFeed, make_change, told

START = 100


class FakeListener:
    """Follows from the log's head; live as the test says."""

    def __init__(self, log: FakeLog) -> None:
        self.log = log
        self.live = True
        self.is_live = True
        self.followed: list[FeedKey] = []
        self.unfollowed: list[FeedKey] = []

    async def follow(self, key: FeedKey) -> int:
        self.followed.append(key)
        return (await self.log.heads(key.feed, [key.key]))[key.key]

    def unfollow(self, key: FeedKey) -> None:
        self.unfollowed.append(key)

    def is_key_live(self, key: FeedKey) -> bool:
        return self.live

    async def wait_live(self, key: FeedKey, seconds: float) -> None:
        await asyncio.sleep(0)


class Bench:
    def __init__(self, linger_seconds: float = 60, feed: TinyFeed | None = None) -> None:
        self.log = FakeLog(floor=START)
        self.listener = FakeListener(self.log)
        self.hub = Hub(self.log, {"tiny": feed or TinyFeed()}, linger_seconds, outbox_bytes=1 << 20, metrics=Metrics())
        self.hub.bind(self.listener)

    def commit(self, *revisions: int) -> None:
        """Writes changes, each of a row of its own, and has the listener tell them."""
        for revision in revisions:
            self.hub.changes(KEY, [self.log.append(make_change(revision, "I", f"r{revision}"))])

    def elsewhere(self, *revisions: int) -> None:
        """Writes changes before the topic is opened, or that only the database knows."""
        for revision in revisions:
            self.log.append(make_change(revision, "I", f"r{revision}"))

    async def heard(self, viewer: Viewer) -> list[str]:
        """What a viewer that is still being sent to has in its outbox once the tick has ended."""
        (topic,) = (topic for topic in self.hub._topics.values() if viewer in topic.viewers)
        await until(lambda: not topic._pending)
        return told(one for one, _ in viewer.outbox.take())

    async def history(self, topic: Topic, cursor: int) -> list[int] | None:
        history = await topic.past.history(cursor, topic.ring.head)
        return None if history is None else [item.change.revision for item in history.deliveries]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.hub.close()


async def test_many_who_ask_at_once_open_a_topic_once(bench: Bench) -> None:
    topics = await asyncio.gather(*(bench.hub.topic(KEY) for _ in range(20)))
    assert len(set(map(id, topics))) == 1
    assert bench.listener.followed == [KEY]


async def test_one_who_leaves_during_the_opening_does_not_take_it_from_the_others(bench: Bench) -> None:
    bench.log.gate = asyncio.Event()
    first, second = (asyncio.ensure_future(bench.hub.topic(KEY)) for _ in range(2))
    await until(lambda: bench.log.calls)
    first.cancel()
    bench.log.gate.set()
    assert (await second).key == KEY


async def test_a_topic_whose_only_caller_left_during_the_opening_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "CLAIM_SECONDS", 0.01)
    bench = Bench(linger_seconds=0)
    bench.log.gate = asyncio.Event()
    asking = asyncio.ensure_future(bench.hub.topic(KEY))
    await until(lambda: bench.log.calls)
    asking.cancel()
    bench.log.gate.set()
    await until(lambda: bench.listener.unfollowed == [KEY])


async def test_whoever_waited_for_an_opening_gets_a_topic_that_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another asked meanwhile and has gone, and topics don't linger: one that was given up would be told nothing."""
    bench = Bench(linger_seconds=0)
    live = asyncio.Event()

    async def wait_live(key: FeedKey, seconds: float) -> None:
        await live.wait()

    monkeypatch.setattr(bench.listener, "wait_live", wait_live)
    waiting = asyncio.ensure_future(bench.hub.topic(KEY))
    await until(lambda: KEY in bench.hub._topics)
    await bench.hub.topic(KEY)
    await asyncio.sleep(0.01)
    live.set()
    viewer = bench.hub.attach(await waiting, None)
    bench.commit(101)
    assert await bench.heard(viewer) == ["new r101=101"]
    await bench.hub.close()


async def test_one_who_comes_in_while_draining_is_told_too(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    await bench.hub.drain(60)
    assert bench.hub.attach(topic, None).ending is Ending.SHUTDOWN


async def test_a_failed_opening_is_tried_again_by_the_next(bench: Bench) -> None:
    bench.log.fail = DatabaseUnavailable("down")
    with pytest.raises(DatabaseUnavailable):
        await bench.hub.topic(KEY)
    bench.log.fail = None
    assert (await bench.hub.topic(KEY)).ring.head == START


async def test_changes_reach_every_viewer_from_its_cursor_on(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    first = bench.hub.attach(topic, None)
    bench.commit(101)
    second = bench.hub.attach(topic, None)
    bench.commit(102)
    assert await bench.heard(first) == ["new r101=101", "new r102=102"]
    assert await bench.heard(second) == ["new r102=102"]


async def test_a_row_that_cannot_be_translated_is_skipped_and_said(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    topic = await bench.hub.topic(KEY)
    viewer = bench.hub.attach(topic, None)
    broken = replace(make_change(101, "I", "bad"), row={"id": "bad"})
    bench.hub.changes(KEY, [bench.log.append(broken)])
    bench.commit(102)
    assert await bench.heard(viewer) == ["new r102=102"]
    [(level, message, found)] = logged(caplog, "service.feeds.hub")
    assert (level, message) == ("ERROR", "a change can't be translated, nothing is told")
    assert found == {"feed": KEY.feed, "key": KEY.key, "revision": 101}


async def test_changes_of_a_topic_nobody_has_opened_are_nobodys(bench: Bench) -> None:
    bench.commit(101)
    assert bench.hub.viewers == 0


async def news(viewer: Viewer) -> list[str]:
    """What a viewer that waits for news is given next."""
    await viewer.wait(asyncio.get_running_loop().time() + 1e9)
    assert viewer.batch is not None
    batch, viewer.batch = viewer.batch, None
    return told(one for one, _ in batch.told)


async def test_an_idle_topic_tells_its_viewers_at_once_and_a_busy_one_once_a_tick(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    viewer = bench.hub.attach(topic, None)
    hearing = asyncio.ensure_future(news(viewer))
    await asyncio.sleep(0)
    bench.commit(101)
    assert await hearing == ["new r101=101"]
    hearing = asyncio.ensure_future(news(viewer))
    await asyncio.sleep(0)
    bench.commit(102)
    await asyncio.sleep(0)
    assert not hearing.done()
    bench.commit(103)
    assert await hearing == ["new r102=102", "new r103=103"]


async def test_all_who_wait_for_news_are_given_the_same_batch(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    waiting = [bench.hub.attach(topic, None) for _ in range(3)]
    busy = bench.hub.attach(topic, None)
    hearing = [asyncio.ensure_future(viewer.wait(asyncio.get_running_loop().time() + 1e9)) for viewer in waiting]
    await asyncio.sleep(0)
    bench.commit(101)
    await asyncio.gather(*hearing)
    assert waiting[0].batch is not None
    assert {id(viewer.batch) for viewer in waiting} == {id(waiting[0].batch)}
    assert await bench.heard(busy) == ["new r101=101"]


async def test_more_than_is_worth_holding_back_is_told_before_the_tick_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await bench.hub.topic(KEY)
    bench.commit(101)
    bench.commit(102)
    assert topic._pending
    monkeypatch.setattr(hubs, "BATCH_BYTES", 100)
    bench.commit(103)
    assert not topic._pending


async def test_a_cursor_ahead_of_this_process_is_the_databases_to_judge(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    bench.elsewhere(101, 102)  # told to another process already
    assert await bench.history(topic, 101) == [102]
    viewer = bench.hub.attach(topic, 101)
    for change in bench.log.changes:
        bench.hub.changes(KEY, [change])
    assert await bench.heard(viewer) == ["new r102=102"]


async def test_news_of_the_upstream_reach_every_viewer_once(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    viewer = bench.hub.attach(topic, None)
    bench.hub.live(KEY, True, "subscribed")
    assert viewer.live is None  # it was live already
    bench.hub.live(KEY, False, "cut")
    assert viewer.live is not None
    assert not topic.live


async def test_a_loss_resets_every_viewer_and_the_ring(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    bench.commit(101)
    viewer = bench.hub.attach(topic, None)
    bench.hub.lost(KEY, 500, "pruned")
    assert viewer.reset is not None
    assert (topic.ring.floor, topic.ring.head) == (500, 500)


async def test_a_topic_lingers_and_is_given_up_when_nobody_comes_back() -> None:
    bench = Bench(linger_seconds=0.01)
    topic = await bench.hub.topic(KEY)
    viewer = bench.hub.attach(topic, None)
    bench.hub.detach(topic, viewer)
    await until(lambda: bench.listener.unfollowed == [KEY])
    assert await bench.hub.topic(KEY) is not topic
    await bench.hub.close()


async def test_a_topic_with_a_viewer_is_kept() -> None:
    bench = Bench(linger_seconds=0.0)
    topic = await bench.hub.topic(KEY)
    viewer = bench.hub.attach(topic, None)
    await asyncio.sleep(0.01)
    assert bench.listener.unfollowed == []
    bench.hub.detach(topic, viewer)
    bench.hub.detach(topic, viewer)
    await until(lambda: bench.listener.unfollowed == [KEY])


async def test_draining_ends_every_stream_and_returns_when_the_last_has_gone(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    viewers = [bench.hub.attach(topic, None) for _ in range(2)]
    draining = asyncio.ensure_future(bench.hub.drain(60))
    await asyncio.sleep(0)
    assert [viewer.ending for viewer in viewers] == [Ending.SHUTDOWN, Ending.SHUTDOWN]
    bench.hub.detach(topic, viewers[0])
    await asyncio.sleep(0)
    assert not draining.done()
    bench.hub.detach(topic, viewers[1])
    await draining


async def test_draining_gives_up_on_those_who_never_read(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    bench.hub.attach(topic, None)
    await bench.hub.drain(0.01)
    assert bench.hub.viewers == 1


async def test_guests_are_asked_to_leave_and_waited_for(bench: Bench) -> None:
    asked: list[str] = []
    with bench.hub.guest(lambda: asked.append("first")):
        draining = asyncio.ensure_future(bench.hub.drain(60))
        await asyncio.sleep(0)
        with bench.hub.guest(lambda: asked.append("came in late")):
            assert asked == ["first", "came in late"]
        await asyncio.sleep(0)
        assert not draining.done()
    await draining


async def test_an_idle_hub_drains_at_once(bench: Bench) -> None:
    await bench.hub.drain(60)


async def test_a_key_that_is_kept_is_followed_without_viewers() -> None:
    bench = Bench(linger_seconds=0)
    topic = await bench.hub.topic(KEY)
    with bench.hub.keeping(KEY), bench.hub.keeping(KEY):
        bench.hub.detach(topic, bench.hub.attach(topic, None))
        await asyncio.sleep(0.01)
        assert bench.listener.unfollowed == []
    await until(lambda: bench.listener.unfollowed == [KEY])
    await bench.hub.close()


async def test_one_that_was_given_up_is_followed_again() -> None:
    bench = Bench(linger_seconds=0)
    with bench.hub.keeping(KEY):
        await until(lambda: bench.listener.followed == [KEY])
        await asyncio.sleep(0.01)
        assert bench.listener.unfollowed == []
    await until(lambda: bench.listener.unfollowed == [KEY])
    await bench.hub.close()
