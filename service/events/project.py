"""The project feed: ingestion sources, jobs and proposals of one project, as its page sees them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, RootModel

from service.changes.change import Change
from service.events.feed import Feed, Rows, SnapshotQuery
from service.events.model import (
    Count,
    Id,
    Live,
    Message,
    Reauth,
    Reset,
    Revision,
    SnapshotHead,
    StreamEnd,
    StreamError,
    Timestamp,
    WireModel,
    moment,
    one_of,
)
from service.events.pipeline import timing

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


SourceStatus = Annotated[str, one_of("pending", "processing", "completed", "failed")]
JobStatus = Annotated[str, one_of("queued", "running", "paused", "completed", "failed", "stopped", "stalled")]
ProposalStatus = Annotated[str, one_of("proposed", "accepted", "rejected")]


class ProjectConnected(Message):
    """The first message of a project's stream."""

    type: Literal["connected"] = "connected"
    message: str = "Connected to status updates"
    project_id: Id
    revision: Revision = Field(description="Where the stream starts: what comes is newer.")
    resumed: bool = Field(description="Whether it goes on from the id that the page sent.")
    live: bool = Field(description="Whether changes come at once; else they are asked for every second.")
    exact: bool = Field(description="Whether every change is known one by one, from the change log.")


class Source(WireModel):
    """A source as the snapshot lists it."""

    source_id: Id = Field(validation_alias="id")
    status: SourceStatus
    source_name: str
    updated_at: Timestamp
    error_message: str | None = Field(description="Why it failed; null unless it has.")


class Progress(WireModel):
    """How far a job is."""

    stage: str | None = Field(description="What it is doing; `complete` says that it succeeded.")
    current: Count = Field(description="How much of the stage is done.")
    total: Count | None = Field(description="Of how much; null where it can't be known.")
    message: str | None = Field(description="What it is doing, for people.")
    timestamp: int = Field(description="When it said so, in milliseconds since the epoch.")
    percent: float | None = Field(
        description="`current` of `total`, with one decimal; null without a total.",
        json_schema_extra={"minimum": 0, "maximum": 100},
    )
    eta_seconds: float | None = Field(
        description="The worker's own estimate of what is left of the whole job, in seconds."
    )


class JobFields(WireModel):
    job_id: Id
    kind: str = Field(description="What sort of work it is: `ingestion`, `bom_enrichment`, …")
    title: str
    status: JobStatus
    attempt: Count = Field(description="How often it has been begun.")
    error_message: str | None = Field(description="Why it failed or was stopped; null unless it was.")
    created_at: Timestamp
    updated_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    cancel_requested: bool = Field(description="Whether somebody has asked it to stop.")
    source_id: Id | None = Field(description="The source that it works on, if any.")
    bom_id: Id | None = Field(description="The bill of materials that it works on, if any.")


class Job(JobFields):
    """A job as the snapshot lists it."""

    progress: Progress | None = Field(description="Null until it has reported any.")


class ProposalFields(WireModel):
    proposal_id: Id = Field(validation_alias="id")
    title: str
    confidence: float | None = Field(description="From 0 to 1.", json_schema_extra={"minimum": 0, "maximum": 1})
    created_at: Timestamp
    status: ProposalStatus
    job_id: Id | None = Field(description="The job that made it.")
    source_id: Id | None = Field(description="The source that it was made of.")


class Proposal(ProposalFields):
    """A proposal as the snapshot lists it."""

    updated_at: Timestamp


class StatusUpdate(Source, Message):
    """An ingestion source was inserted or updated."""

    type: Literal["status_update"] = "status_update"


class SourceDeleted(Message):
    """An ingestion source was deleted."""

    type: Literal["source_deleted"] = "source_deleted"
    source_id: Id


class ProgressUpdate(Message):
    """A job got on."""

    type: Literal["progress_update"] = "progress_update"
    job_id: Id
    progress: Progress


class JobUpdate(JobFields, Message):
    """A job was inserted, or one of these fields changed."""

    type: Literal["job_update"] = "job_update"


class JobDeleted(Message):
    """A job was deleted."""

    type: Literal["job_deleted"] = "job_deleted"
    job_id: Id


class NewProposal(ProposalFields, Message):
    """A proposal was inserted."""

    type: Literal["new_proposal"] = "new_proposal"


class ProposalUpdate(Proposal, Message):
    """A proposal was updated."""

    type: Literal["proposal_update"] = "proposal_update"


class ProposalDeleted(Message):
    """A proposal was deleted."""

    type: Literal["proposal_deleted"] = "proposal_deleted"
    proposal_id: Id


class ProjectSnapshot(SnapshotHead):
    """A project's present, in parts: a page has it when it has the last one."""

    sources: list[Source]
    jobs: list[Job]
    proposals: list[Proposal]


class ProjectMessage(
    RootModel[
        Annotated[
            ProjectConnected
            | ProjectSnapshot
            | StatusUpdate
            | SourceDeleted
            | ProgressUpdate
            | JobUpdate
            | JobDeleted
            | NewProposal
            | ProposalUpdate
            | ProposalDeleted
            | Live
            | Reset
            | Reauth
            | StreamError
            | StreamEnd,
            Field(discriminator="type"),
        ]
    ]
):
    """A message of a project's stream, known by its `type`."""


class ProjectFeed(Feed):
    """The feed ``project``. ``exact`` is false where there is no change log to read it from."""

    def __init__(self, *, exact: bool = True) -> None:
        self.exact = exact

    name = "project"
    snapshot_query = SnapshotQuery("project_snapshot", "project_id")
    key_name = "projectId"
    types = frozenset({
        "status_update", "source_deleted", "progress_update", "job_update", "job_deleted", "new_proposal",
        "proposal_update", "proposal_deleted",
    })  # fmt: skip

    def connected(self, key: str, revision: int, *, resumed: bool, live: bool, rows: Rows) -> ProjectConnected:  # noqa: ARG002
        return ProjectConnected(project_id=key, revision=revision, resumed=resumed, live=live, exact=self.exact)

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
    remaining = timing(row["pipeline"]).estimated_remaining_ms
    return None if remaining is None else round(remaining / 1000, 1)
