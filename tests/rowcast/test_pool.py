"""Both sorts of pools, against a real server."""
# ruff: noqa: PT012 - what raises is the end of the block under test

import asyncio
import threading
from pathlib import Path

import pytest

import rowcast
from rowcast.errors import JobCancelled
from rowcast.pool import _label

PROJECT = "b1c7c8ab-5c0a-4a1e-9d3e-000000000001"


def a_job(client):
    return client.job(PROJECT, kind="test", title="A test")


def told(job):
    with job._writer.lock:
        return job._state.pipeline.as_object(job._writer.clock())


async def test_tasks_share_the_items_and_their_results_come_in_order(connect):
    gate, seen = asyncio.Event(), []

    async def double(number):
        seen.append(number)
        if len(seen) == 2:
            stage, workers = told(job)["stages"]["doubling"], told(job)["worker_pool"]
            assert (stage["in_flight"], stage["total"], workers["active"], workers["queue_depth"]) == (2, 4, 2, 2)
            assert {worker["current_chunk"] for worker in workers["workers"]} == {"0", "1"}
            gate.set()
        await gate.wait()
        return number * 2

    async with connect() as client, a_job(client) as job:
        async with job.pool(2) as pool:
            assert [each async for each in pool.map(double, range(4), "doubling")] == [0, 2, 4, 6]
        stage, workers = told(job)["stages"]["doubling"], told(job)["worker_pool"]
        assert (stage["processed"], stage["is_complete"], stage["in_flight"]) == (4, True, 0)
        assert (workers["active"], workers["max"], workers["queue_depth"]) == (0, 2, 0)


def test_threads_share_the_items_and_their_results_come_in_order(connect):
    both = threading.Barrier(2)

    def double(number):
        both.wait(20)
        assert told(job)["worker_pool"]["active"] == 2
        both.wait(20)
        return number * 2

    with connect() as client, a_job(client) as job:
        with job.pool(2) as pool:
            assert list(pool.map(double, iter(range(4)), "doubling", total=4)) == [0, 2, 4, 6]
        assert told(job)["stages"]["doubling"]["processed"] == 4
        assert told(job)["worker_pool"]["queue_depth"] == 0


def test_what_is_left_of_a_map_waits_for_nobody(connect):
    with connect() as client, a_job(client) as job, job.pool(2) as pool:
        for _ in pool.map(str, range(100), "first"):
            break
        assert told(job)["worker_pool"]["queue_depth"] == 0


async def test_what_is_left_of_an_async_map_waits_for_nobody(connect):
    async with connect() as client, a_job(client) as job, job.pool(2) as pool:
        results = pool.map(str, range(100), "first")
        await anext(results)
        await results.aclose()
        assert told(job)["worker_pool"]["queue_depth"] == 0


async def test_plain_functions_of_an_async_pool_run_in_threads_with_the_context(connect):
    def read(name):
        assert threading.current_thread() is not threading.main_thread()
        for _ in rowcast.progress().track([1, 2], "pages"):
            worker = told(job)["worker_pool"]["workers"][0]
        return name, worker["progress_percent"]

    async with connect() as client, a_job(client) as job:
        async with job.pool(1) as pool:
            assert [each async for each in pool.map(read, ["a"], "files")] == [("a", 50.0)]
        assert told(job)["stages"]["pages"]["parent"] == "files"


def test_threads_of_a_pool_have_the_context(connect):
    with connect() as client, a_job(client) as job, job.pool(2) as pool:
        assert list(pool.map(lambda _: rowcast.current_job() is job, range(3), "asking")) == [True] * 3


def test_a_thread_s_item_may_submit_another(connect):
    done, gate = [], threading.Event()
    with connect() as client, a_job(client) as job, job.pool(2) as pool:

        def second():
            gate.wait()
            done.append("second")

        def first():
            pool.submit(second)
            threading.Timer(0.05, gate.set).start()

        pool.submit(first)
    assert done == ["second"]


