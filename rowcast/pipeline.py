"""A job's progress as one object: stages, worker pool, metrics, timing, log. Pure: time comes in as arguments.

What `Pipeline.as_object` gives is the column ``jobs.pipeline``, and the one place where percent and remaining time are
reckoned. The contract, which tests/rowcast/test_pipeline.py holds it to:

- ``overall_progress_percent`` is the stages' share done, weighted: 0 to 100, and never less than it was told before
  (nor than ``before`` says, what another worker told of the same attempt: its counters and log lines stay, too). It is
  100 once the job is completed, or every planned stage is; without a plan nobody knows what follows, so it stays at or
  below 99 till then.
- A stage's ``position`` says which comes after which: the database's jsonb puts keys in an order of its own.
- A stage's ``progress_percent`` never goes back either. A stage whose total is unknown is at 0 till it is over.
- A stage that is begun again goes on counting. One that was left for the next one is over, whatever it had counted.
- ``estimated_remaining_ms`` is null until it can be known: a second and a hundredth of the work, or ten seconds and
  anything done; and while the stage under way has no total. It is the pace so far (of the stage under way for what is
  left of it, the more of it is done the more so; of all so far for the rest), so a halt makes it grow slowly, never at
  once. Work that an earlier attempt did (``done``) tells nothing about pace, nor does time spent paused. Over 30 days
  is not known.
- A nested track counts as part of the item under way in the stage around it. Its own entry names that stage as
  ``parent``, has no weight, and the parent's percent: how many there will be in all is unknown till that is over.
- It is bounded: the last 20 log lines, 100 stages (the oldest that are over leave, and still count), 100 metrics,
  64 workers.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

End = Literal["completed", "failed", "stopped", "queued"]
Level = Literal["debug", "info", "warning", "error"]

LOG_LINES, MOST_STAGES, MOST_METRICS, MOST_WORKERS = 20, 100, 100, 64
UNNAMED = "work"  # what is counted before any stage is begun
UNPLANNED_CEILING = 99.0
LONGEST_ESTIMATE = 30 * 86_400.0
METRICS = ("entities_total", "relations_total", "neo4j_writes", "qdrant_writes")  # that pages know by name


@dataclass(slots=True, eq=False)
class Track:
    """One run through the items of a nested stage: a part of the item under way around it."""

    stage: "Stage"
    around: "Stage | Track"
    total: int | None
    done: int = 0
    open: bool = True
    inner: "list[Track]" = field(default_factory=list)

    def fraction(self) -> float:
        return _fraction(self.done, self.total, self.inner)


@dataclass(slots=True, eq=False)
class Stage:
    """``processed`` counts over all its runs; the one under way began at ``base``. Times are seconds of work."""

    name: str
    named: bool = True
    weight: float | None = 1.0  # None: nested
    total: int | None = None
    processed: int = 0
    base: int = 0
    done: int = 0  # of processed: before this attempt
    in_flight: int = 0
    began: float | None = None  # the run under way
    spent: float = 0.0  # in the runs before
    over: bool = False
    left: bool = False  # its loop was; so it is the next stage that ends it
    best: float = 0.0  # the largest fraction told
    parent: "Stage | None" = None
    inner: list[Track] = field(default_factory=list)
    open: int = 0  # tracks of a nested one

    def fraction(self) -> float:
        return 1.0 if self.over else _fraction(self.processed, self.total, self.inner)

    def credited(self) -> float:
        """The fraction that earlier attempts did."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def duration(self, at: float) -> float:
        return self.spent + (at - self.began if self.began is not None else 0.0)

    def is_complete(self) -> bool:
        full = self.total is not None and self.processed >= self.total and not self.in_flight
        return self.over or (self.began is not None and full)

    def leave(self, at: float) -> None:
        self.spent, self.began, self.over = self.duration(at), None, True


@dataclass(slots=True, eq=False)
class Worker:
    """One of a pool's workers. ``current`` says what it is at, as people read it."""

    id: int
    status: Literal["idle", "processing", "error"] = "idle"
    current: str | None = None
    track: Track | None = None  # the nested one that it is at

    def as_object(self) -> dict[str, object]:
        percent = 0.0 if self.track is None else _percent(self.track.fraction())
        return {"id": self.id, "status": self.status, "current_chunk": self.current, "progress_percent": percent}


@dataclass(slots=True, eq=False)
class Pool:
    workers: list[Worker]
    queued: int = 0


