"""What a running job is told, at once and from any thread or task: nothing here waits.

A *place* is where in its job some code runs: the stage, or the nested track, that it works on, and the pool's worker
that it is. It goes with the context (contextvars), so a loop inside a loop finds what is around it, in the tasks and
threads of a pool too.
"""
# ruff: noqa: SLF001 - a run is a part of its job

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from operator import index
from typing import Any, TypeVar

from rowcast import checkpoint, rows
from rowcast.errors import JobCancelled, NotRunningError, lost
from rowcast.pipeline import Level, Stage, Track, Worker
from rowcast.state import JobState
from rowcast.writer import Writer

T = TypeVar("T")

LEVELS = ("debug", "info", "warning", "error")
LOG_LIMIT = 500  # characters of a log line: over it the text is cut


@dataclass(slots=True, eq=False)
class Place:
    """See the module's text; ``outer`` is the place around it."""

    job: "Reporter"
    where: Stage | Track
    worker: Worker | None
    outer: "Place | None"
    open: bool = True


PLACE: ContextVar[Place | None] = ContextVar("rowcast_place", default=None)
CURRENT: "ContextVar[Reporter | None]" = ContextVar("rowcast_job", default=None)


class Reporter:
    """The part of a job that reports; see :class:`rowcast.core.BaseJob`, which makes one."""

    _state: JobState
    _writer: Writer
    _entered: bool
    _told_to_stop: bool = False  # its code was: what ends then is `stopped`, however it goes about it

    # What others have done to it

    @property
    def cancelled(self) -> bool:
        """True once somebody asked for the job to stop: known with the next progress written, or at the latest a third
        of the lease after it was asked. Whoever has seen that leaves the block, and the job ends `stopped`."""
        if self._state.cancel_requested or self._state.ended_as is not None:
            self._told_to_stop = True
        return self._told_to_stop

    @property
    def paused(self) -> bool:
        """True while the job is paused: known as `cancelled` is. `track` and `pool` wait then; other code may."""
        return self._state.resumed is not None

    @property
    def lost(self) -> bool:
        """True once the job is another worker's."""
        return self._state.lost

    def check(self) -> None:
        """Raises JobCancelled when the job was asked to stop, JobLost when it is another worker's; `track` and `pool`
        do so before each item."""
        self._check_running()
        if self._state.lost:
            raise lost(self._state.job_id)
        if self.cancelled:
            how = "asked to stop" if self._state.ended_as is None else f"ended by somebody: {self._state.ended_as}"
            raise JobCancelled(f"Job {self._state.job_id} was {how}")

    def wait(self) -> None:
        """Blocks the thread while the job is paused; raises as `check`. For code in a thread of its own."""
        state = self._state
        while (resumed := state.resumed) is not None:
            resumed.result()
        if state.told_otherwise():
            self.check()

    # How far it is

    def plan(self, stages: Mapping[str, float]) -> None:
        """All the stages there will be, in their order, each with its share of the work ({"reading": 1, "writing": 3}):
        so percent and remaining time are of the whole. Raises ValueError for a weight that is not over 0."""
        weights = {rows.stage_name(name): _number("weight", weight) for name, weight in stages.items()}
        for name, weight in weights.items():
            if weight <= 0:
                raise ValueError(f"weight of stage {name!r} must be over 0, not {weight}")
        with self._reporting():
            self._state.pipeline.plan(weights)

    def stage(
        self, name: str, total: int | None = None, *, done: int = 0, weight: float | None = None,
        message: str | None = None,
    ) -> None:  # fmt: skip
        """Begins the stage ``name`` at ``done`` (what an earlier attempt did of it) of ``total`` (None: unknown).
        ``weight`` is its share of the work beside the other stages', 1 unless told. Raises ValueError for an empty
        name, "complete" (the SDK's own word for success) and a negative number; NotRunningError outside the block."""
        name, total, done = rows.stage_name(name), rows.count("total", total), rows.count("done", done) or 0
        if weight is not None and not _number("weight", weight) > 0:
            raise ValueError(f"weight must be over 0, not {weight}")
        with self._reporting():
            pipeline = self._state.pipeline
            pipeline.begin(name, total, self._writer.clock(), done=done, weight=weight)
            pipeline.message = rows.message(message)

    def advance(self, n: int = 1, message: str | None = None) -> None:
        """Moves the stage on by ``n`` (0 or more) and, if given, changes the message. From any thread or task; costs
        about a third of a microsecond. Raises ValueError for a negative ``n``, TypeError for a fraction,
        NotRunningError outside the block."""
        n = index(n)
        if n < 0:
            raise ValueError(f"n must be 0 or more, not {n}")
        state, writer = self._state, self._writer
        with writer.mutex:
            if state.end is not None or state.closed_by is not None or not self._entered:
                self._check_running()
            pipeline = state.pipeline
            pipeline.current.processed += n
            if message is not None:
                pipeline.message = rows.message(message)
            if not state.changed:
                state.changed = True
                writer.wake()

    def count(self, metric: str, n: float = 1) -> None:
        """Adds ``n`` to the counter ``metric``, of which there may be 100. Raises ValueError for an empty name, one too
        many, and what is no finite number."""
        name, value = rows.name("metric", metric), _number("n", n)
        with self._reporting():
            self._state.pipeline.count(name, value)

    def log(self, message: str, level: Level = "info") -> None:
        """A line for whoever watches the job; the last 20 are kept, each cut to 500 characters."""
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
        text = rows.message(message) or ""
        with self._reporting():
            self._state.pipeline.log(
                level, text if len(text) <= LOG_LIMIT else f"{text[: LOG_LIMIT - 1]}…", time.time()
            )

    def describe(
        self, *, document_id: str | None = None, document_name: str | None = None, total_chunks: int | None = None,
        total_images: int | None = None,
    ) -> None:  # fmt: skip
        """What the job works on, as its pipeline tells it; the id is its source's, the name its title, unless told."""
        told: dict[str, object] = {
            "document_id": rows.text("document_id", document_id),
            "document_name": rows.text("document_name", document_name),
            "total_chunks": rows.count("total_chunks", total_chunks),
            "total_images": rows.count("total_images", total_images),
        }
        with self._reporting():
            self._state.pipeline.facts |= {name: value for name, value in told.items() if value is not None}

    def checkpoint(self, value: object) -> None:
        """Leaves ``value`` (what JSON can say, at most 256 KiB) for the next attempt at this job, which finds it as
        ``checkpointed``. The newest is written, after all rows that were queued before it; `flush` waits for that.
        Raises TypeError and ValueError for what is no JSON, ValueError for what is too large."""
        text = checkpoint.encode(value)
        with self._reporting():
            self._state.checkpoint(text)

    def look(self) -> dict[str, Any]:
        """How far it is now: {"columns", the plain progress columns, "pipeline", that one}."""
        with self._writer.lock:
            pipeline = self._state.pipeline
            return {"columns": pipeline.columns(), "pipeline": pipeline.as_object(self._writer.clock())}

    def _reporting(self) -> "_Reporting":
        return _Reporting(self)

    def _check_running(self) -> None:
        if self._state.closed_by is not None:
            raise self._state.closed_by
        if not self._entered or self._state.end is not None:
            raise NotRunningError("this job is not running: use it inside its `with` block")

    def _place(self) -> Place | None:
        """Where the caller is in this job."""
        place = PLACE.get()
        while place is not None and not (place.open and place.job is self):
            place = place.outer
        return place

    def _each(
        self, items: Iterable[T], stage: str | None, total: int | None, done: int, go_on: Callable[[], None]
    ) -> Iterator[T]:
        """The plain loop; ``go_on`` comes before each item."""
        run = Run(self, stage, total_of(items, total), done)
        try:
            for item in items:
                go_on()
                yield item
                run.step()
            run.exhausted()
        finally:
            run.close()


