"""A job as threads and tasks see it, whether they wait with `await` or without.

Everything here returns at once. What can be waited for comes back as a future of the writer thread; job.py waits for it
in plain code, aio.py in async code, and neither does anything else.
"""

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from concurrent.futures import Future
from dataclasses import dataclass
from operator import index
from uuid import UUID

from rowcast import rows
from rowcast.errors import DeliveryError, JobCancelled, JobLost, NotRunningError, RowcastError
from rowcast.state import BATCH_BYTES, BATCH_ROWS, JobState, Operation
from rowcast.writer import Writer


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


class BaseJob:
    """A job's identity and progress. Made by the client's ``job()``; runs while its ``with`` block does."""

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

    @property
    def cancel_requested(self) -> bool:
        """True once somebody asked for the job to stop: known at the latest a third of the lease after it was asked."""
        return self._state.cancel_requested

    @property
    def claim(self) -> UUID | None:
        """The token of a claimed job, which functions of the database ask for; None for one that was not claimed."""
        return self._state.claim

    @property
    def lost(self) -> bool:
        """True once a claimed job is another worker's."""
        return self._state.lost

    def stage(self, name: str, total: int | None = None, *, message: str | None = None) -> None:
        """Begins the stage ``name`` at 0 of ``total`` (None: unknown). Raises ValueError for an empty name, "complete"
        (the SDK's own word for success) and a negative total; NotRunningError outside the block."""
        name, total = rows.stage_name(name), rows.count("total", total)
        self._progress(name, total, rows.message(message))

    def advance(self, n: int = 1, message: str | None = None) -> None:
        """Moves the stage on by ``n`` (0 or more) and, if given, changes the message. From any thread or task; costs
        about half a microsecond. Raises ValueError for a negative ``n``, TypeError for a fraction, NotRunningError
        outside the block."""
        n = index(n)
        if n < 0:
            raise ValueError(f"n must be 0 or more, not {n}")
        state, writer = self._state, self._writer
        with writer.lock:
            self._check_running()
            pipeline = state.pipeline
            pipeline.current.processed += n
            if message is not None:
                pipeline.message = rows.message(message)
            if not state.changed:
                state.changed = True
                writer.wake()

    def _progress(self, name: str | None, total: int | None, message: str | None) -> None:
        with self._writer.lock:
            self._check_running()
            pipeline = self._state.pipeline
            pipeline.begin(name, total, self._writer.clock())
            pipeline.message = message
            self._state.changed = True
            self._writer.wake()

    def _check_running(self) -> None:
        if self._state.closed_by is not None:
            raise self._state.closed_by
        if not self._entered or self._state.end is not None:
            raise NotRunningError("this job is not running: use it inside its `with` block")

    # Life

    def _begin(self) -> "Future[None]":
        if self._entered:
            raise NotRunningError("a job runs once; make a new one with client.job()")
        self._entered = True
        self._state.pipeline.start(self._writer.clock(), time.time())
        self._writer.add(self._state)
        return self._state.begun

    def _finish(self, error: BaseException | None) -> "Future[None]":
        """The end that ``error`` means. Only an Exception is a failure: what is none (a cancelled task, Ctrl-C,
        SystemExit) was somebody's wish to stop; a claimed job is then the next worker's."""
        status: rows.JobStatus = "completed"
        told = None
        if isinstance(error, JobCancelled):
            status = "stopped"
        elif isinstance(error, Exception):
            status, told = "failed", rows.error_text(error)
        elif error is not None:
            status = "stopped" if self.claim is None else "queued"
        with self._writer.lock:
            future = self._state.finish(status, told, self._writer.clock() + self._settings.deadline)
            self._writer.wake()
        return future

    def _give_up(self) -> DeliveryError:
        with self._writer.lock:
            unwritten, last_error = self._state.unwritten(), self._state.last_error
        error = DeliveryError(
            f"Job {self.id}: not written within {self._settings.deadline:g} s: {', '.join(unwritten)}"
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
            waiting = self._state.put(operation)
            self._writer.wake()
        return waiting

    def _flushed(self) -> "Future[None] | None":
        with self._writer.lock:
            self._check_running()
            future = self._state.flushed()
            self._writer.wake()
        return future

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
        return source_id, Operation("ingestion_sources", (rows.encode(row),))

    def _raise_cancelled(self) -> None:
        if self._state.lost:
            raise JobLost(f"Job {self.id} is another worker's now: it was not heard of for longer than its lease")
        if self._state.cancel_requested:
            raise JobCancelled(f"Job {self.id} was asked to stop")


class BaseSource:
    """A row of ``ingestion_sources``."""

    def __init__(self, source_id: UUID, name: str) -> None:
        self.id = source_id
        self.name = name

    def _update(self, status: rows.SourceStatus, error_message: str | None = None) -> Operation:
        values = {"status": status, "error_message": rows.message(error_message)}
        return Operation("ingestion_sources", (rows.encode(values),), row_id=self.id)


def total_of(items: object, total: int | None) -> int | None:
    """The total as given, else the length of ``items`` where they have one."""
    if total is not None:
        return rows.count("total", total)
    return len(items) if isinstance(items, Sized) else None


def note_or_raise(error: BaseException | None, trouble: RowcastError) -> None:
    """Raises ``trouble``, or attaches it to the ``error`` already on its way, which must not be masked."""
    if error is None:
        raise trouble
    error.add_note(f"Besides, rowcast could not deliver the job's end. {type(trouble).__name__}: {trouble}")