class Pipeline:
    """See the module's contract. ``now`` is in seconds of a clock that only goes on; not thread-safe."""

    def __init__(
        self, *, name: str | None = None, document_id: str | None = None, before: Mapping[str, Any] | None = None
    ) -> None:
        self.message: str | None = None
        self.current = Stage(UNNAMED, named=False)
        self.facts: dict[str, object] = {
            "document_id": document_id, "document_name": name, "total_chunks": None, "total_images": None,
        }  # fmt: skip
        self.metrics: dict[str, float] = dict.fromkeys(METRICS, 0)
        self._stages: dict[str, Stage] = {}
        self._forgotten = 0.0  # the weight of stages that are over and no longer told
        self._planned = False
        self._best = 0.0
        self._pools: list[Pool] = []
        self._last_pool: Pool | None = None
        self._log: deque[dict[str, str]] = deque(maxlen=LOG_LINES)
        self._began = 0.0
        self._started_at = 0.0
        self._first: float | None = None  # when the first stage began, in seconds of work
        self._paused = 0.0  # seconds of it so far
        self._paused_since: float | None = None
        if before is not None:
            self._best = min(max(_numbers(before).get("overall_progress_percent", 0.0), 0.0), 100.0)
            self.metrics |= _numbers(before.get("metrics"))
            if isinstance(lines := before.get("log"), list):
                self._log.extend(line for line in lines if isinstance(line, dict))

    # What happens

    def start(self, now: float, wall: float) -> None:
        """The attempt begins; ``wall`` is in seconds since the epoch."""
        self._began, self._started_at = now, wall

    def plan(self, weights: Mapping[str, float]) -> None:
        """All the stages there will be, in their order, with the share of the work that each is."""
        self._planned = True
        for name, weight in weights.items():
            self._stage(name).weight = weight

    def begin(
        self, name: str | None, total: int | None, now: float, *, done: int = 0, weight: float | None = None
    ) -> None:
        """Begins a stage (None: what is under way, anew), and ends the one before it."""
        at = self._work(now)
        self._first = at if self._first is None else self._first
        stage = self.current if name is None else self._stage(name)
        if stage is not self.current:
            for left in (self.current, *(each for each in self._stages.values() if each.parent is self.current)):
                left.leave(at)
        stage.weight = weight or stage.weight or 1.0
        stage.spent, stage.began, stage.over, stage.left, stage.parent = stage.duration(at), at, False, False, None
        stage.base = stage.processed
        stage.processed += done
        stage.done += done
        stage.total = None if total is None else stage.base + total
        self._stages[stage.name] = stage
        self.current, self.message = stage, None
        self._forget()

    def enter(self, name: str | None, total: int | None, around: Stage | Track, now: float) -> Track:
        """Begins a nested track; `leave` must follow."""
        top = around
        while isinstance(top, Track):
            top = top.around
        stage = self._stage(name or f"{top.name} items")
        stage.open += 1
        if stage.parent is not None or not (stage.over or stage.began is not None):
            began = self._work(now) if stage.began is None else stage.began
            stage.parent, stage.weight, stage.began, stage.over = top, None, began, False
            self._forget()
        track = Track(stage, around, total)
        around.inner.append(track)
        return track

    def advance(self, where: Stage | Track, n: int = 1) -> None:
        if isinstance(where, Stage):
            where.processed += n
        else:
            where.done += n
            if where.stage.parent is not None:
                where.stage.processed += n

    def leave(self, track: Track) -> None:
        track.stage.open -= track.open
        track.open = False
        if track in track.around.inner:
            track.around.inner.remove(track)

    def add_pool(self, size: int) -> Pool:
        pool = Pool([Worker(number + 1) for number in range(size)])
        self._pools.append(pool)
        return pool

    def drop_pool(self, pool: Pool) -> None:
        """Its workers stay to be seen until there is another pool."""
        pool.queued = 0
        self._pools.remove(pool)
        self._last_pool = pool

    def count(self, metric: str, value: float) -> None:
        """Raises ValueError when there are too many metrics."""
        if metric not in self.metrics and len(self.metrics) >= MOST_METRICS:
            raise ValueError(f"metric {metric!r}: there are {MOST_METRICS} already, which is the most")
        self.metrics[metric] = self.metrics.get(metric, 0) + value

    def log(self, level: Level, message: str, wall: float) -> None:
        time = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._log.append({"time": time, "level": level, "message": message})

    def pause(self, now: float) -> None:
        self._paused_since = now if self._paused_since is None else self._paused_since

    def resume(self, now: float) -> None:
        self._paused += 0.0 if self._paused_since is None else max(0.0, now - self._paused_since)
        self._paused_since = None

    # What it comes to

    def columns(self) -> dict[str, object]:
        """The plain progress columns: the stage under way."""
        stage = self.current
        # A total that is less than what was counted was a guess, and too low.
        total = None if stage.total is None else max(stage.total, stage.processed) - stage.base
        return {
            "progress_stage": stage.name if stage.named else None,
            "progress_current": stage.processed - stage.base,
            "progress_total": total,
            "progress_message": self.message,
        }

    def as_object(self, now: float, end: End | None = None) -> dict[str, Any]:
        """The column ``jobs.pipeline``; with ``end`` as the job ends."""
        at = self._work(now)
        if self.current.processed and self.current.name not in self._stages:  # advanced without a stage
            self._stages[self.current.name] = self.current
        if end == "completed":
            self._best = 100.0
        else:
            ceiling = 100.0 if self._planned else UNPLANNED_CEILING
            self._best = max(self._best, min(_percent(self._done()), ceiling))
        remaining = 0.0 if end == "completed" else None if end is not None else self._remaining(at)
        return {
            **self.facts,
            "stages": {
                stage.name: {**self._stage_object(stage, at, end), "position": position}
                for position, stage in enumerate(self._stages.values())
            },
            "worker_pool": self._pool_object(),
            "metrics": dict(self.metrics),
            "timing": {
                "started_at": round(self._started_at, 3),
                "elapsed_ms": round(max(0.0, now - self._began) * 1000),
                "estimated_remaining_ms": None if remaining is None else round(remaining * 1000),
            },
            "overall_progress_percent": self._best,
            "log": list(self._log),
        }

    def _stage_object(self, stage: Stage, at: float, end: End | None) -> dict[str, object]:
        around = stage.parent
        over = around.over if around is not None else stage.is_complete()
        begun = stage.began is not None or stage.over
        over = over or (end == "completed" and begun)
        stage.best = max(stage.best, 1.0 if over else (around or stage).fraction())
        status = "completed" if over else "in_progress" if begun else "pending"
        if status == "in_progress" and end in ("failed", "stopped"):
            status = "error"
        total = None if stage.total is None else max(stage.total, stage.processed)
        told: dict[str, object] = {
            "name": stage.name,
            "status": status,
            "processed": stage.processed,
            "total": stage.processed if over and total is None else total,
            "in_flight": stage.in_flight or sum(each.stage is stage for each in _inner(around or stage)),
            "progress_percent": _percent(stage.best),
            "duration_ms": round(max(0.0, stage.duration(at)) * 1000),
            "is_complete": over,
        }
        return told | ({"weight": stage.weight} if around is None else {"parent": around.name})

    def _pool_object(self) -> dict[str, object]:
        pools = self._pools or ([self._last_pool] if self._last_pool else [])
        workers = [worker for pool in pools for worker in pool.workers]
        return {
            "active": sum(worker.status == "processing" for worker in workers),
            "max": len(workers),
            "queue_depth": sum(pool.queued for pool in pools),
            "workers": [worker.as_object() for worker in workers[:MOST_WORKERS]],
        }

    # Reckoning

    def _work(self, now: float) -> float:
        """``now`` without the time spent paused."""
        return (now if self._paused_since is None else min(now, self._paused_since)) - self._paused

    def _stage(self, name: str) -> Stage:
        stage = self._stages.get(name)
        if stage is None:
            stage = self._stages[name] = Stage(name)
        return stage

    def _forget(self) -> None:
        over = [stage for stage in self._stages.values() if stage.over or (stage.parent is not None and not stage.open)]
        for stage in over[: max(0, len(self._stages) - MOST_STAGES)]:
            self._forgotten += stage.weight or 0.0
            del self._stages[stage.name]

    def _weighed(self) -> list[tuple[Stage, float]]:
        return [(stage, stage.weight) for stage in self._stages.values() if stage.weight is not None]

    def _done(self) -> float:
        """The fraction of all the work known of."""
        weighed = self._weighed()
        whole = self._forgotten + sum(weight for _, weight in weighed)
        done = self._forgotten + sum(weight * stage.fraction() for stage, weight in weighed)
        return done / whole if whole else 0.0

    def _remaining(self, at: float) -> float | None:
        """Seconds of work left, as the contract says; None when that can't be known."""
        stage = self.current
        if self._first is None or (stage.total is None and not stage.over):
            return None
        if self._planned and self._done() >= 1.0:
            return 0.0
        weighed = self._weighed()
        whole = self._forgotten + sum(weight for _, weight in weighed)
        earned = self._forgotten + sum(weight * max(0.0, each.fraction() - each.credited()) for each, weight in weighed)
        elapsed = at - self._first
        if not ((elapsed >= 1.0 and earned >= 0.01 * whole) or (elapsed >= 10.0 and earned > 0.0)):
            return None
        pace = elapsed / earned
        left = pace * sum(weight * (1.0 - each.fraction()) for each, weight in weighed if each is not stage)
        fraction, credited = stage.fraction(), stage.credited()
        if fraction < 1.0:
            share = max(0.0, fraction - credited) / (1.0 - credited)
            left += (1.0 - share) * pace * (stage.weight or 1.0) * (1.0 - fraction)
            left += stage.duration(at) * (1.0 - fraction) / (1.0 - credited)
        return left if left <= LONGEST_ESTIMATE else None


def _numbers(told: object) -> dict[str, float]:
    """The numbers of a JSON object that anybody may have written."""
    fields = told.items() if isinstance(told, Mapping) else ()
    return {name: value for name, value in fields if isinstance(value, int | float)}


def _fraction(done: int, total: int | None, inner: list[Track]) -> float:
    if total is None:
        return 0.0
    if done >= total:
        return 1.0
    return min(1.0, (done + sum(track.fraction() for track in inner)) / total)


def _inner(around: Stage | Track) -> list[Track]:
    return [each for track in around.inner for each in (track, *_inner(track))]


def _percent(fraction: float) -> float:
    return round(100.0 * min(max(fraction, 0.0), 1.0), 1)
