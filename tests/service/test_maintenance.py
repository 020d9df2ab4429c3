"""Maintenance goes on whatever happens, and really deletes what is old and finds what is lost."""

import asyncio

import httpx
import pytest

from service import maintenance, pipeline
from service.changes.log import ChangeLog
from service.errors import DatabaseUnavailable
from service.maintenance import keep
from service.settings import Settings
from supabase import AsyncClientOptions, acreate_client
from tests.conftest import StackFacts
from tests.service.conftest import Project, service_environment
from tests.service.fakes import until
from tests.service.logged import logged


class Batches:
    """Answers each call with the next of ``answers``, and 0 after the last."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.calls = 0

    async def prune(self) -> int:
        self.calls += 1
        answer = self.answers.pop(0) if self.answers else 0
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_round_goes_on_until_nothing_is_left_and_is_followed_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maintenance, "PAUSE_SECONDS", 0)
    log = Batches(10, 5, 0, DatabaseUnavailable("down"), 3)
    pruning = asyncio.ensure_future(keep("changes pruned", log.prune, 0, lambda: 0.0))
    await until(lambda: log.calls >= 7)
    assert log.answers == []
    assert not pruning.done()
    pruning.cancel()


async def test_an_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    down = DatabaseUnavailable("down")
    log = Batches(down, down, down, 0, down)
    pruning = asyncio.ensure_future(keep("changes pruned", log.prune, 0, lambda: 0.0))
    await until(lambda: log.calls >= 6)
    pruning.cancel()
    told = ("WARNING", "maintenance failed", {"what": "changes pruned", "error": "down"})
    assert logged(caplog, "service.maintenance") == [told, told]


async def test_old_changes_go_and_the_newest_of_each_key_stays(stack: StackFacts, project: Project) -> None:
    for title in ("a", "b", "c"):
        project.proposal(title)
    project.execute(
        "update feed_changes set committed_at = committed_at - interval '3 days' where key = %s", project.id
    )
    async with httpx.AsyncClient() as http:
        log = ChangeLog(
            await acreate_client(stack.supabase_url, stack.secret_key, AsyncClientOptions(httpx_client=http))
        )
        while await log.prune(2):
            pass
    left = project.database.execute("select row->>'title' from feed_changes where key = %s", [project.id]).fetchall()
    assert left == [("c",)]


async def test_a_service_finds_jobs_whose_worker_is_lost(stack: StackFacts, project: Project) -> None:
    lost, alive = project.job(status="running"), project.job(status="running")
    environment = {**service_environment(stack), "ROWCAST_STALL_SECONDS": "0.1"}
    async with pipeline.running(Settings.from_environment(environment)):
        for job in (lost, alive):
            project.call("job_heartbeat", job_id=job)
        project.execute("update jobs set lease_until = now() - interval '1 s' where id = %s", lost)

        def status(job: str) -> object:
            row = project.database.execute("select status from jobs where id = %s", [job]).fetchone()
            return row and row[0]

        await until(lambda: status(lost) == "stalled")
        assert status(alive) == "running"
