"""The listener against a Realtime that loses, repeats, reorders and dies, and a database that comes and goes."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from service.changes.listener import LogListener
from service.errors import DatabaseRefused, DatabaseUnavailable
from service.metrics import Metrics
from tests.service.fakes import KEY, FakeLog, Generations, Heard, until
from tests.service.logged import logged
from tests.service.tiny import make_change

START = 100


class Bench:
    """A listener with everything around it in the test's hands. ``random`` is 0: the shortest delays."""

    def __init__(self, heads_seconds: float) -> None:
        self.log = FakeLog(floor=START)
        self.heard = Heard()
        self.metrics = Metrics()
        self.generations = Generations()
        self.listener = LogListener(self.log, self.heard, self.generations, lambda: 0.0, self.metrics, heads_seconds)

    async def followed(self) -> None:
        """Follows KEY, joined, ready and caught up."""
        await self.listener.follow(KEY)
        await until(lambda: self.generations.made and KEY in self.generations.newest.joined)
        self.generations.newest.hearing.ready(KEY)
        await self.heard.until(lambda heard: "live" in heard.words)
        await until(lambda: self.listener._follows[KEY].catching_up is None)

    def commit(self, revision: int, prev: int | None = None) -> None:
        """Writes a change and has Realtime tell it."""
        self.generations.newest.tell(self.log.append(make_change(revision, "I", f"r{revision}", prev=prev)))

    def lose(self, revision: int, prev: int | None = None) -> None:
        """Writes a change that Realtime does not tell."""
        self.log.append(make_change(revision, "I", f"r{revision}", prev=prev))

    async def hears(self, *revisions: int) -> None:
        await self.heard.until(lambda heard: len(heard.revisions) >= len(revisions))
        assert self.heard.revisions == list(revisions)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A bench whose heads are never read by themselves."""
    bench = Bench(heads_seconds=60)
    yield bench
    await bench.listener.stop()


@pytest.fixture
async def watching() -> AsyncIterator[Bench]:
    """A bench whose heads are read all the time."""
    bench = Bench(heads_seconds=0.01)
    bench.listener.start()
    yield bench
    await bench.listener.stop()


async def test_following_begins_at_the_head(bench: Bench) -> None:
    bench.lose(101)
    assert await bench.listener.follow(KEY) == 101
    assert bench.heard.revisions == []


async def test_changes_are_told_as_they_come(bench: Bench) -> None:
    await bench.followed()
    bench.commit(101)
    bench.commit(102)
    assert bench.heard.revisions == [101, 102]
    assert bench.listener.is_key_live(KEY)


async def test_a_change_told_twice_is_told_once(bench: Bench) -> None:
    await bench.followed()
    bench.commit(101)
    bench.generations.newest.tell(bench.log.changes[0])
    assert bench.heard.revisions == [101]


async def test_another_feeds_change_of_the_same_key_is_not_ours(bench: Bench) -> None:
    await bench.followed()
    bench.generations.newest.tell(make_change(101), feed="other")
    assert bench.heard.revisions == []


async def test_a_hole_is_filled_from_the_database(bench: Bench) -> None:
    await bench.followed()
    bench.lose(101)
    bench.commit(102)
    await bench.hears(101, 102)


async def test_a_hole_that_closes_by_itself_asks_nobody(bench: Bench) -> None:
    await bench.followed()
    bench.log.calls.clear()
    late = bench.log.append(make_change(101, "I"))
    bench.commit(102)
    bench.generations.newest.tell(late)
    assert bench.heard.revisions == [101, 102]
    assert bench.log.calls == []


async def test_a_long_hole_is_filled_page_by_page(bench: Bench) -> None:
    await bench.followed()
    for revision in range(101, 110):
        bench.lose(revision)
    bench.commit(110)
    await bench.hears(*range(101, 111))


async def test_a_change_without_its_row_counts_as_a_hole(bench: Bench) -> None:
    await bench.followed()
    bench.lose(101)
    bench.generations.newest.hearing.record(KEY, None)
    await bench.hears(101)


async def test_a_malformed_record_counts_as_a_hole(bench: Bench) -> None:
    await bench.followed()
    bench.lose(101)
    bench.generations.newest.hearing.record(KEY, {"feed": KEY.feed, "revision": 101})
    await bench.hears(101)


async def test_every_readiness_message_is_a_possible_gap(bench: Bench) -> None:
    await bench.followed()
    bench.lose(101)
    bench.generations.newest.hearing.ready(KEY)
    await bench.hears(101)
    bench.lose(102)
    bench.generations.newest.hearing.ready(KEY)
    await bench.hears(101, 102)
    assert bench.heard.words == ["live"]


async def test_what_was_written_between_the_head_and_readiness_is_caught_up(bench: Bench) -> None:
    await bench.listener.follow(KEY)
    bench.lose(101)
    await until(lambda: bench.generations.made and KEY in bench.generations.newest.joined)
    bench.generations.newest.hearing.ready(KEY)
    await bench.hears(101)


async def test_what_realtime_tells_before_the_head_is_read_is_not_lost(bench: Bench) -> None:
    bench.log.gate = asyncio.Event()
    following = asyncio.ensure_future(bench.listener.follow(KEY))
    await until(lambda: bench.generations.made and KEY in bench.generations.newest.joined and bench.log.calls)
    bench.generations.newest.hearing.ready(KEY)
    bench.commit(101)  # after the reading of the head began, which says 100
    bench.log.gate.set()
    assert await following == 100
    await bench.hears(101)


async def test_a_readiness_message_during_a_catch_up_has_it_done_again(bench: Bench) -> None:
    await bench.followed()
    bench.log.gate = asyncio.Event()
    bench.generations.newest.hearing.ready(KEY)
    await until(lambda: bench.log.calls[-2:] == ["since 100", "since 100"])  # reads, and has not seen what follows
    bench.lose(101)
    bench.generations.newest.hearing.ready(KEY)
    bench.log.gate.set()
    await bench.hears(101)


async def test_a_generation_that_ends_is_followed_by_another_and_the_gap_is_filled(bench: Bench) -> None:
    await bench.followed()
    bench.generations.newest.end("cut")
    await bench.heard.until(lambda heard: "not live" in heard.words)
    bench.lose(101)
    await until(lambda: len(bench.generations.made) == 2 and KEY in bench.generations.newest.joined)
    assert bench.generations.made[0].closed
    bench.generations.newest.hearing.ready(KEY)
    await bench.hears(101)
    assert bench.heard.words == ["live", "not live", "live"]


async def test_a_deaf_channel_is_found_by_the_heads(watching: Bench) -> None:
    await watching.followed()
    watching.lose(101)
    await watching.hears(101)
    await until(lambda: len(watching.generations.made) == 2)


async def test_a_key_that_keeps_up_is_not_taken_for_deaf(watching: Bench) -> None:
    await watching.followed()
    for revision in range(101, 110):
        watching.commit(revision)
        readings = watching.log.calls.count("heads")
        await until(lambda since=readings: watching.log.calls.count("heads") > since)
    assert len(watching.generations.made) == 1


async def test_without_realtime_changes_come_from_the_heads(watching: Bench) -> None:
    watching.generations.refusals = [ConnectionRefusedError("down") for _ in range(100)]
    await watching.listener.follow(KEY)
    watching.lose(101)
    await watching.hears(101)
    assert not watching.listener.is_key_live(KEY)
    assert watching.heard.words == []


async def test_a_catch_up_waits_for_a_database_that_is_down(bench: Bench) -> None:
    await bench.followed()
    bench.log.fail = DatabaseUnavailable("down")
    bench.lose(101)
    bench.commit(102)
    await until(lambda: bench.log.calls.count("since 100") >= 3)
    assert not bench.listener.database_up
    bench.log.fail = None
    await bench.hears(101, 102)
    assert bench.listener.database_up


async def test_a_catch_up_outlives_a_database_that_refuses(bench: Bench) -> None:
    await bench.followed()
    bench.log.fail = DatabaseRefused("permission denied")
    bench.lose(101)
    bench.commit(102)
    await until(lambda: bench.log.calls.count("since 100") >= 3)
    bench.log.fail = None
    await bench.hears(101, 102)


async def test_the_heads_are_read_again_once_the_database_is_back(watching: Bench) -> None:
    await watching.followed()
    watching.log.fail = DatabaseUnavailable("down")
    await until(lambda: not watching.listener.database_up)
    watching.log.fail = None
    await until(lambda: watching.listener.database_up)
    assert watching.listener.is_running


async def test_a_reading_of_the_heads_that_fails_in_any_way_is_followed_by_another(watching: Bench) -> None:
    await watching.followed()
    watching.log.fail = RuntimeError("a bug")
    await until(lambda: watching.log.calls[-2:] == ["heads", "heads"])
    watching.log.fail = None
    watching.lose(101)
    await watching.hears(101)


async def test_a_catch_up_that_fails_in_any_way_is_tried_again(bench: Bench) -> None:
    await bench.followed()
    bench.log.fail = RuntimeError("a bug")
    bench.lose(101)
    bench.commit(102)
    await until(lambda: bench.log.calls.count("since 100") >= 3)
    bench.log.fail = None
    await bench.hears(101, 102)


async def test_heads_that_stay_behind_are_another_database_and_a_loss_told(watching: Bench) -> None:
    await watching.followed()
    watching.commit(110, prev=100)
    watching.log.changes.clear()  # restored from a backup, and Realtime says nothing
    await watching.heard.until(lambda heard: "lost before 100" in heard.words)


async def test_a_log_that_no_longer_reaches_back_is_a_loss_told(bench: Bench) -> None:
    await bench.followed()
    bench.lose(205, prev=100)
    bench.log.floor = 200  # pruned, or tracked anew
    bench.generations.newest.hearing.ready(KEY)
    await bench.heard.until(lambda heard: "lost before 205" in heard.words)
    bench.commit(206)
    assert bench.heard.revisions == [206]


async def test_a_database_that_went_back_in_time_is_a_loss_told(watching: Bench) -> None:
    await watching.followed()
    watching.commit(110, prev=100)
    watching.log.changes.clear()  # restored from a backup
    watching.generations.newest.hearing.ready(KEY)
    await watching.heard.until(lambda heard: "lost before 100" in heard.words)
    watching.commit(101)
    assert watching.heard.revisions == [110, 101]


async def test_following_fails_when_the_database_is_down_and_leaves_nothing_behind(bench: Bench) -> None:
    bench.log.fail = DatabaseUnavailable("down")
    with pytest.raises(DatabaseUnavailable):
        await bench.listener.follow(KEY)
    assert not bench.listener.is_key_live(KEY)
    bench.log.fail = None
    await bench.followed()


async def test_an_unfollowed_key_is_left_and_its_socket_closed(bench: Bench) -> None:
    await bench.followed()
    bench.listener.unfollow(KEY)
    await until(lambda: bench.generations.newest.closed)
    bench.commit(101)
    assert bench.heard.revisions == []


async def test_unfollowing_during_a_catch_up_ends_it(bench: Bench) -> None:
    await bench.followed()
    bench.log.gate = asyncio.Event()
    bench.generations.newest.hearing.ready(KEY)
    await until(lambda: bench.log.calls.count("since 100") == 2)
    bench.listener.unfollow(KEY)
    bench.lose(101)
    bench.log.gate.set()
    await asyncio.sleep(0)
    assert bench.heard.revisions == []


async def test_a_key_that_is_about_to_be_followed_is_let_go_of_once(bench: Bench) -> None:
    bench.log.gate = asyncio.Event()
    following = asyncio.ensure_future(bench.listener.follow(KEY))
    await until(lambda: bench.log.calls == ["heads"])
    await bench.listener.stop()
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


async def test_a_reading_of_the_heads_says_nothing_of_a_key_that_was_followed_anew_meanwhile(bench: Bench) -> None:
    """It compares with where the key was when it was followed before, and would tell what its new followers have."""
    await bench.listener.follow(KEY)
    bench.lose(101)
    bench.log.gate = asyncio.Event()
    reading = asyncio.ensure_future(bench.listener._compare_heads(KEY.feed))
    await until(lambda: bench.log.calls == ["heads"] * 2)
    bench.listener.unfollow(KEY)
    following = asyncio.ensure_future(bench.listener.follow(KEY))
    await until(lambda: bench.log.calls == ["heads"] * 3)
    bench.log.gate.set()
    await reading
    assert await following == 101
    await until(lambda: KEY in bench.generations.newest.joined)
    bench.generations.newest.hearing.ready(KEY)
    await until(lambda: bench.listener._follows[KEY].catching_up is None)
    bench.commit(102)
    await bench.hears(102)


# What an operator reads

LISTENER = "service.changes.listener"
KEY_FIELDS = {"feed": KEY.feed, "key": KEY.key}


async def test_a_hole_that_stays_is_told_with_its_place(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.followed()
    caplog.set_level(logging.INFO)
    bench.lose(101)
    bench.commit(102)
    await bench.hears(101, 102)
    assert logged(caplog, LISTENER) == [("INFO", "a change is missing, catching up", {**KEY_FIELDS, "revision": 100})]


async def test_a_malformed_record_is_told(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.followed()
    bench.generations.newest.hearing.record(KEY, {"feed": KEY.feed})
    [(level, message, found)] = logged(caplog, LISTENER)
    assert (level, message) == ("WARNING", "a change from Realtime can't be read")
    assert found == {**KEY_FIELDS, "error": "not a row of feed_changes: KeyError('op')"}


async def test_a_loss_is_told_with_its_place(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.followed()
    bench.log.floor = 200
    bench.generations.newest.hearing.ready(KEY)
    await bench.heard.until(lambda heard: "lost before 200" in heard.words)
    assert logged(caplog, LISTENER) == [
        (
            "WARNING",
            "the change log does not reach back, viewers are told a reset",
            {**KEY_FIELDS, "revision": 100, "head": 200},
        )
    ]


@pytest.mark.parametrize("fault", [DatabaseUnavailable("down"), DatabaseRefused("permission denied")])
async def test_a_database_in_trouble_is_told_by_the_change_log_alone(
    watching: Bench, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    await watching.followed()
    watching.log.fail = fault
    watching.lose(101)
    watching.commit(102)
    await until(lambda: watching.log.calls.count("heads") >= 3 and watching.log.calls.count("since 100") >= 3)
    assert logged(caplog, LISTENER, logging.WARNING) == []


async def test_a_bug_in_a_catch_up_is_told_with_its_traceback(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.followed()
    bench.log.fail = RuntimeError("a bug")
    bench.generations.newest.hearing.ready(KEY)
    await until(lambda: logged(caplog, LISTENER))
    assert logged(caplog, LISTENER)[0] == ("ERROR", "the change log can't be read", KEY_FIELDS)
    assert caplog.records[0].exc_info is not None
