"""What is answered about real rows is what the models say, field by field."""

from typing import Any

import httpx
import pytest

from tests.service.conftest import Project
from tests.service.schema.checking import check_told, validator
from tests.service.sockets import socket


def told(url: str, project: Project, **query: str) -> dict[str, Any]:
    answer = httpx.get(url, headers=project.headers, params=query)
    assert answer.status_code == httpx.codes.OK
    body: dict[str, Any] = answer.json()
    return body


def test_a_projects_present_and_what_happened_since(service: str, project: Project) -> None:
    url = f"{service}/api/projects/{project.id}/snapshot"
    before = told(url, project)["revision"]
    source, job = project.source(status="failed"), project.job(progress_stage="parsing", progress_current=3)
    project.proposal("T")
    project.proposal("gone")
    project.execute("update proposed_nodes set status = 'accepted' where project_id = %s and title = 'T'", project.id)
    present = told(url, project)
    validator("ProjectSnapshotAnswer").validate(present)
    assert [len(present[rows]) for rows in ("sources", "jobs", "proposals")] == [1, 1, 2]
    for table, row in (("ingestion_sources", source), ("jobs", job)):
        project.execute(f"delete from {table} where id = %s", row)
    for since in (str(before), "1"):
        happened = told(url, project, since=since)
        validator("ProjectEventsAnswer").validate(happened)
        assert happened["events"]


@pytest.mark.parametrize("ended", [False, True])
def test_a_boms_present_and_its_history(service: str, project: Project, ended: bool) -> None:
    bom = project.bom("a", "x", None)
    if ended:
        project.start(bom).all()
    present = told(f"{service}/api/enrichment/state/{bom}", project)
    validator("EnrichmentStateAnswer").validate(present)
    assert len(present["components"]) == (3 if ended else 0)
    history = told(f"{service}/api/enrichment/events/{bom}", project)
    validator("EnrichmentHistoryAnswer").validate(history)
    assert len(history["events"]) == (6 if ended else 0)


async def test_a_socket_tells_what_its_document_says(service: str, project: Project) -> None:
    async with socket(service, project.token) as client:
        await client.subscribed(project, snapshot=True)
        await client.until("snapshot")
        project.proposal("T")
        await client.until("new_proposal")
        await client.ask("unsubscribe", projectId=project.id)
        await client.until("unsubscribed")
        await client.ask("subscribe", projectId="nonsense")
        await client.until("error", op="subscribe")
    types = [message["type"] for message in client.messages if message["type"] != "live"]
    assert types == ["authenticated", "connected", "snapshot", "new_proposal", "unsubscribed", "error"]
    for message in client.messages:
        check_told(message)
    with pytest.raises(ValueError, match="projectId"):
        check_told({**client.messages[1], "projectId": 1})


def test_a_field_that_no_model_knows_is_found() -> None:
    assert validator("Liveness").is_valid({"status": "ok"})
    assert not validator("Liveness").is_valid({"status": "ok", "more": 1})
    assert not validator("ProjectMessage").is_valid({"type": "live", "live": True, "reason": "", "more": 1})
