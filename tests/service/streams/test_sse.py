"""The project's stream over a real socket: hypercorn, PostgreSQL, REST and Realtime behind it."""

import asyncio
import re
from uuid import uuid4

import httpx
import pytest

from service.streams.sse import has_all
from tests.conftest import StackFacts
from tests.service.conftest import Project, add_user
from tests.service.fakes import KEY
from tests.service.feeds.test_hub import Bench
from tests.service.pages import opened


def stream(service: str, project: Project) -> str:
    return f"{service}/api/projects/{project.id}/status"


async def test_a_page_sees_a_job_from_beginning_to_end(service: str, project: Project) -> None:
    async with opened(stream(service, project), project.headers) as page:
        connected = await page.next()
        assert connected == {
            "type": "connected", "message": "Connected to status updates", "projectId": project.id,
            "revision": connected["revision"], "resumed": False, "live": True, "exact": True,
        }  # fmt: skip
        source = project.source()
        job = project.job(status="running")
        project.execute("update ingestion_sources set status = 'processing' where id = %s", source)
        project.execute("update jobs set progress_stage = 'parsing', progress_total = 4 where id = %s", job)
        proposal = project.proposal("Tables")
        project.execute("update ingestion_sources set status = 'completed' where id = %s", source)
        project.execute(
            "update jobs set status = 'completed', progress_stage = 'complete', progress_current = 4 where id = %s", job
        )
        await page.until("job_update", status="completed")
        assert page.types == [
            "connected", "status_update", "job_update", "status_update", "progress_update", "new_proposal",
            "status_update", "progress_update", "job_update",
        ]  # fmt: skip
        assert page.ids == sorted(set(page.ids))
        assert page.ids[0] == connected["revision"]
        assert page.messages[5]["proposalId"] == proposal
        assert page.messages[7]["progress"]["stage"] == "complete"


async def test_the_answers_headers_suit_a_stream(service: str, project: Project) -> None:
    async with opened(stream(service, project), {**project.headers, "Origin": "http://localhost:3000"}) as page:
        headers = page.response.headers
        assert headers["Content-Type"].startswith("text/event-stream")
        assert headers["Cache-Control"] == "no-cache, no-transform"
        assert headers["X-Accel-Buffering"] == "no"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert re.fullmatch("[0-9a-f]{8}", headers["X-Stream-Id"])
        assert headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        assert headers["Access-Control-Allow-Credentials"] == "true"


async def test_deletions_and_moves_are_told(service: str, project: Project, stack: StackFacts) -> None:
    source, moved = project.source(), project.source("moved.md")
    other = project.database.execute(
        "insert into projects (organization_id, name) "
        "select organization_id, 'Other' from projects where id = %s returning id",
        [project.id],
    ).fetchone()
    assert other is not None
    async with opened(stream(service, project), project.headers) as page:
        await page.until("connected")
        project.execute("delete from ingestion_sources where id = %s", source)
        project.execute("update ingestion_sources set project_id = %s where id = %s", other[0], moved)
        assert (await page.until("source_deleted"))["sourceId"] == source
        assert (await page.until("source_deleted"))["sourceId"] == moved


@pytest.mark.parametrize("how", ["Last-Event-ID", "since"])
async def test_a_page_that_was_away_gets_exactly_what_it_missed(service: str, project: Project, how: str) -> None:
    async with opened(stream(service, project), project.headers) as page:
        await page.until("connected")
        project.proposal("seen")
        await page.until("new_proposal")
        last = str(page.ids[-1])
    missed = [project.proposal(f"missed {number}") for number in range(5)]
    headers = {**project.headers, **({how: last} if how == "Last-Event-ID" else {})}
    query = {"since": last} if how == "since" else {"snapshot": "1", "since": "0"}
    async with opened(stream(service, project), headers, **query) as page:
        connected = await page.next()
        assert (connected["resumed"], connected["revision"]) == (True, int(last))
        for proposal in missed:
            assert (await page.next())["proposalId"] == proposal
        now = project.proposal("now")
        assert (await page.next())["proposalId"] == now
        assert page.ids[0] == int(last)
        assert page.ids == sorted(set(page.ids))