class _Reporting:
    """Holds the lock of a job that runs, and has its progress written after."""

    __slots__ = ("_job",)

    def __init__(self, job: Reporter) -> None:
        self._job = job

    def __enter__(self) -> None:
        self._job._writer.lock.acquire()
        try:
            self._job._check_running()
        except BaseException:
            self._job._writer.lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._job._state.changed = True
        self._job._writer.wake()
        self._job._writer.lock.release()


class Run:
    """One run through some items: a stage of its own, or nested in the place where it begins."""

    def __init__(
        self, job: Reporter, name: str | None, total: int | None, done: int = 0, *, nests: bool = False
    ) -> None:
        """``nests``: in the stage under way also where no loop is around it."""
        name = None if name is None else rows.stage_name(name)
        total, done = rows.count("total", total), rows.count("done", done) or 0
        self._job = job
        self._top: Stage | None = None
        around = job._place()
        under_way = job._state.pipeline.current
        if around is None and nests and under_way.named and not (under_way.over or under_way.left):
            around = Place(job, under_way, None, None)
        with job._reporting():
            pipeline, now = job._state.pipeline, job._writer.clock()
            where: Stage | Track
            if around is None:
                pipeline.begin(name, total, now, done=done)
                where = self._top = pipeline.current
            else:
                where = pipeline.enter(name, total, around.where, now)
                where.done = done
                if around.worker is not None:
                    around.worker.track = where
        self._worker = None if around is None else around.worker
        self.place = Place(job, where, None, around)
        self._token = PLACE.set(self.place)

    def step(self, n: int = 1) -> None:
        """``n`` items more are done. Every item of every loop comes by here, so it is written out."""
        job, top = self._job, self._top
        state, writer = job._state, job._writer
        with writer.mutex:
            if state.end is not None or state.closed_by is not None:
                job._check_running()
            if top is not None:
                top.processed += n
            else:
                state.pipeline.advance(self.place.where, n)
            if not state.changed:
                state.changed = True
                writer.wake()

    def retotal(self, total: int | None) -> None:
        with self._job._reporting():
            where = self.place.where
            where.total = total if total is None or isinstance(where, Track) else where.base + total

    def say(self, message: str | None) -> None:
        with self._job._reporting():
            self._job._state.pipeline.message = rows.message(message)

    def exhausted(self) -> None:
        """There were no more items, whatever the total said."""
        if self._top is not None:
            with self._job._reporting():
                self._top.over = True

    def close(self) -> None:
        """Twice is once. The job may have ended already."""
        if not self.place.open:
            return
        self.place.open = False
        with suppress(ValueError):  # a generator that was left is finalized in another context
            PLACE.reset(self._token)
        with self._job._writer.lock:
            if isinstance(self.place.where, Track):
                self._job._state.pipeline.leave(self.place.where)
            if self._top is not None:
                self._top.left = True
            if self._worker is not None:
                self._worker.track = None


def total_of(items: object, total: int | None) -> int | None:
    """The total as given, else the length of ``items`` where they have one."""
    if total is not None:
        return rows.count("total", total)
    return len(items) if isinstance(items, Sized) else None


def _number(field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | Real):
        raise TypeError(f"{field} must be a number, not {type(value).__name__}")
    if not isfinite(value):
        raise ValueError(f"{field} must be a finite number, not {value}")
    return value if isinstance(value, int) else float(value)
