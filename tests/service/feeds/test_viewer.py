"""One open stream: what waits is bounded whatever happens, and whoever sends it is woken."""

import asyncio

from service.events.endings import Ending
from service.events.model import Live, Reset
from service.feeds.outbox import Outbox
from service.feeds.viewer import Viewer
from tests.service.tiny import make_delivery, told

FAR = 1e9


def test_an_overflow_empties_the_outbox_and_ends_the_stream() -> None:
    viewer = Viewer(Outbox(last=0, max_rows=1))
    viewer.put(make_delivery(1, row_id="a"))
    viewer.put(make_delivery(2, row_id="b"))
    assert viewer.ending is Ending.TOO_SLOW
    viewer.put(make_delivery(3, row_id="c"))
    assert len(viewer.outbox) == 0


def test_only_the_newest_word_about_the_upstream_waits() -> None:
    viewer = Viewer(Outbox(last=0))
    viewer.tell_live(Live(live=False, reason="cut"))
    viewer.tell_live(Live(live=True, reason="back"))
    assert viewer.live == Live(live=True, reason="back")


def test_a_reset_throws_away_what_waits_and_holds_off_more_until_it_is_taken() -> None:
    viewer = Viewer(Outbox(last=900))
    viewer.put(make_delivery(901))
    viewer.tell_reset(Reset(reason="pruned"))
    viewer.put(make_delivery(902))
    assert len(viewer.outbox) == 0
    viewer.reset = None
    viewer.put(make_delivery(7))  # another database may count from elsewhere
    assert told(one for one, _ in viewer.outbox.take()) == ["changed a=7"]


def test_the_first_ending_counts() -> None:
    viewer = Viewer(Outbox(last=0))
    viewer.end(Ending.TOKEN_EXPIRED)
    viewer.end(Ending.SHUTDOWN)
    assert viewer.ending is Ending.TOKEN_EXPIRED


async def test_waiting_ends_when_woken_or_in_time() -> None:
    viewer = Viewer(Outbox(last=0))
    waiting = asyncio.ensure_future(viewer.wait(asyncio.get_running_loop().time() + FAR))
    await asyncio.sleep(0)
    assert not waiting.done()
    viewer.wake()
    await waiting
    await viewer.wait(asyncio.get_running_loop().time())
    viewer.wake()  # nobody waits: nothing to wake


async def test_news_that_came_before_waiting_began_is_not_slept_over() -> None:
    viewer = Viewer(Outbox(last=0))
    viewer.end(Ending.SHUTDOWN)
    await viewer.wait(asyncio.get_running_loop().time() + FAR)
