"""The job of the code that asks, without a handle: what libraries report with.

It goes with the context (contextvars): into tasks, `asyncio.to_thread` and the threads of `job.pool`; not into a thread
that a program starts itself.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rowcast.aio import AsyncJob
from rowcast.job import Job
from rowcast.pipeline import Level
from rowcast.report import CURRENT, Reporter

T = TypeVar("T")


def current_job() -> Job | AsyncJob | None:
    """The job whose block the caller is in; the inner one of several, None outside of any."""
    job = CURRENT.get()
    return job if isinstance(job, Job | AsyncJob) else None


def progress() -> "Progress":
    """What to report with, of whichever job the caller is in; outside of any, nothing that it is told goes anywhere."""
    return Progress(CURRENT.get())


class Progress:
    """As the methods of the same names of a job, but that all are plain calls and loops, in async code too."""

    __slots__ = ("_job",)

    def __init__(self, job: Reporter | None) -> None:
        self._job = job

    def __bool__(self) -> bool:
        """Whether there is a job."""
        return self._job is not None

    @property
    def cancelled(self) -> bool:
        return self._job is not None and self._job.cancelled

    def check(self) -> None:
        if self._job is not None:
            self._job.check()

    def track(
        self, items: Iterable[T], stage: str | None = None, *, total: int | None = None, done: int = 0
    ) -> Iterator[T]:
        """As :meth:`rowcast.Job.track`. In a thread with an event loop it does not wait while the job is paused."""
        if self._job is None:
            return iter(items)
        waits = isinstance(self._job, Job) or not _in_loop()
        go_on = self._job.wait if waits else self._job.check
        return self._job._each(items, stage, total, done, go_on)  # noqa: SLF001 - of the same package

    def stage(self, name: str, total: int | None = None, **more: Any) -> None:
        if self._job is not None:
            self._job.stage(name, total, **more)

    def advance(self, n: int = 1, message: str | None = None) -> None:
        if self._job is not None:
            self._job.advance(n, message)

    def count(self, metric: str, n: float = 1) -> None:
        if self._job is not None:
            self._job.count(metric, n)

    def log(self, message: str, level: Level = "info") -> None:
        if self._job is not None:
            self._job.log(message, level)


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
