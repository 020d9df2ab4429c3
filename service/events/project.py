"""The project feed: ingestion sources, jobs and proposals of one project, as its page sees them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from service.changes.change import Change
from service.events.feed import Feed, Rows, SnapshotQuery
from service.events.model import Message, Timestamp, WireModel, moment

JOBS = "jobs"
SOURCES = "ingestion_sources"
PROPOSALS = "proposed_nodes"

PROGRESS_COLUMNS = frozenset({
    "progress_stage", "progress_current", "progress_total", "progress_message", "progress_updated_at",
})  # fmt: skip
JOB_COLUMNS = frozenset({
    "kind", "title", "status", "attempt", "error_message", "created_at", "started_at", "finished_at",
    "cancel_requested_at", "source_id", "bom_id",
})  # fmt: skip


class Connected(Message):
    type: Literal["connected"] = "connected"
    message: str = "Connected to status updates"
    project_id: str
    revision: int
    resumed: bool
    live: bool
    exact: bool


class Source(WireModel):
    """A source as the snapshot lists it."""

    source_id: str = Field(validation_alias="id")
    status: str
    source_name: str
    updated_at: Timestamp
    error_message: str | None


class Progress(WireModel):
    """How far a job is: ``timestamp`` in ms since the epoch, ``percent`` 0 to 100, null where it can't be known."""

    stage: str | None
    current: int
    total: int | None
    message: str | None
    timestamp: int
    percent: float | None
    eta_seconds: float | None


class JobFields(WireModel):
    job_id: str
    kind: str
    title: str
    status: str
    attempt: int
    error_message: str | None
    created_at: Timestamp
    updated_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    cancel_requested: bool
    source_id: str | None
    bom_id: str | None


class Job(JobFields):
    """A job as the snapshot lists it; ``progress`` is null until it has reported any."""

    progress: Progress | None


class ProposalFields(WireModel):
    proposal_id: str = Field(validation_alias="id")
    title: str
    confidence: float | None
    created_at: Timestamp
    status: str
    job_id: str | None
    source_id: str | None


class Proposal(ProposalFields):
    """A proposal as the snapshot lists it."""

    updated_at: Timestamp


class StatusUpdate(Source, Message):
    type: Literal["status_update"] = "status_update"


class SourceDeleted(Message):
    type: Literal["source_deleted"] = "source_deleted"
    source_id: str


class ProgressUpdate(Message):
    type: Literal["progress_update"] = "progress_update"
    job_id: str
    progress: Progress


class JobUpdate(JobFields, Message):
    type: Literal["job_update"] = "job_update"


class JobDeleted(Message):
    type: Literal["job_deleted"] = "job_deleted"
    job_id: str


class NewProposal(ProposalFields, Message):
    type: Literal["new_proposal"] = "new_proposal"


class ProposalUpdate(Proposal, Message):
    type: Literal["proposal_update"] = "proposal_update"


class ProposalDeleted(Message):
    type: Literal["proposal_deleted"] = "proposal_deleted"
    proposal_id: str


class ProjectFeed(Feed):
    """The feed ``project``."""

    name = "project"
    snapshot_query = SnapshotQuery("project_snapshot", "project_id")
    types = frozenset({
        "status_update", "source_deleted", "progress_update", "job_update", "job_deleted", "new_proposal",
        "proposal_update", "proposal_deleted",
    })  # fmt: skip

    def connected(self, key: str, revision: int, *, resumed: bool, live: bool, rows: Rows) -> Connected:  # noqa: ARG002
        return Connected(project_id=key, revision=revision, resumed=resumed, live=live, exact=True)

    def translate(self, change: Change) -> Sequence[Message]:
        if change.replaced:
            return [*self._deleted(change.table, change.row_id), *self._written(change)]
        if change.op == "D":
            return self._deleted(change.table, change.row_id)
        return self._written(change)

    def snapshot(self, rows: Rows) -> Mapping[str, Sequence[WireModel]]:
        return {
            "sources": [Source.model_validate(row) for row in rows[SOURCES]],
            "jobs": [Job(**_job_fields(row), progress=_progress(row)) for row in rows[JOBS] if not row["staff"]],
            "proposals": [Proposal.model_validate(row) for row in rows[PROPOSALS]],
        }

    def _deleted(self, table: str, row_id: str) -> Sequence[Message]:
        match table:
            case "jobs":
                return [JobDeleted(job_id=row_id)]
            case "ingestion_sources":
                return [SourceDeleted(source_id=row_id)]
            case "proposed_nodes":
                return [ProposalDeleted(proposal_id=row_id)]
            case _:
                return []

    def _written(self, change: Change) -> Sequence[Message]:
        row = change.row or {}
        match change.table:
            case "jobs":
                return self._job(row, change)
            case "ingestion_sources":
                return [StatusUpdate.model_validate(_row(row))]
            case "proposed_nodes":
                kind = NewProposal if change.op == "I" else ProposalUpdate
                return [kind.model_validate(_row(row))]
            case _:
                return []

    def _job(self, row: Mapping[str, Any], change: Change) -> Sequence[Message]:
        if row["staff"]:  # members don't see jobs on staff BOMs; the database decides which those are
            return [JobDeleted(job_id=row["id"])] if "staff" in change.changed else []
        inserted = change.op == "I" or "staff" in change.changed
        messages: list[Message] = []
        progress = _progress(row)
        if progress and (inserted or change.changed & PROGRESS_COLUMNS):
            messages.append(ProgressUpdate(job_id=row["id"], progress=progress))
        if inserted or change.changed & JOB_COLUMNS:
            messages.append(JobUpdate(**_job_fields(row)))
        return messages


def _row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row without a column called ``type``, which would be taken for the message's."""
    return {name: value for name, value in row.items() if name != "type"}


def _job_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: row[name] for name in JobFields.model_fields if name in row},
        "job_id": row["id"],
        "cancel_requested": row["cancel_requested_at"] is not None,
    }


def _progress(row: Mapping[str, Any]) -> Progress | None:
    """A job row's progress, or None when it has reported none: the database notes when it does."""
    updated_at = row["progress_updated_at"]
    if updated_at is None:
        return None
    return Progress(
        stage=row["progress_stage"],
        current=row["progress_current"],
        total=row["progress_total"],
        message=row["progress_message"],
        timestamp=round(moment(updated_at).timestamp() * 1000),
        percent=_percent(row["progress_current"], row["progress_total"]),
        eta_seconds=_eta_seconds(row),
    )


def _percent(current: int, total: int | None) -> float | None:
    if not total:
        return None
    return round(min(max(current / total, 0.0), 1.0) * 100, 1)


def _eta_seconds(row: Mapping[str, Any]) -> float | None:
    """What the worker itself estimates in ``pipeline``: a stage's counters alone can't tell how many stages follow."""
    timing = (row.get("pipeline") or {}).get("timing") or {}
    remaining = timing.get("estimated_remaining_ms")
    return None if remaining is None else round(remaining / 1000, 1)
