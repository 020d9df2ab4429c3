"""A job as threads and tasks see it, whether they wait with `await` or without.

Everything here returns at once. What can be waited for comes back as a future of the writer thread; job.py waits for it
in plain code, aio.py in async code, and neither does anything else.
"""

import logging
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Token
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from rowcast import rows
from rowcast.calls import CallState
from rowcast.errors import DeliveryError, JobCancelled, JobLost, NotRunningError, RowcastError, lost
from rowcast.report import CURRENT, Reporter
from rowcast.state import BATCH_BYTES, BATCH_ROWS, JobState, Operation
from rowcast.writer import STOP_SECONDS, Writer

logger = logging.getLogger("rowcast")

MOST_SOURCES = 100_000  # that a job which ends early fails; memory is bounded


@dataclass(frozen=True, slots=True)
class Settings:
    """As :func:`rowcast.connect` takes them. Raises ValueError naming what is out of range."""

    interval: float = 0.5
    lease: int = 60
    deadline: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.interval <= 60:
            raise ValueError(f"interval must be from 0 to 60 seconds, not {self.interval!r}")
        if not isinstance(self.lease, int) or not 3 <= self.lease <= 3600:
            raise ValueError(f"lease must be a whole number of seconds from 3 to 3600, not {self.lease!r}")
        if not 0 < self.deadline <= 3600:
            raise ValueError(f"deadline must be over 0 and at most 3600 seconds, not {self.deadline!r}")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A node proposed for the project. ``confidence`` is from 0 to 1; ``source_id`` the source it was found in."""

    title: str
    confidence: float
    body: str | None = None
    source_id: UUID | str | None = None


class BaseJob(Reporter):
    """A job's identity, life and rows. Made by the client's ``job()``; runs while its ``with`` block does."""

    def __init__(
        self,
        writer: Writer,
        settings: Settings,
        job_id: UUID,
        row: Mapping[str, object],
        claim: UUID | None = None,
    ) -> None:
        self.id = job_id
        self.row = row
        self.project_id = UUID(str(row["project_id"]))
        self._writer = writer
        self._settings = settings
        self._state = JobState(
            job_id,
            row,
            interval=settings.interval,
            lease=settings.lease,
            chance=random.random,
            claim=claim,
        )
        self._entered = False
        self._sources: set[UUID] = set()  # that are neither completed nor failed
        self._token: Token[Reporter | None] | None = None

    @property
    def claim(self) -> UUID | None:
        """The token of a claimed job, which functions of the database ask for; None for one that was not claimed."""
        return self._state.claim

    @property
    def attempt(self) -> int:
        """How often it has been tried, this time included."""
        return int(str(self.row.get("attempt") or 1))

    @property
    def checkpointed(self) -> Any:
        """What an earlier attempt at this job left with `checkpoint`; None when there is nothing."""
        return self.row.get("checkpoint")

    # Life

    def _begin(self) -> "Future[None]":
        if self._entered:
            raise NotRunningError("a job runs once; make a new one with client.job()")
        self._entered = True
        self._state.pipeline.start(self._writer.clock(), time.time())
        self._writer.add(self._state)
        return self._state.begun

    def _current(self) -> None:
        """It is the one that `rowcast.current_job` gives from now on, until `_finish`."""
        self._token = CURRENT.set(self)
        if self._writer.bars is not None:
            with suppress(OSError):  # a terminal that is gone ends no work
                self._writer.bars.add(str(self.row["title"]), self)

    def _finish(self, error: BaseException | None) -> "tuple[Future[None], float]":
        """The end that ``error`` means, and how long to wait for it. Only an Exception is a failure: what is none (a
        cancelled task, Ctrl-C, SystemExit) was somebody's wish to stop, who won't wait for long; a claimed job is then
        the next worker's."""
        if self._token is not None:
            with suppress(ValueError):  # entered in another context
                CURRENT.reset(self._token)
        seconds = self._settings.deadline
        status: rows.JobStatus = "completed"
        told = None
        if only(error, JobCancelled) or only(error, JobLost) or (error is None and self._told_to_stop):
            status = "stopped"
        elif isinstance(error, Exception):
            status, told = "failed", rows.error_text(error)
        elif error is not None:
            status = "stopped" if self.claim is None else "queued"
            seconds = min(seconds, STOP_SECONDS)
        with self._writer.lock:
            if error is not None:
                self._fail_sources(rows.error_text(error))
            future = self._state.finish(status, told, self._writer.clock() + seconds)
            self._writer.wake()
        if self._writer.bars is not None:
            with suppress(OSError):
                self._writer.bars.remove(self, status)
        return future, seconds

    def _fail_sources(self, why: str) -> None:
        """None is left waiting by a job that ends early."""
        values = {"status": "failed", "error_message": rows.message(f"The job ended before this was done: {why}")}
        left = sorted(map(str, self._sources))
        for start in range(0, len(left), BATCH_ROWS):
            ids = ",".join(left[start : start + BATCH_ROWS])
            self._state.put(Operation("ingestion_sources", (rows.encode(values),), where=f"in.({ids})"))
        self._sources = set()

    def _give_up(self, when: str) -> DeliveryError:
        with self._writer.lock:
            unwritten, last_error = self._state.unwritten(), self._state.last_error
        error = DeliveryError(
            f"Job {self.id}: not written {when}: {', '.join(unwritten)}"
            f" (last error: {last_error or 'none, the database is only slow'})",
            unwritten=unwritten,
            last_error=last_error,
        )
        self._writer.drop(self._state, error)
        return error

    # Rows

    def _put(self, operation: Operation) -> "Future[None] | None":
        with self._writer.lock:
            self._check_running()
            if (refusal := self._state.take_refusal()) is not None:
                raise refusal
            if self._state.lost:
                raise lost(self.id)
            waiting = self._state.put(operation)
            self._writer.wake()
        return waiting

    def _flushed(self) -> "list[Future[None]]":
        with self._writer.lock:
            self._check_running()
            futures = self._state.flushed()
            self._writer.wake()
        return futures

    def _calling(self, function: str, arguments: Mapping[str, object]) -> CallState:
        """A call that carries the job's id, claim and pipeline; until it is answered, progress waits."""
        with self._writer.lock:
            self._check_running()
            pipeline = self._state.hold(self._writer.clock())
        about = {"job_id": self.id, "claim": self.claim, "pipeline": pipeline}
        try:
            call = CallState(function, {**about, **arguments}, random.random)
        except BaseException:
            with self._writer.lock:
                self._state.changed = True  # what the call was to carry
                self._state.release(self._writer.clock())
            raise
        call.answer.add_done_callback(lambda _: self._state.release(self._writer.clock()))  # with the lock held
        self._writer.add(call)
        return call

    def _raise_refusal(self) -> None:
        with self._writer.lock:
            if (refusal := self._state.take_refusal()) is not None:
                raise refusal

    def _proposals(self, proposals: Iterable[Proposal], ids: list[UUID]) -> Iterator[Operation]:
        """Operations of at most a batch each; the new ids go to ``ids``. Lazy, so that a generator is read no faster
        than its rows are written."""
        batch: list[str] = []
        for each in proposals:
            proposal_id, row = rows.proposal(
                str(self.project_id), self.id, each.title, each.body, each.confidence, each.source_id
            )
            encoded = rows.encode(row)
            if batch and (len(batch) == BATCH_ROWS or sum(map(len, batch)) + len(encoded) > BATCH_BYTES):
                yield Operation("proposed_nodes", tuple(batch))
                batch = []
            batch.append(encoded)
            ids.append(proposal_id)
        if batch:
            yield Operation("proposed_nodes", tuple(batch))

    def _source(self, name: str, type_: str, uri: str | None) -> tuple[UUID, Operation]:
        source_id, row = rows.source(str(self.project_id), name, type_, uri)
        if len(self._sources) < MOST_SOURCES:
            self._sources.add(source_id)
        return source_id, Operation("ingestion_sources", (rows.encode(row),))


