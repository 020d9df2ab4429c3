"""What viewers ask of the past: answered from the ring, or by one query for all who wait for the same."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.errors import DatabaseUnavailable
from service.events.project import ProjectFeed
from service.feeds import past
from service.feeds.hub import Topic
from service.feeds.past import State, present
from service.tables import STANDARD
from tests.service.fakes import KEY, until
from tests.service.feeds.test_hub import START, Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.hub.close()


async def test_a_recent_cursor_is_answered_without_the_database(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    bench.commit(101, 102, 103)
    bench.log.calls.clear()
    assert await bench.history(topic, 101) == [102, 103]
    assert bench.log.calls == []


async def test_an_older_cursor_is_answered_by_the_database_and_remembered(bench: Bench) -> None:
    bench.elsewhere(101, 102, 103, 104, 105)
    topic = await bench.hub.topic(KEY)
    bench.commit(106)
    assert await bench.history(topic, 101) == [102, 103, 104, 105, 106]
    bench.log.calls.clear()
    assert await bench.history(topic, 102) == [103, 104, 105, 106]
    assert bench.log.calls == []


async def test_all_who_wait_for_the_past_share_one_reading(bench: Bench) -> None:
    bench.elsewhere(101, 102, 103)
    topic = await bench.hub.topic(KEY)
    bench.log.calls.clear()
    answers = await asyncio.gather(*(bench.history(topic, cursor) for cursor in (100, 101, 102, 100)))
    assert answers == [[101, 102, 103], [102, 103], [103], [101, 102, 103]]
    assert bench.log.calls == ["since 100"]


async def test_a_shared_reading_that_began_before_a_viewer_came_is_completed_for_it(bench: Bench) -> None:
    bench.elsewhere(101, 102)
    topic = await bench.hub.topic(KEY)
    bench.log.gate = asyncio.Event()
    early = asyncio.ensure_future(bench.history(topic, 100))
    await until(lambda: "since 100" in bench.log.calls)  # it sees up to 102
    bench.commit(103)
    late = asyncio.ensure_future(bench.history(topic, 101))
    await asyncio.sleep(0)
    bench.log.gate.set()
    assert await early == [101, 102]
    assert await late == [102, 103]


async def test_one_who_leaves_during_a_shared_reading_does_not_take_it_from_the_others(bench: Bench) -> None:
    bench.elsewhere(101)
    topic = await bench.hub.topic(KEY)
    bench.log.gate = asyncio.Event()
    first, second = (asyncio.ensure_future(bench.history(topic, 100)) for _ in range(2))
    await until(lambda: "since 100" in bench.log.calls)
    first.cancel()
    bench.log.gate.set()
    assert await second == [101]


async def test_a_cursor_too_old_or_of_another_database_means_a_reset(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    assert await bench.history(topic, START - 1) is None
    assert await bench.history(topic, START + 1) is None


async def test_a_database_behind_what_was_told_means_a_reset(bench: Bench) -> None:
    bench.elsewhere(101)
    topic = await bench.hub.topic(KEY)
    bench.commit(102)
    bench.log.changes.pop()  # it went back in time
    topic.ring.floor = 102  # and the ring can't help
    history = await topic.past.history(100, upto=102)
    assert history is None


async def test_a_replay_over_the_limit_means_a_reset(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "REPLAY_LIMIT", 4)
    bench.elsewhere(101, 102, 103, 104, 105)
    topic = await bench.hub.topic(KEY)
    assert await bench.history(topic, 101) == [102, 103, 104, 105]
    assert await bench.history(topic, 100) is None


async def test_a_failing_replay_fails_for_those_who_wait_and_not_for_the_next(bench: Bench) -> None:
    bench.elsewhere(101)
    topic = await bench.hub.topic(KEY)
    bench.log.fail = DatabaseUnavailable("down")
    with pytest.raises(DatabaseUnavailable):
        await bench.history(topic, 100)
    bench.log.fail = None
    assert await bench.history(topic, 100) == [101]


async def test_all_who_come_with_the_same_old_cursor_are_told_once_that_it_is_too_old(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    bench.log.calls.clear()
    assert await asyncio.gather(*(bench.history(topic, START - 1) for _ in range(20))) == [None] * 20
    assert bench.log.calls == [f"since {START - 1}"]


async def test_what_is_older_than_a_cursor_too_old_is_so_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "REPLAY_LIMIT", 2)
    bench.elsewhere(101, 102, 103, 104)
    topic = await bench.hub.topic(KEY)
    assert await bench.history(topic, 101) is None
    bench.log.calls.clear()
    assert await asyncio.gather(*(bench.history(topic, cursor) for cursor in range(90, 101))) == [None] * 11
    assert bench.log.calls == []
    assert await bench.history(topic, 102) == [103, 104]


async def test_a_cursor_ahead_says_nothing_of_those_behind_it(bench: Bench) -> None:
    bench.elsewhere(101)
    topic = await bench.hub.topic(KEY)
    assert await bench.history(topic, 500) is None
    assert await bench.history(topic, START) == [101]


async def test_after_a_loss_old_cursors_are_asked_about_again(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    assert await bench.history(topic, START - 1) is None
    bench.log.floor = 10
    bench.elsewhere(200)
    bench.hub.lost(KEY, 200, "another database")
    assert await bench.history(topic, START - 1) == [200]


async def test_who_waits_beside_one_whose_cursor_is_too_old_gets_a_reading_of_its_own(bench: Bench) -> None:
    bench.elsewhere(101, 102)
    topic = await bench.hub.topic(KEY)
    assert await asyncio.gather(bench.history(topic, START - 1), bench.history(topic, 101)) == [None, [102]]


@pytest.mark.timeout(10)
async def test_who_comes_just_when_a_reading_has_ended_does_not_wait_for_it(bench: Bench) -> None:
    """It would wait for nothing, again and again, and nothing else would ever run."""
    bench.elsewhere(101, 102)
    topic = await bench.hub.topic(KEY)
    gate = bench.log.gate = asyncio.Event()
    too_old = asyncio.ensure_future(bench.history(topic, START - 1))
    await until(lambda: f"since {START - 1}" in bench.log.calls)

    async def comes() -> list[int] | None:
        await gate.wait()  # woken right after the reading, before all that follows from its end
        bench.log.gate = None
        return await bench.history(topic, 101)

    coming = asyncio.ensure_future(comes())
    await asyncio.sleep(0)
    gate.set()
    assert await too_old is None
    assert await coming == [102]


async def test_who_comes_after_a_loss_does_not_wait_for_readings_that_began_before_it(bench: Bench) -> None:
    bench.elsewhere(101, 102)
    topic = await bench.hub.topic(KEY)
    gate = bench.log.gate = asyncio.Event()
    before = [asyncio.ensure_future(bench.history(topic, 101)), asyncio.ensure_future(states(bench, 1))]
    await until(lambda: {"since 101", "snapshot"} <= set(bench.log.calls))
    bench.log.gate = None
    bench.elsewhere(200)
    bench.hub.lost(KEY, 200, "another database")
    assert await bench.history(topic, 101) == [102, 200]
    assert [state.head for state in await states(bench, 1)] == [200]
    gate.set()
    await asyncio.gather(*before)


# A reading that the ring has no room for


@pytest.fixture
async def crowded(bench: Bench) -> Topic:
    bench.elsewhere(101, 102, 103, 104)
    topic = await bench.hub.topic(KEY)
    topic.ring._max_items = 2
    return topic


async def test_who_comes_right_behind_shares_it_and_the_next_ask_for_more_alone(bench: Bench, crowded: Topic) -> None:
    assert await bench.history(crowded, 101) == [102, 103, 104]
    bench.log.calls.clear()
    bench.commit(105)
    assert await bench.history(crowded, 102) == [103, 104, 105]
    assert bench.log.calls == []
    assert await bench.history(crowded, 100) == [101, 102, 103, 104, 105]
    assert await bench.history(crowded, 101) == [102, 103, 104, 105]
    assert bench.log.calls == ["since 100", "since 103"]  # a page, and its rest


async def test_its_rest_is_not_taken_from_a_reading_that_ends_where_it_does(bench: Bench, crowded: Topic) -> None:
    """It would seem that the database is behind what was told, and pages were reset."""
    crowded.ring._max_items = 1
    assert await bench.history(crowded, 102) == [103, 104]
    assert crowded.past._kept is not None
    gate = bench.log.gate = asyncio.Event()
    longer = asyncio.ensure_future(bench.history(crowded, 101))
    await until(lambda: bench.log.calls[-1] == "since 101")
    bench.log.gate = None
    bench.commit(105, 106, 107, 108)
    late = asyncio.ensure_future(bench.history(crowded, 103))
    await asyncio.sleep(0)
    gate.set()
    assert await late == [104, 105, 106, 107, 108]
    assert await longer == [102, 103, 104]


async def test_it_is_not_kept_for_long(bench: Bench, crowded: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "KEPT_SECONDS", 0.0)
    assert await bench.history(crowded, 101) == [102, 103, 104]
    await until(lambda: crowded.past._kept is None)
    bench.log.calls.clear()
    assert await bench.history(crowded, 102) == [103, 104]
    assert bench.log.calls == ["since 102"]


async def test_nor_if_it_is_large(bench: Bench, crowded: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "KEPT_BYTES", 1)
    assert await bench.history(crowded, 101) == [102, 103, 104]
    assert crowded.past._kept is None


async def test_nor_over_a_loss(bench: Bench, crowded: Topic) -> None:
    bench.log.gate = asyncio.Event()
    assert crowded.past._kept is None
    reading = asyncio.ensure_future(bench.history(crowded, 101))
    await until(lambda: "since 101" in bench.log.calls)
    bench.elsewhere(200)
    bench.hub.lost(KEY, 200, "another database")
    bench.log.gate.set()
    assert await reading is not None
    assert crowded.past._kept is None
    assert await bench.history(crowded, 102) == [103, 104, 200]
    assert crowded.past._kept is not None
    bench.hub.lost(KEY, 300, "another database")
    assert crowded.past._kept is None


# The state


async def states(bench: Bench, count: int) -> list[State]:
    topic = await bench.hub.topic(KEY)
    return await asyncio.gather(*(topic.past.state() for _ in range(count)))


async def test_all_who_wait_for_the_state_share_one_reading_and_its_messages(bench: Bench) -> None:
    bench.log.rows = {"rows": [{"id": "a", "value": 1}]}
    first, second = await states(bench, 2)
    assert first is second
    assert (first.head, [part.type for part in first.parts]) == (START, ["snapshot"])
    assert bench.log.calls.count("snapshot") == 1
    await states(bench, 1)
    assert bench.log.calls.count("snapshot") == 2


async def test_a_reading_older_than_what_was_published_since_does_not_serve_who_comes_later(bench: Bench) -> None:
    """Its viewer was attached after the change and will not be sent it, so its snapshot must hold it."""
    topic = await bench.hub.topic(KEY)
    bench.log.gate = asyncio.Event()
    early = asyncio.ensure_future(topic.past.state())
    await until(lambda: "snapshot" in bench.log.calls)
    bench.commit(101)
    late = [asyncio.ensure_future(topic.past.state()) for _ in range(3)]
    await asyncio.sleep(0)
    bench.log.gate.set()
    assert (await early).head == START
    assert [state.head for state in await asyncio.gather(*late)] == [101] * 3
    assert bench.log.calls.count("snapshot") == 2


async def test_who_comes_just_when_an_older_reading_has_ended_gets_one_of_its_own(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    gate = bench.log.gate = asyncio.Event()
    early = asyncio.ensure_future(topic.past.state())
    await until(lambda: "snapshot" in bench.log.calls)
    bench.commit(101)

    async def comes() -> State:
        await gate.wait()
        bench.log.gate = None
        return await topic.past.state()

    late = asyncio.ensure_future(comes())
    await asyncio.sleep(0)
    gate.set()
    assert (await early).head == START
    assert (await late).head == 101


async def test_a_database_that_went_back_is_taken_at_its_word(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    bench.commit(101)
    bench.log.changes.clear()
    assert (await topic.past.state()).head == START


async def test_a_failing_reading_of_the_state_fails_for_those_who_wait_and_not_for_the_next(bench: Bench) -> None:
    topic = await bench.hub.topic(KEY)
    bench.log.fail = DatabaseUnavailable("down")
    for outcome in await asyncio.gather(topic.past.state(), topic.past.state(), return_exceptions=True):
        assert isinstance(outcome, DatabaseUnavailable)
    bench.log.fail = None
    assert (await topic.past.state()).head == START


def test_a_row_that_cannot_be_translated_is_left_out_of_snapshots_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One such row of a database's own took the whole project's streams with it."""
    given = {
        "ingestion_sources": [],
        "jobs": [{"id": 1, "progress_current": "half"}, {"id": 2}, {"id": 3, "title": {"en": "A"}}],
        "proposed_nodes": [{"id": "a", "confidence": "high"}, {"id": "b", "confidence": 0.5}],
    }
    rows = {name: [STANDARD.ours[name].row(row) for row in listed] for name, listed in given.items()}
    told = present(ProjectFeed(), KEY, rows)
    assert [job.job_id for job in told["jobs"]] == ["2"]
    assert [proposal.proposal_id for proposal in told["proposals"]] == ["b"]
    logged = [(each.fields["table"], each.fields["rows"], each.fields["first"]) for each in caplog.records]
    assert logged == [("jobs", 2, "1"), ("proposed_nodes", 1, "a")]
