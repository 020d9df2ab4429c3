"""The project feed's messages, exactly as the contract writes them."""

import json
from typing import Any

import pytest

from service.changes.change import Change, merge
from service.events.model import Message
from service.events.project import ProjectFeed
from service.events.wire import encode

FEED = ProjectFeed()
AT = "2026-11-21T12:04:34.8+00:00"
TOLD_AT = "2026-11-21T12:04:34.800Z"

JOB: dict[str, Any] = {
    "id": "job-1", "project_id": "p", "kind": "ingestion", "title": "Manuals", "status": "running",
    "progress_stage": None, "progress_current": 0, "progress_total": None, "progress_message": None,
    "progress_updated_at": None, "pipeline": None, "source_id": None, "bom_id": None, "priority": 5, "attempt": 1,
    "max_attempts": 3, "started_at": AT, "finished_at": None, "cancel_requested_at": None, "error_message": None,
    "created_by": None, "staff": False, "created_at": AT, "updated_at": AT,
}  # fmt: skip
PROGRESS = {
    "progress_stage": "parsing", "progress_current": 3, "progress_total": 7, "progress_message": "page 3",
    "progress_updated_at": AT,
}  # fmt: skip
TOLD_PROGRESS = {
    "stage": "parsing", "current": 3, "total": 7, "message": "page 3", "timestamp": 1795262674800, "percent": 42.9,
    "etaSeconds": None,
}  # fmt: skip
TOLD_JOB = {
    "jobId": "job-1", "kind": "ingestion", "title": "Manuals", "status": "running", "attempt": 1,
    "errorMessage": None, "createdAt": TOLD_AT, "updatedAt": TOLD_AT, "startedAt": TOLD_AT, "finishedAt": None,
    "cancelRequested": False, "sourceId": None, "bomId": None,
}  # fmt: skip
SOURCE: dict[str, Any] = {
    "id": "source-1", "project_id": "p", "source_name": "a.md", "source_type": "markdown", "uri": None,
    "status": "failed", "error_message": "not UTF-8", "created_at": AT, "updated_at": AT,
}  # fmt: skip
TOLD_SOURCE = {
    "sourceId": "source-1", "status": "failed", "sourceName": "a.md", "updatedAt": TOLD_AT,
    "errorMessage": "not UTF-8",
}  # fmt: skip
PROPOSAL: dict[str, Any] = {
    "id": "proposal-1", "project_id": "p", "job_id": "job-1", "source_id": "source-1", "title": "Tables",
    "body": "…", "confidence": 0.72, "status": "proposed", "created_at": AT, "updated_at": AT,
}  # fmt: skip
TOLD_PROPOSAL = {
    "proposalId": "proposal-1", "title": "Tables", "confidence": 0.72, "createdAt": TOLD_AT, "status": "proposed",
    "jobId": "job-1", "sourceId": "source-1",
}  # fmt: skip


def told(messages: Any) -> list[dict[str, Any]]:
    return [json.loads(encode(message).data) for message in messages]


def change(table: str, op: str, row: dict[str, Any] | None, *changed: str) -> Change:
    return Change(2, 1, table, "row-1" if row is None else row["id"], op, frozenset(changed), row, AT)  # type: ignore[arg-type]


def translated(table: str, op: str, row: dict[str, Any] | None, *changed: str) -> list[dict[str, Any]]:
    return told(FEED.translate(change(table, op, row, *changed)))


def test_connected() -> None:
    assert told([FEED.connected("p", 7, resumed=True, live=False, rows={})]) == [
        {
            "type": "connected", "message": "Connected to status updates", "projectId": "p", "revision": 7,
            "resumed": True, "live": False, "exact": True,
        }
    ]  # fmt: skip


@pytest.mark.parametrize("op", ["I", "U"])
def test_a_source_inserted_or_updated(op: str) -> None:
    assert translated("ingestion_sources", op, SOURCE, "status") == [{"type": "status_update", **TOLD_SOURCE}]


def test_a_job_inserted_without_progress() -> None:
    assert translated("jobs", "I", JOB) == [{"type": "job_update", **TOLD_JOB}]


def test_a_job_inserted_with_progress() -> None:
    assert translated("jobs", "I", {**JOB, **PROGRESS}) == [
        {"type": "progress_update", "jobId": "job-1", "progress": TOLD_PROGRESS},
        {"type": "job_update", **TOLD_JOB},
    ]


@pytest.mark.parametrize("column", sorted(PROGRESS))
def test_a_job_whose_progress_changed(column: str) -> None:
    [message] = translated("jobs", "U", {**JOB, **PROGRESS}, column, "updated_at")
    assert message == {"type": "progress_update", "jobId": "job-1", "progress": TOLD_PROGRESS}


@pytest.mark.parametrize(
    "column",
    [
        "kind", "title", "status", "attempt", "error_message", "created_at", "started_at", "finished_at",
        "cancel_requested_at", "source_id", "bom_id",
    ],
)  # fmt: skip
def test_a_job_with_another_field_changed(column: str) -> None:
    [message] = translated("jobs", "U", {**JOB, **PROGRESS}, column, "updated_at")
    assert message == {"type": "job_update", **TOLD_JOB}


def test_a_job_that_changed_both_ways_tells_progress_first() -> None:
    types = [message["type"] for message in translated("jobs", "U", {**JOB, **PROGRESS}, "progress_stage", "status")]
    assert types == ["progress_update", "job_update"]


