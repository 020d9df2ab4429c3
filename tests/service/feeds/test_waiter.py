"""Waiting ends when woken or in time, with as few timers as may be."""

import asyncio

from service.feeds.waiter import Waiter

FAR = 1e9


async def waiting(waiter: Waiter, seconds: float = FAR) -> "asyncio.Future[None]":
    reader = asyncio.ensure_future(waiter.wait(asyncio.get_running_loop().time() + seconds))
    await asyncio.sleep(0)
    assert waiter.is_waiting
    return reader


async def test_waiting_ends_when_woken_or_in_time() -> None:
    waiter = Waiter()
    reader = await waiting(waiter)
    waiter.wake()
    await reader
    await waiter.wait(asyncio.get_running_loop().time())
    assert not waiter.is_waiting
    waiter.wake()  # nobody waits: nothing to wake


async def woken(waiter: Waiter) -> asyncio.TimerHandle:
    """Its timer, once it has waited and was woken."""
    reader = await waiting(waiter)
    timer = waiter._timer
    assert timer is not None
    waiter.wake()
    await reader
    return timer


async def test_a_deadline_that_moves_on_keeps_its_timer_and_one_that_moves_closer_gets_a_new_one() -> None:
    waiter = Waiter()
    timer = await woken(waiter)
    later = await waiting(waiter, 2 * FAR)
    assert waiter._timer is timer
    waiter.wake()
    await later
    await waiter.wait(asyncio.get_running_loop().time())
    assert timer.cancelled()


async def test_who_is_done_with_waiting_leaves_no_timer() -> None:
    waiter = Waiter()
    timer = await woken(waiter)
    waiter.close()
    assert timer.cancelled()
