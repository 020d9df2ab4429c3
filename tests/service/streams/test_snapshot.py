"""A project's state in one answer, and what was missed, for pages that poll."""

from typing import Any

import httpx
import pytest

from service.watch import State
from tests.service.conftest import Project
from tests.service.pages import opened


def get(service: str, project: Project, query: str = "", **headers: str) -> httpx.Response:
    return httpx.get(f"{service}/api/projects/{project.id}/snapshot{query}", headers={**project.headers, **headers})


def test_a_snapshot_tells_every_row_as_the_stream_would(service: str, project: Project) -> None:
    job, source, proposal = project.job(progress_current=2, progress_total=4), project.source(), project.proposal("T")
    answer = get(service, project)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"revision", "live", "sources", "jobs", "proposals"}
    [told_job], [told_source], [told_proposal] = body["jobs"], body["sources"], body["proposals"]
    assert (told_job["jobId"], told_job["progress"]["percent"]) == (job, 50.0)
    assert told_source["sourceId"] == source
    assert told_proposal["proposalId"] == proposal


def test_the_answer_is_for_this_caller_alone(service: str, project: Project) -> None:
    headers = get(service, project).headers
    assert headers["Cache-Control"] == "private, no-store"
    assert "Authorization" in headers["Vary"]
    assert headers["Content-Type"] == "application/json"


def test_nothing_new_is_304(service: str, project: Project) -> None:
    etag = get(service, project).headers["ETag"]
    for known in (etag, f"W/{etag}"):  # the latter from behind a proxy that compresses
        unchanged = get(service, project, **{"If-None-Match": known})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)
    project.source()
    changed = get(service, project, **{"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag
    assert get(service, project, "?since=0", **{"If-None-Match": changed.headers["ETag"]}).status_code == 304


def test_events_since_a_revision_are_what_the_stream_would_have_sent(service: str, project: Project) -> None:
    revision = get(service, project).json()["revision"]
    source = project.source()
    project.execute("update ingestion_sources set status = 'processing' where id = %s", source)
    project.proposal("Tables")
    body = get(service, project, f"?since={revision}").json()
    assert body["reset"] is False
    assert [(event["type"], event.get("status")) for event in body["events"]] == [
        ("status_update", "processing"), ("new_proposal", "proposed"),
    ]  # fmt: skip
    assert get(service, project, f"?since={body['revision']}").json()["events"] == []


def test_a_revision_too_old_is_a_reset_with_the_snapshot_as_events(service: str, project: Project) -> None:
    job = project.job()
    body = get(service, project, "?since=1").json()
    assert body["reset"] is True
    assert [event["type"] for event in body["events"]] == ["reset", "snapshot"]
    assert [row["jobId"] for row in body["events"][1]["jobs"]] == [job]


async def test_a_page_that_polls_and_one_that_streams_end_with_the_same(service: str, project: Project) -> None:
    streamed, polled = State(), State()
    async with opened(f"{service}/api/projects/{project.id}/status", project.headers, snapshot="1") as page:
        await page.until("snapshot")
        first: dict[str, Any] = get(service, project, "?since=0").json()
        job = project.job("A", progress_current=1)
        project.execute("update jobs set status = 'running', progress_current = 2 where id = %s", job)
        gone = project.job("B")
        project.execute("delete from jobs where id = %s", gone)
        project.source()
        project.proposal("last")
        await page.until("new_proposal")
        for message in page.messages:
            streamed.apply(message)
    second: dict[str, Any] = get(service, project, f"?since={first['revision']}").json()
    for event in [*first["events"], *second["events"]]:
        polled.apply(event)
    assert polled.sources == streamed.sources
    assert polled.proposals == streamed.proposals
    assert polled.jobs == streamed.jobs


@pytest.mark.parametrize("query", ["?since=x", "?since=", "?since=-1"])
def test_a_wrong_cursor_is_named(service: str, project: Project, query: str) -> None:
    answer = get(service, project, query)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert "since" in answer.json()["message"]


def test_strangers_get_nothing(service: str, project: Project) -> None:
    url = f"{service}/api/projects/{project.id}/snapshot"
    assert httpx.get(url).json()["error"] == "missing_token"
    assert httpx.get(f"{service}/api/projects/x/snapshot", headers=project.headers).status_code == 400