@pytest.mark.parametrize("column", ["updated_at", "priority", "max_attempts", "created_by", "pipeline"])
def test_what_no_message_tells_is_no_message(column: str) -> None:
    assert translated("jobs", "U", {**JOB, **PROGRESS}, column) == []


def test_a_request_to_cancel_shows() -> None:
    [message] = translated("jobs", "U", {**JOB, "cancel_requested_at": AT}, "cancel_requested_at")
    assert message["cancelRequested"] is True


@pytest.mark.parametrize(
    ("current", "total", "percent"),
    [(0, None, None), (5, None, None), (0, 0, None), (0, 7, 0.0), (7, 7, 100.0), (9, 7, 100.0), (1, 3, 33.3)],
)
def test_percent(current: int, total: int | None, percent: float | None) -> None:
    row = {**JOB, **PROGRESS, "progress_current": current, "progress_total": total}
    [message] = translated("jobs", "U", row, "progress_current")
    assert message["progress"]["percent"] == percent


def test_the_workers_own_estimate_is_the_eta() -> None:
    row = {**JOB, **PROGRESS, "pipeline": {"timing": {"estimated_remaining_ms": 12345}}}
    [message] = translated("jobs", "U", row, "progress_current")
    assert message["progress"]["etaSeconds"] == 12.3


def test_members_hear_nothing_of_jobs_on_staff_boms() -> None:
    staff = {**JOB, **PROGRESS, "staff": True}
    assert translated("jobs", "I", staff) == []
    assert translated("jobs", "U", staff, "status", "progress_current") == []
    assert translated("jobs", "U", staff, "staff", "bom_id") == [{"type": "job_deleted", "jobId": "job-1"}]
    assert FEED.snapshot({"jobs": [staff], "ingestion_sources": [], "proposed_nodes": []})["jobs"] == []


def test_a_job_that_became_staffs_since_it_was_inserted_is_told_as_gone() -> None:
    """A page may have been sent the first message of its insertion, and been cut before the id."""
    inserted = change("jobs", "I", {**JOB, **PROGRESS})
    hidden = change("jobs", "U", {**JOB, **PROGRESS, "staff": True}, "staff", "bom_id")
    assert told(FEED.translate(merge(inserted, hidden))) == [{"type": "job_deleted", "jobId": "job-1"}]


def test_a_job_that_leaves_a_staff_bom_appears() -> None:
    shown = translated("jobs", "U", {**JOB, **PROGRESS}, "staff")
    assert [message["type"] for message in shown] == ["progress_update", "job_update"]


def test_a_proposal_inserted_and_updated() -> None:
    assert translated("proposed_nodes", "I", PROPOSAL) == [{"type": "new_proposal", **TOLD_PROPOSAL}]
    assert translated("proposed_nodes", "U", PROPOSAL, "status") == [
        {"type": "proposal_update", **TOLD_PROPOSAL, "updatedAt": TOLD_AT}
    ]


def test_deletions() -> None:
    assert translated("jobs", "D", None) == [{"type": "job_deleted", "jobId": "row-1"}]
    assert translated("ingestion_sources", "D", None) == [{"type": "source_deleted", "sourceId": "row-1"}]
    assert translated("proposed_nodes", "D", None) == [{"type": "proposal_deleted", "proposalId": "row-1"}]


@pytest.mark.parametrize("op", ["I", "U", "D"])
def test_other_tables_of_the_feed_tell_pages_nothing(op: str) -> None:
    row = None if op == "D" else {"id": "m", "user_id": "u"}
    assert translated("project_members", op, row, "role") == []


def test_a_row_that_went_and_came_back_is_deleted_and_inserted() -> None:
    back = merge(change("jobs", "D", None), change("jobs", "I", {**JOB, "id": "row-1"}))
    assert [message["type"] for message in told(FEED.translate(back))] == ["job_deleted", "job_update"]


def test_a_column_called_type_in_a_deployers_table_does_not_become_the_messages() -> None:
    [message] = translated("ingestion_sources", "I", {**SOURCE, "type": "evil"})
    assert message["type"] == "status_update"


def test_the_snapshots_rows_tell_what_the_messages_tell() -> None:
    lists = FEED.snapshot(
        {"jobs": [JOB, {**JOB, **PROGRESS}], "ingestion_sources": [SOURCE], "proposed_nodes": [PROPOSAL]}
    )
    assert told_lists(lists) == {
        "sources": [TOLD_SOURCE],
        "jobs": [{**TOLD_JOB, "progress": None}, {**TOLD_JOB, "progress": TOLD_PROGRESS}],
        "proposals": [{**TOLD_PROPOSAL, "updatedAt": TOLD_AT}],
    }


def told_lists(lists: Any) -> dict[str, Any]:
    return {name: [json.loads(row.model_dump_json(by_alias=True)) for row in rows] for name, rows in lists.items()}


def test_every_type_it_can_give_may_be_asked_for() -> None:
    given: list[Message] = []
    for table, row in {"jobs": {**JOB, **PROGRESS}, "ingestion_sources": SOURCE, "proposed_nodes": PROPOSAL}.items():
        for op in "IUD":
            given += FEED.translate(change(table, op, None if op == "D" else row, "status", "progress_stage"))
    assert {message.type for message in given} == FEED.types


def test_type_comes_first_on_the_wire() -> None:
    for table, row in {"jobs": {**JOB, **PROGRESS}, "ingestion_sources": SOURCE, "proposed_nodes": PROPOSAL}.items():
        for message in FEED.translate(change(table, "I", row)):
            assert encode(message).data.startswith(b'{"type":')
