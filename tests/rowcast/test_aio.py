"""A job's life in async code, against a real server."""

import asyncio
import threading
import time

import pytest

import rowcast
from rowcast.errors import DeliveryError, RequestError

PROJECT = "b1c7c8ab-5c0a-4a1e-9d3e-000000000001"


def a_job(client):
    return client.job(PROJECT, kind="test", title="A test")


async def test_a_loop_that_is_left_is_around_nothing_any_more(server, connect):
    async with connect() as client, a_job(client) as job:
        async for _ in job.track("ab", "files"):
            async for _ in job.track("ab", "pages"):
                break
            break
        async for _ in job.track("ab", "more"):
            pass
    stages = server.row("jobs", job.id)["pipeline"]["stages"]
    assert {name: stage.get("parent") for name, stage in stages.items()} == {
        "files": None, "pages": "files", "more": None,
    }  # fmt: skip


async def test_a_job_tracks_plain_and_async_iterables(server, connect):
    async def documents():
        for name in "ab":
            yield name

    async with connect() as client, a_job(client) as job:
        assert [item async for item in job.track([1, 2, 3], stage="plain")] == [1, 2, 3]
        assert job._state.pipeline.columns()["progress_total"] == 3
        assert [item async for item in job.track(documents(), stage="async")] == ["a", "b"]
        columns = job._state.pipeline.columns()
        assert (columns["progress_current"], columns["progress_total"]) == (2, None)
        node = await job.propose("a", confidence=0.8, body="text")
        await job.flush()
        assert server.row("proposed_nodes", node)["confidence"] == 0.8
    assert server.row("jobs", job.id)["status"] == "completed"


async def test_heartbeats_and_progress_are_written_while_the_event_loop_is_blocked(server, connect):
    async with connect(lease=3) as client, a_job(client) as job:
        job.stage("computing", 1000)
        beats = sum(path == "rpc/job_heartbeat" for _, path, _ in server.writes)
        ends = time.monotonic() + 20
        while sum(path == "rpc/job_heartbeat" for _, path, _ in server.writes) < beats + 2 and time.monotonic() < ends:
            sum(range(20_000))  # no await: the loop is deaf all this time
            job.advance()
        assert time.monotonic() < ends
        assert len(set(server.updates("progress_current"))) > 2


async def test_a_cancelled_task_stops_its_job_and_waits_for_that_to_be_written(server, connect):
    entered = asyncio.Event()

    async def work():
        async with a_job(client) as job:
            ids.append(job.id)
            entered.set()
            await asyncio.Event().wait()

    ids = []
    async with connect() as client:
        task = asyncio.create_task(work())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert server.row("jobs", ids[0])["status"] == "stopped"


async def test_a_task_cancelled_while_its_job_begins_leaves_no_running_row(server, connect):
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    server.faults.append(lambda: loop.call_soon_threadsafe(asked.set) and "drop after")

    async def work():
        async with a_job(client):
            pytest.fail("the block must not run")

    async with connect() as client:
        task = asyncio.create_task(work())
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [row["status"] for row in server.tables["jobs"].values()] == ["stopped"]


async def test_a_task_cancelled_while_its_job_ends_waits_for_that(server, connect, caplog):
    loop = asyncio.get_running_loop()
    ending, go_on = asyncio.Event(), threading.Event()

    def slow():
        loop.call_soon_threadsafe(ending.set)
        assert go_on.wait(20)

    async def work():
        async with a_job(client) as job:
            ids.append(job.id)
            await job.propose("one", confidence=1)
            await job.flush()
            server.faults.append(slow)

    ids = []
    async with connect() as client:
        task = asyncio.create_task(work())
        await ending.wait()
        task.cancel()
        loop.call_soon(go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert server.row("jobs", ids[0])["status"] == "completed"
    assert not caplog.records


async def test_whoever_cancels_twice_does_not_wait(server, connect):
    async def work():
        async with a_job(client):
            server.always["jobs"] = 503
            entered.set()
            await asyncio.Event().wait()

    entered = asyncio.Event()
    async with connect() as client:
        task = asyncio.create_task(work())
        await entered.wait()
        task.cancel()
        refused = server.requests
        await asyncio.to_thread(server.wait, lambda: server.requests > refused)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_failure_is_written_and_raised_on(server, connect):
    with pytest.raises(ExceptionGroup):
        async with connect() as client, a_job(client) as job, asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(int, "x"))
    row = server.row("jobs", job.id)
    assert row["status"] == "failed"
    assert row["error_message"].startswith("ValueError: invalid literal")


async def test_an_undelivered_end_is_said_plainly(server, connect):
    with pytest.raises(DeliveryError, match="the job's end"):
        async with connect(deadline=2) as client, a_job(client):
            server.always["jobs"] = 503


async def test_nobody_there_is_told_within_the_deadline(server, connect):
    server.always["jobs"] = 503
    async with connect(deadline=0.2) as client:
        with pytest.raises(DeliveryError, match="last error: HTTP 503 fault 503"):
            async with a_job(client):
                pytest.fail("the block must not run")


async def test_a_failing_source_is_marked_and_stops_nothing(server, connect):
    async with connect() as client, a_job(client) as job:
        source = await job.source("bad.md", "markdown")
        with pytest.raises(ValueError, match="no text"):
            async with source:
                raise ValueError("no text in it")
        other = await job.source("good.md", "markdown")
        async with other:
            pass
    assert server.row("ingestion_sources", source.id)["status"] == "failed"
    assert server.row("ingestion_sources", source.id)["error_message"] == "ValueError: no text in it"
    assert server.row("ingestion_sources", other.id)["status"] == "completed"


async def test_a_full_queue_makes_propose_wait_without_blocking_the_loop(server, connect):
    async with connect() as client, a_job(client) as job:
        server.always["proposed_nodes"] = 503
        proposing = asyncio.create_task(job.propose_many(rowcast.Proposal(f"n{n}", 0.5) for n in range(1500)))
        asked = server.requests
        await asyncio.to_thread(server.wait, lambda: server.requests > asked)
        assert not proposing.done()
        server.always.clear()
        assert len(await proposing) == 1500
    assert len(server.tables["proposed_nodes"]) == 1500


async def test_a_refused_row_fails_the_job(server, connect):
    server.always["proposed_nodes"] = (400, {"code": "23514", "message": "violates check constraint"})
    async with connect() as client:
        with pytest.raises(RequestError, match="check constraint"):
            async with a_job(client) as job:
                await job.propose("a", confidence=1)
        assert server.row("jobs", job.id)["status"] == "failed"
