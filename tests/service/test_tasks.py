"""Background tasks whose failure is heard."""

import asyncio
import gc
import logging
import weakref

import pytest

from service.tasks import share, spawn
from tests.service.logged import fields_of


async def test_a_task_gives_its_result_and_says_nothing(caplog):
    async def work() -> int:
        return 7

    assert await spawn(work()) == 7
    assert caplog.records == []


async def test_a_failure_is_logged_with_its_traceback_though_nobody_awaits_it(caplog):
    async def work() -> None:
        raise RuntimeError("the roof is on fire")

    task = spawn(work())
    await asyncio.wait([task])
    await asyncio.sleep(0)  # callbacks run after whoever waited
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.name == "service.tasks"
    assert fields_of(record) == {"task": task.get_name()}
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "the roof is on fire"
    assert "in work" in caplog.text


async def test_a_cancelled_task_is_no_failure(caplog):
    task = spawn(asyncio.sleep(3600))
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert caplog.records == []


async def test_the_failure_of_shared_work_is_for_those_who_await_it(caplog):
    async def work() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("no answer")

    task = share(work())
    waiting = [asyncio.ensure_future(asyncio.shield(task)) for _ in range(3)]
    waiting[0].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, RuntimeError, RuntimeError]


async def test_the_failure_of_shared_work_that_nobody_awaits_any_more_is_nobodys(caplog):
    async def work() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("no answer")

    task = share(work())
    await asyncio.wait([task])
    del task
    gc.collect()  # where asyncio tells of failures that nobody saw
    assert caplog.records == []


@pytest.mark.parametrize("start", [spawn, share])
async def test_a_task_that_nobody_holds_is_no_garbage(start):
    waits_for: list[weakref.ref[asyncio.Future[None]]] = []
    ended = asyncio.Event()

    async def work() -> None:
        future = asyncio.get_running_loop().create_future()
        waits_for.append(weakref.ref(future))
        await future
        ended.set()

    start(work())
    await asyncio.sleep(0)
    gc.collect()
    future = waits_for[0]()
    assert future is not None
    future.set_result(None)
    await ended.wait()
