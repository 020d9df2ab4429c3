# ruff: noqa: PT012 - what raises is the end of the block under test
import asyncio
import threading

import pytest

import rowcast
from rowcast.errors import JobCancelled

PROJECT = "b1c7c8ab-5c0a-4a1e-9d3e-000000000001"


def library(items):
    """Code that knows of no job."""
    progress = rowcast.progress()
    progress.stage("preparing")
    progress.advance()
    progress.count("entities_total", 2)
    progress.log("begun")
    progress.check()
    return list(progress.track(items, "doing"))


def test_without_a_job_nothing_is_told_and_all_works():
    assert rowcast.current_job() is None
    assert not rowcast.progress()
    assert not rowcast.progress().cancelled
    assert library("ab") == ["a", "b"]


def test_a_library_reports_for_the_job_it_is_called_in(server, connect):
    with connect() as client, client.job(PROJECT, kind="test", title="Outer") as outer:
        with client.job(PROJECT, kind="test", title="Inner") as inner:
            assert rowcast.current_job() is inner
            assert library("ab") == ["a", "b"]
        assert rowcast.current_job() is outer
        assert rowcast.progress()
    assert rowcast.current_job() is None
    pipeline = server.row("jobs", inner.id)["pipeline"]
    assert {name: stage["processed"] for name, stage in pipeline["stages"].items()} == {"preparing": 1, "doing": 2}
    assert (pipeline["metrics"]["entities_total"], pipeline["log"][0]["message"]) == (2, "begun")
    assert server.row("jobs", outer.id)["pipeline"]["stages"] == {}


async def test_tasks_and_their_threads_are_in_the_job_but_other_threads_are_not(connect):
    async def task():
        return rowcast.current_job()

    others = []
    async with connect() as client, client.job(PROJECT, kind="test", title="A") as job:
        assert await asyncio.create_task(task()) is job
        assert await asyncio.to_thread(rowcast.current_job) is job
        thread = threading.Thread(target=lambda: others.append(rowcast.current_job()))
        thread.start()
        thread.join()
        assert others == [None]
        assert library("ab") == ["a", "b"]  # a plain loop, though the job is async
    assert rowcast.current_job() is None


async def test_a_plain_loop_in_async_code_ends_when_the_job_is_asked_to_stop(server, connect):
    async with connect() as client:
        with pytest.raises(JobCancelled):
            async with client.job(PROJECT, kind="test", title="A") as job:
                server.row("jobs", job.id)["cancel_requested_at"] = "now"
                job.advance()
                while not rowcast.progress().cancelled:
                    await asyncio.sleep(0)
                library("ab")
        assert rowcast.current_job() is None
