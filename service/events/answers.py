"""What requests with one answer are answered with; see :mod:`service.events.model`. And what is sent with them."""

from typing import Annotated

from pydantic import Field

from service.events.enrichment import (
    BomStatus,
    Component,
    EnrichmentState,
    HistoryEvent,
)
from service.events.model import Count, Id, Revision, SnakeModel, WireModel, one_of
from service.events.project import Job, JobStatus, ProjectMessage, Proposal, ProposalStatus, Source

ErrorCode = Annotated[
    str,
    one_of(
        "bad_request", "missing_token", "invalid_token", "expired_token", "forbidden", "not_found", "conflict",
        "rate_limited", "too_many_streams", "upstream_unavailable", "internal_error",
    ),
]  # fmt: skip


class Problem(WireModel):
    """Every answer from 400 on, but of health checks."""

    error: ErrorCode = Field(description="What is wrong, for programs.")
    message: str = Field(description="What is wrong and what would be right, for people.")


class ProjectSnapshotAnswer(WireModel):
    """A project's present."""

    revision: Revision = Field(description="Of which moment: with `?since=` what came after it.")
    live: bool = Field(description="Whether streams of the project tell changes at once now.")
    sources: list[Source]
    jobs: list[Job]
    proposals: list[Proposal]


class ProjectEventsAnswer(WireModel):
    """What a stream would have sent since."""

    revision: Revision = Field(description="The next request's `since`.")
    live: bool = Field(description="Whether streams of the project tell changes at once now.")
    reset: bool = Field(
        description="Whether what was missed can't be told one by one: `events` are then a reset and a snapshot."
    )
    events: list[ProjectMessage]


class EnrichmentStateAnswer(SnakeModel):
    """A bill of materials' present."""

    state: EnrichmentState
    components: list[Component] = Field(description="The 50 that had their outcome last, newest first.")
    revision: Revision = Field(description="Of which moment: with `?since=` a stream tells what came after it.")


class EnrichmentHistoryAnswer(SnakeModel):
    """A page of what happened, oldest first."""

    events: list[HistoryEvent]
    next: str | None = Field(description="The next page's `after`; null at the end.")


class TicketAnswer(WireModel):
    """A ticket that opens one stream."""

    ticket: str
    expires_in: int = Field(description="For how many seconds it is good.", json_schema_extra={"minimum": 1})


class BomAnswer(SnakeModel):
    """A bill of materials as it was read."""

    bom_id: Id
    total_items: Count
    columns: dict[str, str] = Field(description="Which of the file's columns was read as what: `mpn`, `quantity`, …")


class StartRequest(SnakeModel):
    """What an enrichment is started with; all of it may be left out."""

    organization_id: Id | None = Field(default=None, description="If told, it must be the BOM's.")
    project_id: Id | None = Field(default=None, description="If told, it must be the BOM's.")
    priority: int = Field(default=5, description="9 comes first.", json_schema_extra={"minimum": 1, "maximum": 9})


class StartAnswer(SnakeModel):
    """An enrichment was started."""

    success: bool
    bom_id: Id
    workflow_id: str = Field(description="`bom-enrichment-{bom_id}`")
    run_id: Id = Field(description="The id of the job.")
    status: BomStatus


class ControlAnswer(SnakeModel):
    """An enrichment was paused, resumed or stopped."""

    success: bool
    bom_id: Id
    status: BomStatus


class JobCommandAnswer(WireModel):
    """What has become of the job so far; the rest arrives on the stream."""

    job_id: Id
    status: JobStatus
    attempt: Count = Field(description="How often it has been begun.")
    cancel_requested: bool = Field(description="Whether its worker is asked to stop, and has not yet.")


class DecisionRequest(WireModel):
    """What becomes of a proposal."""

    status: ProposalStatus


class DecisionAnswer(WireModel):
    """What has become of a proposal."""

    proposal_id: Id
    status: ProposalStatus


class Liveness(WireModel):
    """The process answers."""

    status: Annotated[str, one_of("ok")]


class Readiness(WireModel):
    """Whether this process can serve; `degraded`, with Realtime down and changes coming slower, is ready."""

    status: Annotated[str, one_of("ready", "degraded", "unready")]
    mode: Annotated[str, one_of("log", "direct")] | None = Field(
        description="`log`: streams are exact; `direct`: the database has no change log, they are not. "
        "null until the database has said."
    )
    database: bool = Field(description="Whether the database answers.")
    listener: bool = Field(description="Whether changes are heard.")
    realtime: bool = Field(description="Whether they come at once.")
    reason: str | None = Field(description="Why it is not ready.")


class EnrichmentHealth(SnakeModel):
    """As readiness, in the words of the enrichment pages."""

    status: Annotated[str, one_of("healthy", "degraded", "unhealthy")]
    realtime: bool
    database: bool
    active_streams: Count
