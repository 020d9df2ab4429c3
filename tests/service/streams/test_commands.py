"""Commands over a real socket: who may give them, what they lead to, and that the stream tells it."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.conftest import StackFacts
from tests.service.conftest import ADMIN_TOKEN, Project, add_user
from tests.service.pages import opened

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.fixture
def editor(project: Project) -> Project:
    project.role("editor")
    return project


async def send(method: str, url: str, headers: dict[str, str] | None = None, **content: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.request(method, url, headers=headers, **content)


async def command(service: str, project: Project, what: str, job: str) -> httpx.Response:
    return await send("POST", f"{service}/api/jobs/{job}/{what}", project.headers)


async def decide(service: str, project: Project, proposal: str, **content: Any) -> httpx.Response:
    return await send("PATCH", f"{service}/api/proposals/{proposal}", project.headers, **content)


def error(answer: httpx.Response) -> tuple[int, str, str]:
    told = answer.json()
    assert set(told) == {"error", "message"}
    return answer.status_code, told["error"], told["message"]


def claimed(project: Project) -> tuple[str, str]:
    """A job that a worker holds, and the worker's claim."""
    job = project.job()
    return job, project.call("claim_job", kinds=["ingestion"], job_id=job)["claim"]


async def test_a_cancellation_reaches_the_worker_and_every_page(service: str, editor: Project) -> None:
    job, claim = claimed(editor)
    async with opened(f"{service}/api/projects/{editor.id}/status", editor.headers) as page:
        await page.until("connected")
        answer = await command(service, editor, "cancel", job)
        assert answer.status_code == 202
        assert answer.json() == {"jobId": job, "status": "running", "attempt": 1, "cancelRequested": True}
        told = await page.until("job_update", jobId=job)
        assert (told["status"], told["cancelRequested"]) == ("running", True)
        assert editor.call("job_heartbeat", job_id=job, claim=claim)["cancel_requested"] is True
        editor.call("end_job", job_id=job, claim=claim, status="stopped")
        told = await page.until("job_update", jobId=job, status="stopped")
        assert told["finishedAt"] is not None


async def test_a_job_that_nobody_has_begun_is_stopped_and_queued_again_before_all_eyes(
    service: str, editor: Project
) -> None:
    job = editor.job()
    async with opened(f"{service}/api/projects/{editor.id}/status", editor.headers) as page:
        await page.until("connected")
        answer = await command(service, editor, "cancel", job)
        assert answer.json() == {"jobId": job, "status": "stopped", "attempt": 1, "cancelRequested": True}
        await page.until("job_update", jobId=job, status="stopped")
        answer = await command(service, editor, "retry", job)
        assert answer.status_code == 202
        assert answer.json() == {"jobId": job, "status": "queued", "attempt": 2, "cancelRequested": False}
        told = await page.until("job_update", jobId=job, status="queued")
        assert (told["attempt"], told["cancelRequested"], told["errorMessage"]) == (2, False, None)


async def test_a_lost_job_is_stalled_and_retried_before_all_eyes(service: str, editor: Project) -> None:
    job, claim = claimed(editor)
    async with opened(f"{service}/api/projects/{editor.id}/status", editor.headers) as page:
        await page.until("connected")
        editor.execute("update jobs set lease_until = now() - interval '1 s' where id = %s", job)
        editor.call("stall_jobs")
        await page.until("job_update", jobId=job, status="stalled")
        await command(service, editor, "retry", job)
        await page.until("job_update", jobId=job, status="queued", attempt=2)
    assert editor.call("job_heartbeat", job_id=job, claim=claim)["status"] == "lost"


async def test_a_run_that_is_cancelled_and_retried_tells_its_bom_s_pages(service: str, editor: Project) -> None:
    bom = editor.bom("a", "b")
    run = editor.call("start_enrichment", bom_id=bom)["run_id"]
    async with opened(f"{service}/api/enrichment/stream/{bom}", editor.headers) as page:
        await page.next()
        await command(service, editor, "cancel", run)
        assert (await page.next())["state"]["status"] == "stopped"
        await command(service, editor, "retry", run)
        told = await page.next()
        assert (told["event_type"], told["state"]["status"]) == ("enrichment.started", "enriching")


async def test_a_decision_reaches_every_page(service: str, editor: Project) -> None:
    proposal = editor.proposal("T")
    async with opened(f"{service}/api/projects/{editor.id}/status", editor.headers) as page:
        await page.until("connected")
        for status in ("accepted", "rejected", "proposed"):
            answer = await decide(service, editor, proposal, json={"status": status})
            assert (answer.status_code, answer.json()) == (200, {"proposalId": proposal, "status": status})
            await page.until("proposal_update", proposalId=proposal, status=status)


