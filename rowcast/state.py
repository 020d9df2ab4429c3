"""One job's unwritten state, and which write is due when. Pure: time and chance come in as arguments.

The contract, which tests/rowcast/test_state.py holds it to:

- At most one write of a job is under way: `take` gives it, `settle` takes its outcome.
- The job's own row is the first write, its end the last; queued rows go out in the order they came, as few requests
  as the limits allow, and all of them before the end. A claimed job has its row; its heartbeats and its end name the
  claim, and count for nothing once that is lost.
- Progress is one value, the newest, pipeline and checkpoint in it. The first write of it is due at once, each later one
  no sooner than `interval` after the last; the end carries it in its own write, or comes right after it. What was not
  written is still the newest state, so memory does not grow however long nothing can be written. While a call that
  carries it is under way (`hold`), it is not due.
- A heartbeat is due every third of the lease, whether anything advances or not; while the job is paused every five
  seconds, at least. It tells what others have done to the job, and so does the answer to progress: asked to stop,
  paused (`resumed` is what to wait for), ended (nothing is written any more), or given to somebody else.
- What failed to arrive is due again after a growing, jittered pause, for ever. Every write may therefore arrive twice,
  and late, and must bear it: inserts carry their ids and skip what is there, updates set values, progress is numbered.
- What was refused is not sent again: its caller is told, or, where nobody waits, the next caller. A batch that was
  refused goes out again row group by row group, so that the innocent are written.
"""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal
from uuid import UUID

from rowcast import rows
from rowcast.checkpoint import Checkpoints
from rowcast.errors import RequestError, lost
from rowcast.pipeline import Pipeline

BATCH_ROWS, BATCH_BYTES = 100, 512 * 1024  # of one insert
QUEUE_ROWS, QUEUE_BYTES = 1_000, 4 * 1024 * 1024  # past these, callers wait
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
PAUSED_BEAT = 5.0  # seconds between heartbeats of a paused job
ENDED = frozenset({"completed", "failed", "stopped", "deleted"})
NO_SUCH_JOB = "PT404"  # what the database's functions answer then


@dataclass(slots=True, eq=False)
class Operation:
    """Rows to insert, as JSON objects; or, with ``where``, a condition on the id, rows to update with one object."""

    table: str
    objects: tuple[str, ...]
    where: str | None = None
    done: "Future[None] | None" = None
    alone: bool = False  # was in a refused batch: goes out by itself now

    size: int = field(init=False)  # characters

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.objects))

    def wait(self) -> "Future[None]":
        self.done = self.done or promise()
        return self.done


def promise() -> "Future[Any]":
    """A future that its waiters can't cancel: the write goes on when one of them gives up."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def pause_after(failures: int, chance: float) -> float:
    """Seconds to wait after so many failures (0: the first) before trying again."""
    return min(FIRST_PAUSE * 2.0 ** min(failures, 10), LONGEST_PAUSE) * (0.5 + chance / 2)


@dataclass(frozen=True, slots=True)
class Write:
    """One HTTP request. ``what`` names it in errors; ``patience`` is the longest it may take, in seconds."""

    kind: Literal["rows", "progress", "heartbeat", "end", "call"]
    method: Literal["POST", "PATCH"]
    path: str
    params: Mapping[str, str]
    body: str
    what: str
    patience: float
    operations: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivered:
    """``answer`` is the JSON that came back: the ids written, or a function's result."""

    answer: object


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nobody could take the write just now. ``retry_after`` is the server's own word, in seconds."""

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    error: RequestError


Outcome = Delivered | Unreachable | Refused


@dataclass(frozen=True, slots=True)
class End:
    status: rows.JobStatus
    error_message: str | None
    deadline: float
    done: "Future[None]" = field(default_factory=promise)


