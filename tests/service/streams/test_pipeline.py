"""The pipeline streams over a real socket, and what they tell of which jobs."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import httpx_sse
import pytest
from psycopg.types.json import Jsonb

from devstack.accounts import access_token
from service.changes.change import Change, FeedKey
from service.errors import DatabaseUnavailable
from service.events.pipeline import missing
from service.events.project import ProjectFeed
from service.events.wire import encode
from service.feeds.hub import Hub
from service.metrics import Metrics
from service.streams.lifetime import Lifetime
from service.streams.pipeline import INTERVAL_SECONDS, Board, PipelineStream
from tests.conftest import StackFacts
from tests.service.conftest import ADMIN_TOKEN, Project, add_user
from tests.service.fakes import FakeLog, until
from tests.service.feeds.test_hub import FakeListener
from tests.service.tiny import AT

ROW: dict[str, Any] = {
    "id": "a", "title": "Manuals", "status": "running", "staff": False, "pipeline": None, "source_id": None,
    "error_message": None, "progress_stage": "parsing", "progress_current": 0, "progress_total": 4,
    "progress_updated_at": None, "started_at": None, "finished_at": None, "cancel_requested_at": None, "bom_id": None,
    "kind": "ingestion", "attempt": 1, "progress_message": None, "created_at": AT, "updated_at": AT,
}  # fmt: skip
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


def types(board: Board, now: float) -> list[str]:
    return [one.type for one in board.take(now)]


def at(current: int, **columns: Any) -> dict[str, Any]:
    return {**ROW, "progress_current": current, **columns}


def test_the_last_is_told_before_the_end_however_soon_it_comes() -> None:
    board = Board("a", staff=False)
    board.jobs([at(0)])
    assert types(board, 10.0) == ["pipeline_progress"]
    board.job(at(1))
    board.job(at(4, status="completed"))
    last, end = board.take(10.01)
    assert json.loads(last.data)["overall_progress_percent"] == 100.0
    assert (end.type, end.data) == ("complete", b"{}")
    assert board.has_ended


def test_one_job_s_stream_tells_nothing_of_others() -> None:
    board = Board("a", staff=False)
    board.jobs([at(0), at(0, id="b")])
    assert len(board.take(10.0)) == 1
    board.job(at(1, id="b", status="failed"))
    board.gone("b")
    assert board.take(11.0) == []
    assert not board.has_ended


def test_several_jobs_are_each_told_to_their_end_and_the_stream_goes_on() -> None:
    board = Board(None, staff=False)
    board.jobs([at(0), at(0, id="b"), at(4, id="old", status="completed")])
    assert [json.loads(one.data)["job_id"] for one in board.take(10.0)] == ["a", "b"]
    board.job(at(4, status="completed"))
    board.gone("b")
    board.job(at(0, id="new", status="queued"))
    told = [(one.type, json.loads(one.data)["job_id"]) for one in board.take(10.1)]
    assert told == [("pipeline_progress", "a"), ("complete", "a"), ("error", "b"), ("pipeline_progress", "new")]
    board.job(at(4, status="completed", title="again"))
    assert board.take(20.0) == []
    assert not board.has_ended


def test_what_happened_unheard_is_told_when_all_is_read_again() -> None:
    board = Board(None, staff=False)
    board.jobs([at(0), at(0, id="b")])
    board.take(10.0)
    board.jobs([at(4, status="failed")])
    assert types(board, 10.1) == ["error", "pipeline_progress", "error"]


def test_a_job_that_becomes_staff_s_is_gone_but_for_operators() -> None:
    for staff, expected in ((False, ["error"]), (True, ["pipeline_progress"])):
        board = Board("a", staff=staff)
        board.jobs([at(0)])
        board.take(10.0)
        board.job(at(1, staff=True))
        assert types(board, 11.0) == expected


async def test_what_came_before_the_state_is_not_told_behind_it() -> None:
    """The database is away for a moment while Realtime goes on: a job that has ended would run for ever."""
    others: dict[str, list[dict[str, Any]]] = {"ingestion_sources": [], "proposed_nodes": []}
    log = FakeLog(rows={"jobs": [at(0)], **others})
    hub = Hub(log, {"project": ProjectFeed()}, 60, outbox_bytes=1 << 20, metrics=Metrics())
    hub.bind(FakeListener(log))
    key = FeedKey("project", "p")
    topic = await hub.topic(key)
    lifetime = Lifetime(time.time() + 3600, 3600, 3600)
    stream = PipelineStream(hub, key, Board(None, staff=False), lifetime, lambda: 0.0)
    told: list[str] = []

    async def read() -> None:
        told.extend([chunk.decode() async for chunk in stream.chunks()])

    log.fail = DatabaseUnavailable("away")
    reading = asyncio.ensure_future(read())
    await until(lambda: any(viewer.is_waiting for viewer in topic.viewers))
    for revision, row in ((101, at(1)), (102, at(4, status="completed"))):
        log.rows = {"jobs": [row], **others}
        hub.changes(key, [log.append(Change(revision, revision - 1, "jobs", "a", "U", frozenset(row), row, AT))])
    topic.flush()
    log.fail = None
    (viewer,) = topic.viewers
    viewer.wake()
    await until(lambda: log.calls.count("snapshot") == 2 and viewer.is_waiting)
    assert not viewer.has_news
    await hub.drain(60)
    await reading
    assert "pipeline_progress" not in "".join(told)


Event = tuple[str, dict[str, Any]]


@asynccontextmanager
async def opened(url: str, headers: dict[str, str], **query: str) -> AsyncIterator[AsyncIterator[Event]]:
    async with (
        httpx.AsyncClient(timeout=30) as client,
        httpx_sse.aconnect_sse(client, "GET", url, params=query, headers=headers) as source,
    ):
        assert source.response.status_code == httpx.codes.OK, await source.response.aread()

        async def events() -> AsyncIterator[Event]:
            async for event in source.aiter_sse():
                assert event.id == ""
                if event.data:  # httpx-sse also tells of a block that only says when to retry
                    yield event.event, json.loads(event.data)

        yield events()


def of_job(service: str, job: str) -> str:
    return f"{service}/api/v1/admin/ingestion/jobs/{job}/progress"


async def all_of(service: str, job: str, headers: dict[str, str]) -> list[Event]:
    async with opened(of_job(service, job), headers) as events:
        return [event async for event in events]


async def test_a_job_is_told_from_where_it_is_to_its_end(service: str, project: Project) -> None:
    job = project.job(status="running", pipeline=Jsonb({"overall_progress_percent": 25.0, "total_chunks": 8}))
    async with opened(of_job(service, job), project.headers) as events:
        name, said = await anext(events)
        assert (name, said["overall_progress_percent"], said["total_chunks"]) == ("pipeline_progress", 25.0, 8)
        project.execute("update jobs set pipeline = '{\"overall_progress_percent\": 50}' where id = %s", job)
        assert (await anext(events))[1]["overall_progress_percent"] == 50.0
        for percent in range(51, 100):  # within one interval, or a few: most of it merges
            project.execute(
                "update jobs set pipeline = %s where id = %s", Jsonb({"overall_progress_percent": percent}), job
            )
        project.execute("update jobs set status = 'completed', pipeline = %s where id = %s",
                        Jsonb({"overall_progress_percent": 100}), job)  # fmt: skip
        rest = [event async for event in events]
    assert rest[-1] == ("complete", {})
    percents = [said["overall_progress_percent"] for name, said in rest if name == "pipeline_progress"]
    assert percents[-1] == 100.0
    assert percents == sorted(percents)
    assert len(percents) < 40


async def test_a_job_that_has_ended_is_told_as_it_ended(service: str, project: Project) -> None:
    failed = project.job(status="failed", error_message="no disk")
    assert (await all_of(service, failed, project.headers))[-1] == ("error", {"message": "no disk", "job_id": failed})
    stopped = project.job(status="stopped")
    names = [name for name, _ in await all_of(service, stopped, project.headers)]
    assert names == ["pipeline_progress", "error"]


async def test_what_is_not_there_for_who_asks_is_said_as_pages_expect(
    service: str, project: Project, stack: StackFacts
) -> None:
    _, stranger = add_user(project.database, stack)
    job, unknown = project.job(status="running"), str(uuid4())
    for asked, headers in (
        ("nonsense", project.headers),
        (unknown, project.headers),
        (unknown, ADMIN),
        (job, {"Authorization": f"Bearer {stranger}"}),
    ):
        told = json.loads(encode(missing(asked)).data)
        assert await all_of(service, asked, headers) == [("error", told)]


def test_a_token_is_needed(service: str) -> None:
    answer = httpx.get(of_job(service, str(uuid4())))
    assert (answer.status_code, answer.json()["error"]) == (401, "missing_token")


async def test_a_deleted_job_ends_its_stream(service: str, project: Project) -> None:
    job = project.job(status="running")
    async with opened(of_job(service, job), project.headers) as events:
        await anext(events)
        project.execute("delete from jobs where id = %s", job)
        assert [event async for event in events] == [("error", json.loads(encode(missing(job)).data))]


async def test_all_active_jobs_of_a_project_are_on_one_stream(service: str, project: Project) -> None:
    first, _ = project.job(status="running"), project.job(status="completed")
    url = f"{service}/api/v1/admin/ingestion/jobs/progress"
    async with opened(url, project.headers, project_id=project.id) as events:
        assert (await anext(events))[1]["job_id"] == first
        second = project.job(status="queued")
        assert (await anext(events))[1]["job_id"] == second
        project.execute("update jobs set status = 'completed' where id = %s", first)
        assert (await anext(events))[1]["job_id"] == first
        assert await anext(events) == ("complete", {"job_id": first})
        project.execute("update jobs set status = 'running' where id = %s", second)
        project.execute("update jobs set status = 'failed', error_message = 'no' where id = %s", second)
        while (event := await anext(events))[0] == "pipeline_progress":
            assert event[1]["job_id"] == second
        assert event == ("error", {"message": "no", "job_id": second})


async def test_staff_s_jobs_are_told_to_operators_alone(service: str, project: Project) -> None:
    run = project.start(project.bom("a", source="staff"))
    assert [name for name, _ in await all_of(service, run.job, project.headers)] == ["error"]
    async with opened(of_job(service, run.job), ADMIN) as events:
        assert (await anext(events))[0] == "pipeline_progress"


async def test_who_is_removed_is_told_nothing_more(service: str, project: Project) -> None:
    job = project.job(status="running")
    async with opened(of_job(service, job), project.headers) as events:
        await anext(events)
        project.execute("delete from project_members where project_id = %s", project.id)
        last = [event async for event in events][-1]
    assert last == ("stream_end", {"type": "stream_end", "reason": "access_revoked", "reconnect": False})


async def test_a_token_s_end_is_announced(service: str, project: Project, stack: StackFacts) -> None:
    row = project.database.execute("select email from auth.users where id = %s", [project.user_id]).fetchone()
    assert row is not None
    soon = access_token(stack.database_url, stack.jwt_secret, str(row[0]), time.time() - 3600 + 30)
    async with opened(of_job(service, project.job(status="running")), {"Authorization": f"Bearer {soon}"}) as events:
        assert [(await anext(events))[0] for _ in range(2)] == ["pipeline_progress", "reauth"]


@pytest.mark.parametrize("query", ["", "?project_id=x"])
def test_a_project_must_be_named(service: str, project: Project, query: str) -> None:
    answer = httpx.get(f"{service}/api/v1/admin/ingestion/jobs/progress{query}", headers=project.headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert "project_id" in answer.json()["message"]


def test_the_interval_is_the_contract_s() -> None:
    assert INTERVAL_SECONDS == 0.5
