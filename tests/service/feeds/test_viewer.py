"""One open stream: what waits is bounded whatever happens, and whoever sends it is woken."""

import asyncio

import pytest

from service.events.endings import Ending
from service.events.model import Live, Reset
from service.feeds.batch import Batch
from service.feeds.outbox import Outbox
from service.feeds.viewer import Viewer
from tests.service.tiny import make_delivery, told

FAR = 1e9


def batch(*revisions: int) -> Batch:
    """A change of a row of its own for each, after the one before the first."""
    return Batch(revisions[0] - 1, [make_delivery(revision, row_id=f"r{revision}") for revision in revisions])


async def waiting(viewer: Viewer) -> "asyncio.Future[None]":
    """A viewer's reader that has all and waits for news."""
    reader = asyncio.ensure_future(viewer.wait(asyncio.get_running_loop().time() + FAR))
    await asyncio.sleep(0)
    assert not reader.done()
    return reader


async def test_who_waits_for_news_takes_the_batch_itself() -> None:
    viewer = Viewer(Outbox(last=0))
    reader = await waiting(viewer)
    offered = batch(1, 2)
    viewer.offer(offered)
    await reader
    assert viewer.batch is offered
    assert not len(viewer.outbox)
    viewer.offer(batch(3))  # before it has come to read the first
    assert told(one for one, _ in viewer.outbox.take()) == ["changed r3=3"]
    viewer.close()


async def test_who_waits_and_has_all_may_take_a_batch_at_once() -> None:
    viewer = Viewer(Outbox(last=0))
    offered: list[Batch] = []
    viewer.taker = lambda batch: offered.append(batch) is None
    viewer.offer(batch(1))
    assert offered == []  # it does not wait yet
    viewer.outbox.take()
    reader = await waiting(viewer)
    viewer.offer(first := batch(2))
    viewer.offer(second := batch(3))
    assert (offered, viewer.has_news) == ([first, second], False)
    viewer.tell_live(Live(live=False, reason="gone"))
    viewer.offer(last := batch(4))
    assert (offered, viewer.batch) == ([first, second], last)  # there is a word to be said before
    await reader
    viewer.close()


async def test_who_can_not_take_a_batch_at_once_is_woken_for_it() -> None:
    viewer = Viewer(Outbox(last=0))
    viewer.taker = lambda _: False
    reader = await waiting(viewer)
    viewer.offer(offered := batch(1))
    await reader
    assert viewer.batch is offered
    viewer.close()


async def test_who_is_still_being_sent_to_gets_the_changes_into_its_outbox() -> None:
    viewer = Viewer(Outbox(last=0))
    viewer.offer(batch(1, 2))
    assert viewer.batch is None
    assert told(one for one, _ in viewer.outbox.take()) == ["changed r1=1", "changed r2=2"]
    await waiting(viewer)
    viewer.offer(batch(3))
    assert viewer.batch is not None
    viewer.close()


@pytest.mark.parametrize("known", [1, 2, 3])
async def test_who_knows_a_part_of_a_batch_is_told_the_rest(known: int) -> None:
    viewer = Viewer(Outbox(last=known))
    await waiting(viewer)
    viewer.offer(batch(1, 2, 3))
    assert viewer.batch is None
    rest = [f"changed r{revision}={revision}" for revision in range(known + 1, 4)]
    assert told(one for one, _ in viewer.outbox.take()) == rest
    viewer.close()


async def test_before_the_snapshot_that_follows_a_reset_no_batch_is_taken_whole() -> None:
    viewer = Viewer(Outbox(last=0))
    viewer.tell_reset(Reset(reason="pruned"))
    viewer.reset = None
    await waiting(viewer)
    viewer.offer(batch(1, 2))
    viewer.outbox.skip_to(1)
    assert viewer.batch is None
    assert told(one for one, _ in viewer.outbox.take()) == ["changed r2=2"]
    viewer.close()


def test_an_overflow_empties_the_outbox_and_ends_the_stream() -> None:
    viewer = Viewer(Outbox(last=0, max_rows=1))
    viewer.offer(batch(1, 2))
    assert viewer.ending is Ending.TOO_SLOW
    viewer.offer(batch(3))
    assert len(viewer.outbox) == 0


def test_only_the_newest_word_about_the_upstream_waits() -> None:
    viewer = Viewer(Outbox(last=0))
    viewer.tell_live(Live(live=False, reason="cut"))
    viewer.tell_live(Live(live=True, reason="back"))
    assert viewer.live == Live(live=True, reason="back")


def test_a_reset_throws_away_what_waits_and_holds_off_more_until_it_is_taken() -> None:
    viewer = Viewer(Outbox(last=900))
    viewer.offer(batch(901))
    viewer.tell_reset(Reset(reason="pruned"))
    viewer.offer(batch(902))
    assert len(viewer.outbox) == 0
    viewer.reset = None
    viewer.offer(batch(7))  # another database may count from elsewhere
    assert told(one for one, _ in viewer.outbox.take()) == ["changed r7=7"]


def test_the_first_ending_counts() -> None:
    viewer = Viewer(Outbox(last=0))
    viewer.end(Ending.TOKEN_EXPIRED)
    viewer.end(Ending.SHUTDOWN)
    assert viewer.ending is Ending.TOKEN_EXPIRED


@pytest.mark.parametrize("ending", [Ending.TOKEN_EXPIRED, Ending.ACCESS_REVOKED])
async def test_one_that_denies_comes_before_others_and_takes_what_waits_with_it(ending: Ending) -> None:
    viewer = Viewer(Outbox(last=0))
    await waiting(viewer)
    viewer.offer(batch(1))
    viewer.offer(batch(2))
    viewer.end(Ending.SHUTDOWN)
    assert viewer.has_news
    viewer.end(ending)
    viewer.offer(batch(3))
    assert not viewer.has_news
    assert viewer.ending is ending
    viewer.close()