class JobState:
    """See the module's contract. Not thread-safe: the writer's lock guards it."""

    def __init__(
        self,
        job_id: UUID,
        row: Mapping[str, object],
        *,
        interval: float,
        lease: int,
        chance: Callable[[], float],
        claim: UUID | None = None,
    ) -> None:
        self.job_id = job_id
        self.claim = claim
        self.lost = False  # to another worker
        self.ended_as: str | None = None  # by somebody else
        self.resumed: Future[None] | None = None  # while it is paused
        self.checkpoints = Checkpoints()
        # Of this attempt alone: a job that is tried again is somebody else's.
        self._row = {"id": f"eq.{job_id}", "attempt": f"eq.{row.get('attempt', 1)}", "select": "id"}
        told = row.get("pipeline")  # of a claimed job: what this attempt had told before
        self.pipeline = Pipeline(
            name=_text(row.get("title")),
            document_id=_text(row.get("source_id")),
            before=told if isinstance(told, Mapping) else None,
        )
        self.changed = False  # progress that no write carries yet
        self._told = False  # any at all
        self.cancel_requested = False
        self.refusal: RequestError | None = None  # of a write nobody waited for; not told yet
        self.last_error: str | None = None
        self.started = False
        self.closed = False
        self.closed_by: BaseException | None = None  # None when it ended as it should
        self.end: End | None = None
        self.queue: deque[Operation] = deque()
        self.rows = self.bytes = 0  # in the queue
        self._queued = self._written = 0  # operations, ever
        self._number = int(str(row.get("progress_number") or 0))  # of the newest progress; the claim gives the first
        self._checkpoint: str | None = None  # that the write under way carries
        self._holds = 0
        self._interval = interval
        self._lease = lease
        self._chance = chance
        self._progress_due = 0.0
        self._heartbeat_due = 0.0
        self._pause_until = 0.0
        self._failures = 0
        self._failing: str | None = None
        if claim is None:
            self.begun = self._append(Operation("jobs", (rows.encode(row),))).wait()
        else:
            self.started = True
            self.begun = promise()
            self.begun.set_result(None)

    # What callers put in

    def put(self, operation: Operation) -> "Future[None] | None":
        """Queues ``operation``; the future to wait for when the queue is full, else None."""
        self._append(operation)
        return operation.wait() if self.rows > QUEUE_ROWS or self.bytes > QUEUE_BYTES else None

    def flushed(self) -> "list[Future[None]]":
        """The futures of the last row in the queue and of the checkpoint, where there are any."""
        self._pause_until = self._progress_due = 0.0  # somebody waits now
        last = self.queue[-1].wait() if self.queue else None
        checkpoint = None if self._over() else self.checkpoints.written()
        return [future for future in (last, checkpoint) if future is not None]

    def checkpoint(self, value: str) -> None:
        self.checkpoints.put(value, self._queued)

    def hold(self, now: float) -> dict[str, Any]:
        """The pipeline for a call that writes it itself; `release` must follow."""
        self._holds += 1
        self.changed, self._told = False, True
        return self.pipeline.as_object(now)

    def release(self, now: float) -> None:
        self._holds -= 1
        self._progress_due = now + self._interval

    def finish(self, status: rows.JobStatus, error_message: str | None, deadline: float) -> "Future[None]":
        """Asks for the job's end to be written, by ``deadline`` (in the clock of `take`)."""
        if self.end is not None:
            return self.end.done  # at the interpreter's end a generator's block may be left once more
        self._pause_until = 0.0  # somebody waits now
        if self.claim is not None and self._told:
            self.changed = True  # its end is a function's, which does not know how the pipeline ends
        self.end = End(status, rows.message(error_message), deadline)
        self._progress_due = 0.0
        self._resume(None)
        if self.closed_by is not None:
            self.end.done.set_exception(self.closed_by)
        return self.end.done

    def told_otherwise(self) -> bool:
        """Whether there is a reason not to go on."""
        return self.cancel_requested or self.lost or self.ended_as is not None or self.end is not None or self.closed

    def take_refusal(self) -> RequestError | None:
        refusal, self.refusal = self.refusal, None
        self.checkpoints.barred = False  # whoever goes on now knows what is missing
        return refusal

    def unwritten(self) -> tuple[str, ...]:
        """What is not written yet, in words."""
        counts: dict[str, int] = {}
        for operation in self.queue:
            name = operation.table if operation.where is None else f"{operation.table} (status)"
            counts[name] = counts.get(name, 0) + len(operation.objects)
        named = [f"{number} row{'s' if number > 1 else ''} of {table}" for table, number in counts.items()]
        if self.end is not None:
            return (*named, f"the job's end ({self.end.status})")
        if self.checkpoints.pending():
            named = [*named, "its checkpoint"]
        return (*named, "its progress") if self.changed else tuple(named)

    # What the writer asks

    def due(self) -> float:
        """The time at which `take` gives the next write; infinite when nothing is waiting."""
        if self.closed:
            return float("inf")
        moments = [float("inf")]
        if self.queue or self.end is not None:
            moments.append(0.0)
        if self.started:
            moments.append(self._heartbeat_due)
            if self._owes_progress():
                moments.append(self._progress_due)
        return max(self._pause_until, min(moments))

    def take(self, now: float) -> Write | None:
        """The write that is due at ``now``, if any. `settle` must follow before the next `take`."""
        if self.due() > now:
            return None
        patience = 10.0 if self.end is None else min(10.0, max(1.0, self.end.deadline - now))
        if self.started and self._heartbeat_due <= now:
            return self._heartbeat("heartbeat", patience)
        ripe = self._progress_due <= now and (self.end is None or (self.claim is not None and not self.queue))
        if self.started and ripe and self._owes_progress():
            return self._progress_write(now, patience)
        if self.queue:
            return self._rows(patience)
        return self._end(self.end, now, patience) if self.end is not None else None

    def settle(self, write: Write, outcome: Outcome, now: float) -> None:
        """Takes what became of ``write``."""
        match outcome:
            case Unreachable(reason, retry_after):
                self._unreachable(write, reason, retry_after, now)
            case Refused(error):
                self._reached(write)
                self._refused(write, error, now)
            case Delivered(answer):
                self._reached(write)
                self._delivered(write, answer, now)

    def close(self, error: BaseException) -> None:
        """Gives everything up; whoever waits gets ``error``."""
        self.closed, self.closed_by = True, error
        for operation in self.queue:
            if operation.done is not None:
                operation.done.set_exception(error)
        self.queue.clear()
        self.checkpoints.close(error)
        self._resume(None)
        if self.end is not None and not self.end.done.done():
            self.end.done.set_exception(error)

    # The queue

    def _append(self, operation: Operation) -> Operation:
        self.queue.append(operation)
        self._queued += 1
        self.rows += len(operation.objects)
        self.bytes += operation.size
        return operation

    def _shift(self) -> Operation:
        operation = self.queue.popleft()
        self._written += 1
        self.rows -= len(operation.objects)
        self.bytes -= operation.size
        return operation

    # How writes are made

    def _rows(self, patience: float) -> Write:
        first = self.queue[0]
        if first.where is not None:
            params = {"id": first.where, "select": "id"}
            what = f"a row of {first.table}"
            return Write("rows", "PATCH", first.table, params, first.objects[0], what, patience, (first,))
        batch = [first]
        count, size = len(first.objects), first.size
        for operation in islice(self.queue, 1, BATCH_ROWS):
            count, size = count + len(operation.objects), size + operation.size
            mixed = operation.table != first.table or operation.where is not None
            if mixed or first.alone or operation.alone or count > BATCH_ROWS or size > BATCH_BYTES:
                break
            batch.append(operation)
        body = f"[{','.join(text for operation in batch for text in operation.objects)}]"
        what = "the job" if first.table == "jobs" else f"rows of {first.table}"
        params = {"on_conflict": "id", "select": "id"}
        return Write("rows", "POST", first.table, params, body, what, patience, tuple(batch))

    def _owes_progress(self) -> bool:
        owed = self.changed or self.checkpoints.ripe(self._written) is not None
        return owed and not self._holds and not self._over()

    def _over(self) -> bool:
        """Whether nothing that it could write of the job counts any more."""
        return self.ended_as is not None or self.lost

    def _heartbeat(self, kind: Literal["heartbeat", "end"], patience: float) -> Write:
        body = rows.encode({"job_id": str(self.job_id), "lease_seconds": self._lease, **self._claimed()})
        return Write(kind, "POST", "rpc/job_heartbeat", {}, body, "the job's heartbeat", patience)

    def _progress_write(self, now: float, patience: float) -> Write:
        self.changed, self._told = False, True
        self._progress_due = now + self._interval
        self._number += 1
        # A request that was given up may still arrive: it must not turn back a job that ended, nor newer progress.
        params = {
            **self._row, "status": "in.(running,paused,stalled)", "progress_number": f"lt.{self._number}",
            "select": "id,status,cancel_requested_at",
        }  # fmt: skip
        end = None if self.end is None else self._outcome(self.end)[0]
        body = self._progress(now, end, progress_number=self._number)
        return Write("progress", "PATCH", "jobs", params, body, "the job's progress", patience)

    def _progress(self, now: float, end: rows.JobStatus | None = None, **more: object) -> str:
        """The body of a write that carries progress; ``more`` beats its columns."""
        text = rows.encode({**self.pipeline.columns(), "pipeline": self.pipeline.as_object(now, end), **more})
        self._checkpoint = self.checkpoints.ripe(self._written)
        return text if self._checkpoint is None else f'{text[:-1]},"checkpoint":{self._checkpoint}}}'

    def _outcome(self, end: End) -> tuple[rows.JobStatus, str | None]:
        if end.status == "completed" and self.refusal is not None:
            return "failed", rows.error_text(self.refusal)
        return end.status, end.error_message

    def _end(self, end: End, now: float, patience: float) -> Write:
        status, error_message = self._outcome(end)
        if self.claim is not None:
            told = {"job_id": str(self.job_id), "status": status, "error_message": error_message, **self._claimed()}
            return Write("end", "POST", "rpc/end_job", {}, rows.encode(told), f"the job's end ({status})", patience)
        if self._over():
            return self._heartbeat("end", patience)
        more: dict[str, object] = {"status": status, "error_message": error_message}
        if status == "completed":
            columns = self.pipeline.columns()
            count = columns["progress_current"] if columns["progress_total"] is None else columns["progress_total"]
            more |= {"progress_stage": rows.COMPLETE, "progress_current": count, "progress_total": count}
        body = self._progress(now, status, **more)
        # A claim's numbers begin above all that were given before: what another worker has claimed is not ended.
        params = {**self._row, "progress_number": f"lt.{self._number + 1}"}
        return Write("end", "PATCH", "jobs", params, body, f"the job's end ({status})", patience)

    def _claimed(self) -> dict[str, str]:
        return {} if self.claim is None else {"claim": str(self.claim)}

    # What becomes of them

    def _reached(self, write: Write) -> None:
        if write.kind == self._failing:  # a heartbeat that arrives says nothing about a row that never does
            self._failures, self._failing, self.last_error = 0, None, None

    def _unreachable(self, write: Write, reason: str, retry_after: float | None, now: float) -> None:
        self.last_error, self._failing = reason, write.kind
        self._pause_until = now + max(pause_after(self._failures, self._chance()), retry_after or 0.0)
        self._failures += 1
        # After the pause the others come first: what never succeeds must not hold them up.
        if write.kind == "progress":
            self.changed = True
            self._progress_due = self._pause_until + self._interval
        elif write.kind == "heartbeat":
            self._heartbeat_due = self._pause_until + 1.0

    def _refused(self, write: Write, error: RequestError, now: float) -> None:
        match write.kind:
            case "rows" if len(write.operations) > 1:
                for operation in write.operations:
                    operation.alone = True
            case "rows":
                operation = self._shift()
                if operation.done is not None:
                    operation.done.set_exception(error)
                else:
                    self.refusal = self.refusal or error
                    self.checkpoints.bar(self._written, error)
                if not self.started:
                    self.close(error)
            case "end":
                self.close(error)
            case "heartbeat":
                self._heartbeat_due = now + self._lease / 3
                self.refusal = self.refusal or error
                if error.code == NO_SUCH_JOB:
                    self._heard("deleted", False, now)
            case "progress":
                self._checkpoint_settled()
                self.refusal = self.refusal or error

    def _delivered(self, write: Write, answer: object, now: float) -> None:
        gone = RequestError(f"{write.what} could not be written: its row is gone, or another attempt's", status=0)
        match write.kind:
            case "heartbeat":
                if isinstance(answer, dict):
                    self._heard(answer.get("status"), bool(answer.get("cancel_requested")), now)
                else:
                    self.refusal = self.refusal or gone
                self._heartbeat_due = now + (min(PAUSED_BEAT, self._lease / 3) if self.resumed else self._lease / 3)
            case "rows" if write.method == "PATCH" and answer == []:
                self._refused(write, gone, now)
            case "rows":
                self.started = True
                for _ in write.operations:
                    operation = self._shift()
                    if operation.done is not None:
                        operation.done.set_result(None)
            case "end" if answer == []:
                self.close(gone)
            case "end" if self.end is not None:
                self._checkpoint_settled()
                self.closed = True
                if self.claim is None and self._over() and self.end.status != "stopped":
                    self.refusal = self.refusal or self._too_late(self.end)
                if self.refusal is not None:
                    self.end.done.set_exception(self.refusal)
                else:
                    self.end.done.set_result(None)
            case "progress" if isinstance(answer, list) and answer:
                self._checkpoint_settled()
                if "status" in answer[0]:
                    self._heard(answer[0]["status"], answer[0]["cancel_requested_at"] is not None, now)
            case "progress":  # it is not running any more: the heartbeat tells why
                self._heartbeat_due = now
            case _:
                pass

    def _too_late(self, end: End) -> RequestError:
        why = "it is another attempt's" if self.lost else f"a {self.ended_as} job can't become {end.status}"
        return RequestError(f"the job's end ({end.status}) could not be written: {why}", status=0)

    def _checkpoint_settled(self) -> None:
        if self._checkpoint is not None:
            self.checkpoints.settled(self._checkpoint)

    def _heard(self, status: object, cancel_requested: bool, now: float) -> None:
        """What the job's row says."""
        self.cancel_requested = cancel_requested
        self.lost = status == "lost"
        self.ended_as = str(status) if status in ENDED else None
        while self.lost and self.queue:  # the rows are the next worker's to write
            operation = self._shift()
            if operation.done is not None:
                operation.done.set_exception(lost(self.job_id))
        if self._over():
            self.checkpoints.close(RequestError(f"the job's checkpoint could not be written: the job is {status}"))
        if status != "paused" or cancel_requested:
            self._resume(now)
        elif self.resumed is None:
            self.resumed = promise()
            self.pipeline.pause(now)
            self._heartbeat_due = now + min(PAUSED_BEAT, self._lease / 3)

    def _resume(self, now: float | None) -> None:
        """Whoever waits goes on; with None because the job ends, while it is paused."""
        if self.resumed is not None:
            if now is not None:
                self.pipeline.resume(now)
            self.resumed.set_result(None)
            self.resumed = None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