@pytest.mark.parametrize(
    ("what", "status"),
    [
        *[("cancel", status) for status in ("completed", "failed", "stopped")],
        *[("retry", status) for status in ("queued", "running", "paused", "completed")],
    ],
)
async def test_what_can_not_be_done_is_a_conflict(service: str, editor: Project, what: str, status: str) -> None:
    answer = await command(service, editor, what, editor.job(status=status))
    assert error(answer) == (409, "conflict", f"There is nothing to {what}: the job is {status}.")


async def test_a_second_run_of_a_bom_is_a_conflict(service: str, editor: Project) -> None:
    bom = editor.bom("a")
    first = editor.call("start_enrichment", bom_id=bom)["run_id"]
    await command(service, editor, "cancel", first)
    editor.call("start_enrichment", bom_id=bom)
    answer = await command(service, editor, "retry", first)
    assert error(answer) == (409, "conflict", "Another run of its BOM is under way already.")


async def test_only_editors_and_owners_command(service: str, project: Project, stack: StackFacts) -> None:
    job, proposal = project.job(status="failed"), project.proposal("T")

    async def statuses(headers: dict[str, str] | None) -> list[int]:
        project.execute("update jobs set status = 'running' where id = %s and status = 'queued'", job)
        project.execute("update jobs set status = 'failed' where id = %s and status = 'running'", job)
        answers = [
            await send("POST", f"{service}/api/jobs/{job}/retry", headers),
            await send("POST", f"{service}/api/jobs/{job}/cancel", headers),
            await send("PATCH", f"{service}/api/proposals/{proposal}", headers, json={"status": "accepted"}),
        ]
        project.execute("update jobs set status = 'queued' where id = %s and status = 'stopped'", job)
        return [answer.status_code for answer in answers]

    stranger = {"Authorization": f"Bearer {add_user(project.database, stack)[1]}"}
    assert await statuses(None) == [401] * 3
    assert await statuses(stranger) == [404] * 3
    assert await statuses(project.headers) == [403] * 3
    for role in ("editor", "owner"):
        project.role(role)
        assert await statuses(project.headers) == [202, 202, 200]
    assert await statuses(ADMIN) == [202, 202, 401], "what is proposed, people of the project decide on"


async def test_a_staff_job_is_an_operator_s(service: str, editor: Project) -> None:
    run = editor.call("start_enrichment", bom_id=editor.bom("a", source="staff"))["run_id"]
    for what in ("cancel", "retry"):
        assert error(await command(service, editor, what, run))[:2] == (404, "not_found")
        answer = await send("POST", f"{service}/api/jobs/{run}/{what}", ADMIN)
        assert answer.status_code == 202


async def test_what_is_not_there_is_not_found(service: str, editor: Project) -> None:
    for headers in (editor.headers, ADMIN):
        assert (await send("POST", f"{service}/api/jobs/{uuid4()}/cancel", headers)).status_code == 404
    answer = await decide(service, editor, str(uuid4()), json={"status": "accepted"})
    assert error(answer)[:2] == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", "/api/jobs/7/cancel", "job_id must be a UUID"),
        ("POST", "/api/jobs/7/retry", "job_id must be a UUID"),
        ("PATCH", "/api/proposals/7", "proposal_id must be a UUID"),
    ],
)
async def test_a_malformed_id_is_named(service: str, editor: Project, method: str, path: str, message: str) -> None:
    status, code, said = error(await send(method, f"{service}{path}", editor.headers))
    assert (status, code) == (400, "bad_request")
    assert said.startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "status must be accepted, rejected or proposed."),
        ({"json": {"status": "done"}}, "status must be accepted, rejected or proposed."),
        ({"json": {"status": ["accepted"]}}, "status must be accepted, rejected or proposed."),
        ({"json": {"status": None}}, "status must be accepted, rejected or proposed."),
        ({"json": []}, "The body must be a JSON object {status}."),
        ({"content": b"{"}, "The body must be a JSON object {status}."),
        ({"content": b"\xff"}, "The body must be a JSON object {status}."),
        ({"content": b"[" * 30_000}, "The body must be a JSON object {status}."),
    ],
)
async def test_a_malformed_decision_is_refused(
    service: str, editor: Project, content: dict[str, Any], message: str
) -> None:
    answer = await decide(service, editor, editor.proposal("T"), **content)
    assert error(answer) == (400, "bad_request", message)


async def test_there_are_no_other_commands(service: str, editor: Project) -> None:
    assert (await command(service, editor, "restart", editor.job())).status_code == 404
    answer = await send("GET", f"{service}/api/jobs/{editor.job()}/cancel", editor.headers)
    assert answer.status_code == 405