async def test_changes_missed_are_merged_to_the_newest(service: str, project: Project) -> None:
    job = project.job(status="running")
    async with opened(stream(service, project), project.headers) as page:
        await page.until("connected")
        missed_from = page.ids[-1]
        project.execute("update jobs set status = 'paused' where id = %s", job)
        for current in range(10):
            project.execute("update jobs set progress_current = %s where id = %s", current, job)
        while (await page.until("progress_update"))["progress"]["current"] != 9:
            pass  # until the service has heard all of it
    async with opened(stream(service, project), {**project.headers, "Last-Event-ID": str(missed_from)}) as again:
        await again.until("job_update", status="paused")
        assert again.types == ["connected", "progress_update", "job_update"]
        assert again.messages[1]["progress"]["current"] == 9


async def test_a_snapshot_first_then_what_happens(service: str, project: Project) -> None:
    job, source, proposal = project.job(), project.source(), project.proposal("Tables")
    async with opened(stream(service, project), project.headers, snapshot="1") as page:
        snapshot = await page.until("snapshot")
        assert page.types == ["connected", "snapshot"]
        assert [row["jobId"] for row in snapshot["jobs"]] == [job]
        assert [row["sourceId"] for row in snapshot["sources"]] == [source]
        assert [row["proposalId"] for row in snapshot["proposals"]] == [proposal]
        assert page.ids == [snapshot["revision"]]
        project.execute("delete from jobs where id = %s", job)
        assert (await page.next()) == {"type": "job_deleted", "jobId": job}


@pytest.mark.parametrize("cursor", ["0", "1", str(2**53 - 1)])
async def test_a_cursor_of_another_time_or_database_is_a_reset_with_a_snapshot(
    service: str, project: Project, cursor: str
) -> None:
    job = project.job()
    async with opened(stream(service, project), project.headers, since=cursor) as page:
        snapshot = await page.until("snapshot")
        assert page.types == ["connected", "reset", "snapshot"]
        assert [row["jobId"] for row in snapshot["jobs"]] == [job]
        project.execute("delete from jobs where id = %s", job)
        assert (await page.next())["type"] == "job_deleted"


async def test_named_events_and_types(service: str, project: Project) -> None:
    async with opened(
        stream(service, project), project.headers, events="named", types="job_update,new_proposal"
    ) as page:
        await page.next()
        project.source()
        job = project.job(progress_current=1)
        project.proposal("Tables")
        await page.until("new_proposal")
        assert page.names == ["connected", "job_update", "new_proposal"]
        assert page.messages[1]["jobId"] == job


async def test_text_from_the_database_stays_text(service: str, project: Project) -> None:
    title = 'a\n\ndata: {"type":"stream_end"}\r\nid: 1\u2028\u2029<script>\x7f\U0001f600'
    async with opened(stream(service, project), project.headers) as page:
        await page.next()
        project.proposal(title)
        assert (await page.next())["title"] == title


async def test_many_pages_see_the_same(service: str, project: Project) -> None:
    async def look(started: asyncio.Semaphore) -> list[str]:
        async with opened(stream(service, project), project.headers) as page:
            await page.next()
            started.release()
            await page.until("new_proposal", title="last")
            return [message["title"] for message in page.messages[1:]]

    started = asyncio.Semaphore(0)
    pages = [asyncio.ensure_future(look(started)) for _ in range(20)]
    for _ in pages:
        await started.acquire()
    titles = [f"proposal {number}" for number in range(20)] + ["last"]
    for title in titles:
        project.proposal(title)
    assert await asyncio.gather(*pages) == [titles] * 20


async def test_the_token_may_be_a_parameter(service: str, project: Project) -> None:
    async with opened(stream(service, project), token=project.token) as page:
        assert (await page.next())["type"] == "connected"


