"""A BOM's stream, state and history over a real socket."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from service.errors import ApiError
from service.streams.enrichment import cursor, place
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import ADMIN_TOKEN, Project, add_user, served, service_environment
from tests.service.pages import Page, opened

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


def stream(service: str, bom: str) -> str:
    return f"{service}/api/enrichment/stream/{bom}"


async def read_to_the_end(page: Page) -> None:
    while True:
        try:
            await page.next()
        except StopAsyncIteration:
            return


async def get(url: str, headers: dict[str, str] | None = None, **query: object) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(url, headers=headers, params={name: str(value) for name, value in query.items()})


async def history(service: str, project: Project, bom: str, limit: int = 1000) -> list[dict[str, Any]]:
    """All of it, in pages of at most ``limit``."""
    read: list[dict[str, Any]] = []
    query: dict[str, object] = {"limit": limit}
    while True:
        answer = (await get(f"{service}/api/enrichment/events/{bom}", project.headers, **query)).json()
        read += answer["events"]
        if answer["next"] is None:
            assert len(answer["events"]) <= limit
            return read
        assert len(answer["events"]) == limit
        query["after"] = answer["next"]


async def test_a_page_sees_an_enrichment_from_beginning_to_end(service: str, project: Project) -> None:
    bom = project.bom(*(f"p{n}" for n in range(10)), "x1", None)
    async with opened(stream(service, bom), project.headers) as page:
        connected = await page.next()
        assert (connected["type"], connected["bom_id"], connected["message"]) == ("connected", bom, "Stream connected")
        assert connected["state"] | {"status": "idle", "total_items": 12, "percent_complete": 0.0} == connected["state"]
        run = project.start(bom)
        run.all()
        await read_to_the_end(page)
    component, failed = "enrichment.component.completed", "enrichment.component.failed"
    assert page.names == [
        "connected", "enrichment.started", *[component] * 10, "enrichment.progress", failed, failed,
        "enrichment.progress", "enrichment.completed", "stream_end",
    ]  # fmt: skip
    assert page.messages[-1] == {"type": "stream_end", "reason": "enrichment.completed", "reconnect": False}
    events = page.messages[1:-1]
    assert len({event["event_id"] for event in events}) == len(events)
    assert {event["workflow_run_id"] for event in events} == {run.job}
    for event in events:
        state = event["state"]
        done = state["enriched_items"] + state["failed_items"] + state["not_found_items"]
        assert state["pending_items"] == 12 - done
        assert state["percent_complete"] == round(100 * done / 12, 1)
    last = events[-1]["state"]
    counts = {"enriched_items": 10, "failed_items": 1, "not_found_items": 1, "percent_complete": 100.0}
    assert last | counts | {"status": "completed"} == last
    assert page.ids == sorted(set(page.ids))
    assert len(page.ids) == 5, "connected, and one of each row"


async def test_a_page_that_joins_half_way_has_the_whole(service: str, project: Project) -> None:
    bom = project.bom(*(f"p{n}" for n in range(40)))
    run = project.start(bom)
    run.batch()
    run.batch()
    async with opened(stream(service, bom), project.headers, snapshot="1") as page:
        assert (await page.next())["state"]["percent_complete"] == 50.0
        snapshot = await page.until("snapshot")
        assert snapshot["state"]["percent_complete"] == 50.0
        assert [component["mpn"] for component in snapshot["components"]] == [f"p{n}" for n in range(19, -1, -1)]
        assert page.ids[-1] == snapshot["revision"]
        run.all()
        await read_to_the_end(page)
    told = [message["component"]["mpn"] for message in page.messages if "component" in message]
    assert told == [f"p{n}" for n in range(20, 40)]


async def test_a_page_that_comes_back_is_told_what_it_missed_once(service: str, project: Project) -> None:
    bom = project.bom(*(f"p{n}" for n in range(40)))
    told: list[str] = []
    last_id = ""
    run = None
    while "enrichment.completed" not in told:
        headers = project.headers | ({"Last-Event-ID": last_id} if last_id else {})
        async with opened(stream(service, bom), headers) as page:
            assert (await page.next())["type"] == "connected"
            run = run or project.start(bom)
            run.batch()
            while (await page.next()).get("event_type") not in ("enrichment.progress", "enrichment.completed"):
                pass
            told += [message.get("event_id", "") for message in page.messages[1:]]
            told += [message["event_type"] for message in page.messages[1:] if "component" not in message]
            last_id = str(page.ids[-1])
    ids = [each for each in told if not each.startswith("enrichment.")]
    assert len(ids) == len(set(ids)) == 1 + 4 * 11 + 1


@pytest.mark.parametrize("how", ["completed", "failed"])
async def test_a_bom_that_has_ended_tells_its_last_state_and_ends(service: str, project: Project, how: str) -> None:
    bom = project.bom("a", "b")
    run = project.start(bom)
    if how == "completed":
        run.all()
    else:
        project.execute("update jobs set status = 'failed', error_message = 'out of paper' where id = %s", run.job)
    async with opened(stream(service, bom), project.headers) as page:
        await read_to_the_end(page)
    assert page.names == ["connected", f"enrichment.{how}", "stream_end"]
    assert page.messages[0]["state"] == page.messages[1]["state"]
    assert page.messages[1]["state"]["status"] == how
    assert page.messages[2]["reason"] == f"enrichment.{how}"

    at_the_end = {**project.headers, "Last-Event-ID": str(page.ids[-1])}
    answer = await get(stream(service, bom), at_the_end)
    assert (answer.status_code, answer.content) == (204, b"")
    project.execute("update boms set filename = 'renamed.csv' where id = %s", bom)
    assert (await get(stream(service, bom), at_the_end)).status_code == 204, "nothing more is told"

    async with opened(stream(service, bom), project.headers, since=str(page.ids[0] - 1)) as again:
        await read_to_the_end(again)
    assert again.names[-2:] == [f"enrichment.{how}", "stream_end"]

    project.start(bom)
    async with opened(stream(service, bom), at_the_end) as back:
        assert (await back.until("connected"))["state"]["status"] == "enriching"
        assert (await back.next())["event_type"] == "enrichment.started"


async def test_a_pause_a_resume_and_a_stop_are_told_and_the_stream_goes_on(service: str, project: Project) -> None:
    bom = project.bom(*(f"p{n}" for n in range(20)))
    run = project.start(bom)
    async with opened(stream(service, bom), project.headers) as page:
        await page.next()
        for command in ("pause", "resume", "stop"):
            project.call("control_enrichment", bom_id=bom, command=command)
        states = [(await page.next())["state"]["status"] for _ in range(3)]
        assert states == ["paused", "enriching", "stopped"]
        assert set(page.names[1:]) == {"enrichment.progress"}
        project.start(bom)
        assert (await page.next())["event_type"] == "enrichment.started"
    assert run.job


async def test_a_bom_that_is_deleted_ends_its_streams(service: str, project: Project) -> None:
    bom = project.bom("a")
    async with opened(stream(service, bom), project.headers) as page:
        await page.next()
        project.execute("delete from boms where id = %s", bom)
        await read_to_the_end(page)
    assert page.messages[1:] == [
        {"type": "error", "code": "not_found", "message": "The BOM was deleted."},
        {"type": "stream_end", "reason": "error", "reconnect": False},
    ]
    assert (await get(stream(service, bom), project.headers)).status_code == 404


async def test_types_may_be_narrowed(service: str, project: Project) -> None:
    bom = project.bom("a", None)
    async with opened(stream(service, bom), project.headers, types="enrichment.component.failed") as page:
        await page.next()
        project.start(bom).all()
        await read_to_the_end(page)
    assert page.names == ["connected", "enrichment.component.failed", "stream_end"]
    wrong = await get(stream(service, bom), project.headers, types="job_update")
    assert (wrong.status_code, wrong.json()["error"]) == (400, "bad_request")


async def test_a_cursor_that_is_too_old_is_a_reset_and_a_snapshot(service: str, project: Project) -> None:
    bom = project.bom("a")
    project.start(bom)
    async with opened(stream(service, bom), project.headers, since="5") as page:
        await page.until("snapshot")
        assert page.names == ["connected", "reset", "snapshot"]


async def test_another_site_may_ask_before_it_opens_a_stream(service: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.options(
            stream(service, str(uuid4())),
            headers={
                "Origin": "http://localhost:3000", "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "Last-Event-ID",
            },
        )  # fmt: skip
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert "last-event-id" in answer.headers["Access-Control-Allow-Headers"].lower()


PATHS = ("stream", "state", "events")


@pytest.mark.parametrize("what", PATHS)
async def test_a_bom_is_seen_by_members_alone_and_a_staff_bom_by_operators(
    service: str, project: Project, stack: StackFacts, what: str
) -> None:
    customer, staff = project.bom("a"), project.bom("a", source="staff")
    for bom in (customer, staff):
        project.start(bom).all()
    stranger = {"Authorization": f"Bearer {add_user(project.database, stack)[1]}"}

    async def status(bom: str, headers: dict[str, str] | None) -> int:
        return (await get(f"{service}/api/enrichment/{what}/{bom}", headers)).status_code

    assert [await status(customer, each) for each in (project.headers, stranger, ADMIN, None)] == [200, 404, 200, 401]
    assert [await status(staff, each) for each in (project.headers, stranger, ADMIN, None)] == [404, 404, 200, 401]
    unknown = await get(f"{service}/api/enrichment/{what}/{uuid4()}", project.headers)
    hidden = await get(f"{service}/api/enrichment/{what}/{staff}", project.headers)
    assert unknown.json() == hidden.json(), "nobody learns that it is there"
    assert (await get(f"{service}/api/enrichment/{what}/7", project.headers)).status_code == 400
    assert (await get(f"{service}/api/enrichment/{what}/{staff}", token=ADMIN_TOKEN)).status_code == 200


async def test_a_staff_bom_leaves_no_trace_in_the_project_s_stream(service: str, project: Project) -> None:
    async with opened(f"{service}/api/projects/{project.id}/status", project.headers) as page:
        await page.next()
        project.start(project.bom("a", source="staff")).all()
        job = project.job()
        assert (await page.next())["jobId"] == job
    snapshot = await get(f"{service}/api/projects/{project.id}/snapshot", project.headers)
    assert [each["jobId"] for each in snapshot.json()["jobs"]] == [job]


async def test_the_admin_token_does_not_open_a_project_s_stream(service: str, project: Project) -> None:
    assert (await get(f"{service}/api/projects/{project.id}/status", ADMIN)).status_code == 401


async def test_a_ticket_opens_a_bom_s_stream(service: str, project: Project) -> None:
    bom = project.bom("a")
    async with httpx.AsyncClient() as client:
        issued = await client.post(f"{service}/api/projects/{project.id}/stream-tickets", headers=project.headers)
    async with opened(stream(service, bom), ticket=issued.json()["ticket"]) as page:
        assert (await page.next())["bom_id"] == bom


async def test_without_its_database_a_stream_is_503_and_says_when_to_come_back(
    stack: StackFacts, project: Project
) -> None:
    environment = {**service_environment(stack), "SUPABASE_URL": f"http://127.0.0.1:{unused_port()}"}
    with served(environment, path="/livez") as url:
        for what in PATHS:
            answer = await get(f"{url}/api/enrichment/{what}/{uuid4()}", project.headers)
            assert (answer.status_code, answer.json()["error"]) == (503, "upstream_unavailable")
            assert int(answer.headers["Retry-After"]) > 0


async def test_the_state_is_what_the_stream_would_tell(service: str, project: Project) -> None:
    bom = project.bom("a", "x", None)
    project.start(bom).all()
    answer = await get(f"{service}/api/enrichment/state/{bom}", project.headers)
    assert answer.headers["Cache-Control"] == "private, no-store"
    told = answer.json()
    assert list(told) == ["state", "components", "revision"]
    assert [component["status"] for component in told["components"]] == ["failed", "not_found", "enriched"]
    async with opened(stream(service, bom), project.headers) as page:
        connected = await page.next()
    assert connected["state"] == told["state"]
    assert page.ids == [told["revision"]]


async def test_the_history_is_what_the_stream_has_told_page_by_page(service: str, project: Project) -> None:
    bom = project.bom(*(f"p{n}" for n in range(65)))
    async with opened(stream(service, bom), project.headers) as page:
        await page.next()
        project.start(bom).all()
        await read_to_the_end(page)
    told = page.messages[1:-1]
    assert len(told) == 1 + 65 + 7 + 1
    for limit in (1, 7, 11, 1000):
        assert await history(service, project, bom, limit) == told


async def test_the_history_reaches_back_before_the_log(service: str, project: Project) -> None:
    bom = project.bom("a", "b")
    project.start(bom).all()
    project.execute("delete from feed_changes where key = %s", bom)
    assert [event["event_type"].removeprefix("enrichment.") for event in await history(service, project, bom)] == [
        "started", "component.completed", "component.completed", "progress", "completed",
    ]  # fmt: skip


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"after": "x"}, {"after": "YXxifDE"}])
async def test_a_page_that_can_not_be_is_refused(service: str, project: Project, query: dict[str, object]) -> None:
    answer = await get(f"{service}/api/enrichment/events/{project.bom('a')}", project.headers, **query)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert next(iter(query)) in answer.json()["message"]


def test_a_cursor_is_read_as_it_was_written() -> None:
    whole = ("2026-01-02T03:04:05+00:00", str(uuid4()), 1)
    assert place(cursor(whole)) == whole
    at = ("2026-01-02T03:04:05.678901+00:00", str(uuid4()), 7)
    assert place(cursor(at)) == at
    for wrong in ("", "=", "ä", cursor(("now", str(uuid4()), 1)), cursor((at[0], "x", 1)), cursor((at[0], at[1], -1))):
        with pytest.raises(ApiError, match="after must be the `next` of an earlier page"):
            place(wrong)


@pytest.mark.parametrize(
    "at", ["2024-W01-1T00:00:00+00:00", "2024-01-01T00:00:00+23:59", "2024-13-01T00:00:00+00:00", "2024-01-01T00:00:00"]
)
def test_a_date_that_the_database_might_not_read_is_no_cursor(at: str) -> None:
    with pytest.raises(ApiError, match="after must be the `next` of an earlier page"):
        place(cursor((at, str(uuid4()), 1)))


async def test_health_says_how_it_is_without_being_told_who_asks(service: str, project: Project) -> None:
    async with opened(stream(service, project.bom("a")), project.headers) as page:
        await page.next()
        answer = await get(f"{service}/api/enrichment/health")
        told = answer.json()
        assert answer.status_code == 200
        assert told | {"status": "healthy", "realtime": True, "database": True} == told
        assert told["active_streams"] >= 1


async def test_health_without_a_database(stack: StackFacts) -> None:
    environment = {**service_environment(stack), "SUPABASE_URL": f"http://127.0.0.1:{unused_port()}"}
    with served(environment, path="/livez") as url:
        answer = await get(f"{url}/api/enrichment/health")
        assert answer.status_code == 503
        told = answer.json()
        assert told == {"status": "unhealthy", "realtime": told["realtime"], "database": False, "active_streams": 0}


async def test_a_thousand_lines_reach_a_page_that_reconnects_all_the_time(service: str, project: Project) -> None:
    bom = project.bom(*(f"p{n}" for n in range(1000)))
    run = project.start(bom)
    working: asyncio.Task[None] | None = None
    told: list[str] = []
    last_id, ended, comebacks = "0", False, 0
    while not ended:
        headers = project.headers | ({"Last-Event-ID": last_id} if last_id != "0" else {})
        async with opened(stream(service, bom), headers) as page:
            for _ in range(60):
                message = await page.next()
                # the work begins before the page's eyes: how fast it is then makes no difference
                working = working or asyncio.create_task(asyncio.to_thread(run.all))
                if "event_id" in message:
                    told.append(message["event_id"])
                if message.get("type") == "stream_end":
                    ended = message["reason"] == "enrichment.completed"
                    break
            last_id = str(page.ids[-1]) if page.ids else last_id
            comebacks += 1
    assert working is not None
    await working
    everything = [event["event_id"] for event in await history(service, project, bom)]
    assert len(everything) == 1 + 1000 + 100 + 1
    # the run had been started before the page came: it is told from there on
    assert set(everything[everything.index(told[0]) :]) == set(told)
    assert comebacks > 10
