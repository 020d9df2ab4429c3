"""The pipeline feed: how the stages, workers and counters of a job stand. It is told from the job's row.

All is reckoned where the work is done, by whoever writes the column ``jobs.pipeline`` (the worker SDK:
``rowcast/pipeline.py``). Here what it left out is filled in, what makes no sense is left out, and a job that has no
such column is told from its plain progress.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, RootModel, ValidationInfo, ValidatorFunctionWrapHandler, field_validator

from service.events.model import Live, Reauth, SnakeMessage, SnakeModel, StreamEnd, moment

EXACT = 2**53
ACTIVE = frozenset({"queued", "running", "paused", "stalled"})
COUNTERS = ("entities_total", "relations_total", "neo4j_writes", "qdrant_writes")
"""Those that pages have always found, whatever else a worker counts."""


class Lenient(SnakeModel):
    """An object that a worker wrote: a field of which it makes nonsense has its default."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _or_default(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            if isinstance(value, int | float) and not _is_exact(value):
                raise ValueError("no number that pages can hold")
            return handler(value)
        except ValueError:  # ValidationError is one
            return cls.model_fields[str(info.field_name)].get_default(call_default_factory=True)


class Stage(Lenient):
    """A stage of a job's work: `processed` of `total` things; `in_flight` are being worked on just now."""

    name: str = ""
    status: Literal["pending", "in_progress", "completed", "error"] = "pending"
    processed: int = 0
    total: int | None = Field(default=None, description="null where it can't be known.")
    in_flight: int = 0
    progress_percent: float = Field(default=0.0, ge=0, le=100)
    duration_ms: int | None = Field(default=None, description="null until it has begun.")
    is_complete: bool = False
    weight: float | None = Field(
        default=None, gt=0, description="Its share of the whole, beside the other stages'; null where it has none."
    )
    parent: str | None = Field(default=None, description="The stage that it is a part of, where it is nested.")
    position: int = Field(default=0, exclude=True)  # told by the stages' order


class PoolWorker(Lenient):
    """One of the workers that share a job's work."""

    id: int | str = ""
    status: Literal["idle", "processing", "error"] = "idle"
    current_chunk: str | int | None = None
    progress_percent: float = Field(default=0.0, ge=0, le=100)


class WorkerPool(Lenient):
    """Those that share a job's work."""

    active: int = Field(default=0, description="How many of them work just now.")
    max: int = Field(default=0, description="How many there may be.")
    queue_depth: int = Field(default=0, description="How many things wait for one.")
    workers: list[PoolWorker] = Field(default_factory=list)


class Timing(Lenient):
    """Of the present attempt."""

    started_at: float | None = Field(default=None, description="Seconds since the epoch.")
    elapsed_ms: int = 0
    estimated_remaining_ms: int | None = Field(default=None, ge=0, description="null until it can be known.")


class LogLine(Lenient):
    """What a worker wrote for people."""

    time: str = Field(default="", description="RFC 3339.")
    level: str = Field(default="info", description="`debug`, `info`, `warning`, `error`.")
    message: str = ""


class Pipeline(Lenient):
    """How the stages, workers and counters of a job stand."""

    document_id: str | None = Field(default=None, description="The source that it works on, if any.")
    document_name: str | None = None
    total_chunks: int = 0
    total_images: int = 0
    stages: dict[str, Stage] = Field(default_factory=dict, description="By their names, in order.")
    worker_pool: WorkerPool = Field(default_factory=WorkerPool)
    metrics: dict[str, float | int] = Field(
        default_factory=dict,
        description="`entities_total`, `relations_total`, `neo4j_writes`, `qdrant_writes`, and what else it counts.",
    )
    timing: Timing = Field(default_factory=Timing)
    overall_progress_percent: float = Field(
        default=0.0, ge=0, le=100, description="The stages', weighted; it never goes back within an attempt."
    )
    log: list[LogLine] = Field(default_factory=list, description="The newest lines, oldest first.")

    @field_validator("stages")
    @classmethod
    def _in_order(cls, stages: dict[str, Stage]) -> dict[str, Stage]:
        return dict(sorted(stages.items(), key=lambda named: named[1].position))