def answer(service: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str]]:
    got = httpx.get(f"{service}{path}", headers=headers or {})
    assert got.headers["Content-Type"] == "application/json"
    return got.status_code, got.json()


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("since=x", "since"), ("since=-1", "since"), ("since=", "since"), ("since=9007199254740992", "since"),
        ("snapshot=yes", "snapshot"), ("events=all", "events"), ("types=", "types"),
        ("types=job_update,nonsense", "nonsense"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(service: str, project: Project, query: str, named: str) -> None:
    status, body = answer(service, f"/api/projects/{project.id}/status?{query}", project.headers)
    assert (status, body["error"]) == (400, "bad_request")
    assert named in body["message"]


def test_a_wrong_last_event_id_is_named(service: str, project: Project) -> None:
    headers = {**project.headers, "Last-Event-ID": "abc"}
    status, body = answer(service, f"/api/projects/{project.id}/status", headers)
    assert (status, body["error"]) == (400, "bad_request")
    assert "Last-Event-ID" in body["message"]


@pytest.mark.parametrize("project_id", ["x", "1", "%00", "0" * 32, "{11111111-1111-4111-8111-111111111111}"])
def test_a_malformed_project_is_named(service: str, project: Project, project_id: str) -> None:
    status, body = answer(service, f"/api/projects/{project_id}/status", project.headers)
    assert (status, body["error"]) == (400, "bad_request")
    assert "project_id" in body["message"]


def test_without_a_valid_token_nobody_listens(service: str, project: Project) -> None:
    path = f"/api/projects/{project.id}/status"
    assert answer(service, path)[1]["error"] == "missing_token"
    assert answer(service, path, {"Authorization": "Bearer x.y.z"})[1]["error"] == "invalid_token"
    status, body = answer(service, f"{path}?token={project.token}", {"Authorization": "Basic eDp5"})
    assert (status, body["error"]) == (401, "invalid_token")


def test_anothers_project_looks_like_none(service: str, project: Project, stack: StackFacts) -> None:
    _, token = add_user(project.database, stack)
    headers = {"Authorization": f"Bearer {token}"}
    theirs = answer(service, f"/api/projects/{project.id}/status", headers)
    nobodys = answer(service, f"/api/projects/{uuid4()}/status", headers)
    assert theirs == nobodys
    assert theirs[0] == 404


def test_a_service_key_is_no_viewers_token(service: str, project: Project, stack: StackFacts) -> None:
    headers = {"Authorization": f"Bearer {stack.secret_key}"}
    assert answer(service, f"/api/projects/{project.id}/status", headers)[0] == 401


def test_a_preflight_from_a_configured_origin_passes_and_from_another_does_not(service: str, project: Project) -> None:
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization,last-event-id"}
    url = stream(service, project)
    ours = httpx.options(url, headers={**asked, "Origin": "http://localhost:3000"})
    assert ours.status_code == 200
    assert ours.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    allowed = set(re.split(r",\s*", ours.headers["Access-Control-Allow-Headers"].lower()))
    assert {"authorization", "last-event-id"} <= allowed
    theirs = httpx.options(url, headers={**asked, "Origin": "http://evil.example"})
    assert "Access-Control-Allow-Origin" not in theirs.headers


async def test_a_page_has_not_all_while_the_topic_is_behind_what_the_state_knows() -> None:
    """Told 204 then, it would never come back for the last event, of which only the database knows as yet."""
    bench = Bench()
    bench.elsewhere(101, 102)
    topic = await bench.hub.topic(KEY)
    bench.elsewhere(103)
    ahead = await topic.past.state()
    assert (topic.ring.head, ahead.head) == (102, 103)
    assert not await has_all(topic, ahead, 102)
    bench.hub.changes(KEY, [bench.log.changes[-1]])
    assert not await has_all(topic, ahead, 102)
    assert await has_all(topic, ahead, 103)
    await bench.hub.close()