class BaseSource:
    """A row of ``ingestion_sources``."""

    def __init__(self, job: BaseJob, source_id: UUID, name: str) -> None:
        self.id = source_id
        self.name = name
        self._of = job

    def _update(self, status: rows.SourceStatus, error_message: str | None = None) -> Operation:
        if status in ("completed", "failed"):
            self._of._sources.discard(self.id)  # noqa: SLF001 - of its own job
        values = {"status": status, "error_message": rows.message(error_message)}
        return Operation("ingestion_sources", (rows.encode(values),), where=f"eq.{self.id}")


def wants_out(error: BaseException | None) -> bool:
    """Whether ``error`` is no failure but somebody's wish to stop."""
    return error is not None and not isinstance(error, Exception)


def only(error: BaseException | None, kind: type[Exception]) -> bool:
    """Whether ``error`` is of this kind; of a group, whether all its leaves are."""
    if isinstance(error, BaseExceptionGroup):
        return all(only(leaf, kind) for leaf in error.exceptions)
    return isinstance(error, kind)


def note_or_raise(error: BaseException | None, trouble: RowcastError) -> None:
    """Raises ``trouble``, or attaches it to the ``error`` already on its way, which must not be masked."""
    if error is None:
        raise trouble
    error.add_note(f"Besides, rowcast could not deliver the job's end. {type(trouble).__name__}: {trouble}")
    if wants_out(error):  # nobody prints those
        say(trouble)


def say(trouble: RowcastError) -> None:
    logger.error("Could not deliver the job's end. %s", trouble)