class _Told(SnakeMessage):
    """``type`` is the SSE event's name."""

    type: str = Field(exclude=True)


class PipelineProgress(Pipeline, _Told):
    """The newest state of the job, at most twice a second, and never without the last."""

    type: Literal["pipeline_progress"] = Field(default="pipeline_progress", exclude=True)


class Complete(_Told):
    """The job has succeeded."""

    type: Literal["complete"] = Field(default="complete", exclude=True)


class JobError(_Told):
    """The job has failed, was stopped, or is not there."""

    type: Literal["error"] = Field(default="error", exclude=True)
    message: str
    job_id: str


class JobPipelineProgress(PipelineProgress):
    """As told on a stream of several jobs."""

    job_id: str


class JobComplete(Complete):
    """A job of several has succeeded."""

    job_id: str


class PipelineMessage(RootModel[PipelineProgress | Complete | JobError | Live | Reauth | StreamEnd]):
    """A message of the stream of one job's pipeline, known by its event's name."""


class PipelinesMessage(RootModel[JobPipelineProgress | JobComplete | JobError | Live | Reauth | StreamEnd]):
    """A message of the stream of all active jobs' pipelines, known by its event's name."""


def progress(row: Mapping[str, Any], *, several: bool) -> PipelineProgress:
    """The pipeline of a row of ``jobs``, for a stream of ``several`` jobs or of this one."""
    told = row["pipeline"] or _plain(row)
    about = {"document_id": row["source_id"], "document_name": row["title"]}
    metrics = dict.fromkeys(COUNTERS, 0) | _numbers(told.get("metrics"))
    kind = JobPipelineProgress if several else PipelineProgress
    return kind.model_validate({**about, **told, "metrics": metrics, "job_id": row["id"]})


def ending(row: Mapping[str, Any], *, several: bool) -> Complete | JobError | None:
    """How a job ended; None while it has not."""
    match row["status"]:
        case "completed":
            return JobComplete(job_id=row["id"]) if several else Complete()
        case "failed":
            return JobError(message=row["error_message"] or "The job failed.", job_id=row["id"])
        case "stopped":
            return JobError(message=row["error_message"] or "The job was stopped.", job_id=row["id"])
        case _:
            return None


def missing(job_id: str) -> JobError:
    """What is told of a job that does not exist, any more or for whoever asks."""
    return JobError(message=f"Job not found: {job_id}", job_id=job_id)


def timing(pipeline: Mapping[str, Any] | None) -> Timing:
    """What the column ``pipeline`` says of time."""
    said = (pipeline or {}).get("timing")
    return Timing.model_validate(said if isinstance(said, dict) else {})


def _numbers(said: object) -> dict[str, float | int]:
    named = said.items() if isinstance(said, dict) else ()
    return {
        name: value
        for name, value in named
        if isinstance(value, int | float) and not isinstance(value, bool) and _is_exact(value)
    }


def _is_exact(number: float) -> bool:
    """Whether JavaScript can tell it from its neighbours: PostgreSQL's JSON holds numbers of any size."""
    return abs(number) <= EXACT


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline of one stage, of a job that has only said how far it is."""
    current, total = row["progress_current"], row["progress_total"]
    succeeded = row["status"] == "completed"
    percent = 100.0 if succeeded else round(min(current / total, 1) * 100, 1) if total else 0.0
    started, now = row["started_at"], row["finished_at"] or row["progress_updated_at"]
    elapsed = (moment(now) - moment(started)).total_seconds() if started and now else 0.0
    stages = {}
    if (name := row["progress_stage"]) is not None:
        status = "completed" if succeeded else "error" if row["status"] == "failed" else "in_progress"
        stages[name] = {
            "name": name, "status": status, "processed": current, "total": total,
            "progress_percent": percent, "is_complete": succeeded,
        }  # fmt: skip
    return {
        "stages": stages,
        "timing": {
            "started_at": moment(started).timestamp() if started else None,
            "elapsed_ms": max(round(elapsed * 1000), 0),
        },
        "overall_progress_percent": percent,
    }