async def test_a_pool_in_a_loop_s_body_is_a_part_of_its_item(connect):
    async def read(page):
        return page

    async with connect() as client, a_job(client) as job:
        async for _ in job.track("ab", "files"):
            async with job.pool(2) as pool:
                assert [page async for page in pool.map(read, range(3), "pages")] == [0, 1, 2]
                await pool.submit(read, 7)  # a part of the file, which the loop counts
        stages = told(job)["stages"]
        assert {name: (stage["processed"], stage.get("parent")) for name, stage in stages.items()} == {
            "files": (2, None), "pages": (6, "files"),
        }  # fmt: skip
        async with job.pool(2) as pool:
            async for _ in pool.map(read, range(3), "more"):
                break
        assert "parent" not in told(job)["stages"]["more"]


async def test_single_items_are_submitted_and_may_count_for_nothing(connect):
    async def one(name):
        return name

    async with connect() as client, a_job(client) as job:
        job.stage("reading", 2)
        async with job.pool(2, parts=True) as pool:
            task = await pool.submit(one, "a", label="file a")
            assert await task == "a"
        assert told(job)["stages"]["reading"]["processed"] == 0


async def test_the_first_failure_cancels_the_others_and_is_raised(connect):
    started, cancelled = asyncio.Event(), []

    async def work(number):
        if number == 1:
            await started.wait()
            raise LookupError("1")
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    async with connect() as client, a_job(client) as job:
        with pytest.raises(LookupError, match="1"):
            async with job.pool(2) as pool:
                async for _ in pool.map(work, range(5), "working"):
                    pass
        assert cancelled == [0]
        assert [worker["status"] for worker in told(job)["worker_pool"]["workers"]] == ["error", "error"]
        assert told(job)["stages"]["working"]["in_flight"] == 0


async def test_a_failure_that_nobody_asked_for_is_raised_at_the_end(connect):
    async def work():
        raise LookupError("late")

    async with connect() as client, a_job(client) as job:
        with pytest.raises(LookupError, match="late"):
            async with job.pool(2) as pool:
                await pool.submit(work)


def test_a_thread_s_failure_is_raised_and_nothing_more_begins(connect):
    begun = []

    def work(number):
        begun.append(number)
        raise LookupError(str(number))

    with connect() as client, a_job(client) as job:
        with pytest.raises(LookupError, match="0"), job.pool(1) as pool:
            list(pool.map(work, range(5), "working"))
        assert begun == [0]
        with pytest.raises(LookupError, match="7"), job.pool(1) as pool:
            pool.submit(work, 7)


async def test_a_body_that_fails_cancels_what_is_under_way(connect):
    ended = asyncio.Event()

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with connect() as client, a_job(client) as job:
        with pytest.raises(LookupError):
            async with job.pool(2) as pool:
                await pool.submit(work)
                await asyncio.sleep(0)
                raise LookupError
        assert ended.is_set()


async def test_a_job_asked_to_stop_begins_nothing_more(server, connect):
    begun = []

    async def work(number):
        begun.append(number)
        server.row("jobs", job.id)["cancel_requested_at"] = "now"
        job.log("asked to stop")
        while not job.cancelled:
            await asyncio.sleep(0)

    with pytest.raises(JobCancelled):
        async with connect() as client, a_job(client) as job, job.pool(1) as pool:
            async for _ in pool.map(work, range(5), "working"):
                pass
    assert begun == [0]
    assert server.row("jobs", job.id)["status"] == "stopped"


async def test_a_pool_is_used_inside_its_block(connect):
    async with connect() as client, a_job(client) as job:
        with pytest.raises(RuntimeError, match="inside its `with` block"):
            await job.pool(1).submit(print)


@pytest.mark.parametrize(
    ("item", "label"),
    [("a.md", "a.md"), (7, "7"), (Path("dir/a.md"), "a.md"), (rowcast.Proposal("T", 0.5), "T"), (object(), None)],
)
def test_an_item_is_called_what_it_calls_itself(item, label):
    assert _label((item,)) == label
    assert _label(()) is None
