"""The thread that writes.

It alone does I/O, so reporting costs the work next to nothing and goes on while the work blocks its event loop. All
state of all jobs of a client is guarded by `lock`, which is never held during I/O. Jobs take turns. Nothing a server
answers ends the thread; a fault of our own does, and is told to everyone who waits or comes later.
"""

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import wait
from typing import Protocol
from weakref import WeakSet

from rowcast.bar import Bars
from rowcast.calls import CallState
from rowcast.errors import RowcastError
from rowcast.state import JobState, Outcome, Unreachable, Write

logger = logging.getLogger("rowcast")


State = JobState | CallState

# Whoever presses Ctrl-C, or stops a service, waits this long for the jobs' ends to be written, in seconds.
STOP_SECONDS = 5.0


class Transport(Protocol):
    def send(self, write: Write) -> Outcome: ...

    def close(self) -> None: ...


class Writer:
    """Writes what its jobs, and calls of functions, have due until `close`. The thread calls ``open_transport``."""

    def __init__(
        self,
        open_transport: Callable[[], Transport],
        clock: Callable[[], float] = time.monotonic,
        bars: Bars | None = None,
    ) -> None:
        self.bars = bars
        self.mutex = threading.RLock()  # re-entrant: a signal handler may report too
        self.lock = threading.Condition(self.mutex)  # the same one; entering it takes twice as long
        self.clock = clock
        self._open_transport = open_transport
        self._jobs: deque[State] = deque()
        self._closing = False
        self._retired = False
        self._fault: RowcastError | None = None
        self._quiet_until = 0.0  # a server that names a time means all of us
        self._lost = False
        # A daemon: an interpreter that ends must not wait for a request that hangs. Leaving a job's block waits.
        self._thread = threading.Thread(target=self._run, name="rowcast-writer", daemon=True)

    def start(self) -> None:
        self._process = os.getpid()
        _started.add(self)
        self._thread.start()

    def add(self, job: State) -> None:
        with self.lock:
            if self._fault is not None:
                raise self._fault
            self._jobs.append(job)
            self.lock.notify()

    def wake(self) -> None:
        """Makes the thread look again; call with `lock` held, after giving a job something to write."""
        self.lock.notify()

    def drop(self, job: State, error: RowcastError) -> None:
        """Gives ``job`` up; a request that is under way may still arrive."""
        with self.lock:
            job.close(error)
            if job in self._jobs:
                self._jobs.remove(job)

    def close(self, error: RowcastError) -> None:
        """Ends the thread. Jobs still open are given up with ``error``."""
        with self.lock:
            self._closing = True
            for job in self._jobs:
                job.close(error)
            self.lock.notify()

    def retire(self) -> None:
        """Ends the thread once its jobs have ended."""
        with self.lock:
            self._retired = True
            self.lock.notify()

    def ask_for_ends(self, deadline: float) -> list[JobState]:
        """The jobs whose end is not written, all of which have been asked to end now."""
        with self.lock:
            # A child that was forked has no such thread.
            running = self._process == os.getpid() and self._thread.is_alive() and not self._closing
            left = [job for job in self._jobs if isinstance(job, JobState)] if running else []
            for job in left:
                if job.end is None:
                    if job.claim is None:
                        job.finish("stopped", "The program ended in the middle of it.", deadline)
                    else:
                        job.finish("queued", None, deadline)
            self.lock.notify()
        return left

    def join(self, seconds: float) -> None:
        """Waits for the thread's end, at most ``seconds``."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            transport = self._open_transport()
            try:
                while (turn := self._next()) is not None:
                    job, write = turn
                    self._settle(job, write, transport.send(write))
            finally:
                transport.close()
        except BaseException as error:  # our own fault: callers must not wait for a thread that is gone
            logger.exception("The writer thread failed")
            fault = RowcastError(f"the writer thread failed: {type(error).__name__}: {error}")
            with self.lock:
                self._fault = fault
                for job in self._jobs:
                    job.close(fault)
                self._jobs.clear()

    def _next(self) -> tuple[State, Write] | None:
        """Waits for the next write that is due; None once closed."""
        with self.lock:
            while not self._closing and not (self._retired and not self._jobs):
                now = self.clock()
                for _ in range(len(self._jobs) if now >= self._quiet_until else 0):
                    job = self._jobs[0]
                    self._jobs.rotate(-1)
                    if (write := job.take(now)) is not None:
                        return job, write
                due = max(min((job.due() for job in self._jobs), default=float("inf")), self._quiet_until)
                self.lock.wait(None if due == float("inf") else max(0.0, due - now))
            return None

    def _settle(self, job: State, write: Write, outcome: Outcome) -> None:
        with self.lock:
            now = self.clock()
            if isinstance(outcome, Unreachable) and outcome.retry_after:
                self._quiet_until = now + outcome.retry_after
            if not job.closed:
                job.settle(write, outcome, now)
            if job.closed and job in self._jobs:
                self._jobs.remove(job)
        self._log(outcome)

    def _log(self, outcome: Outcome) -> None:
        """Once at the start of an outage, once at its end."""
        match outcome:
            case Unreachable(reason) if not self._lost:
                self._lost = True
                logger.warning("Can't write to the database (%s); keeping the newest state and trying on.", reason)
            case Unreachable():
                pass
            case _ if self._lost:
                self._lost = False
                logger.info("Writing to the database again.")


_started: "WeakSet[Writer]" = WeakSet()


@atexit.register
def end_at_exit() -> None:
    """Ends the jobs whose blocks were never left: their event loop was killed, or the interpreter ends around them."""
    left: list[JobState] = []
    for writer in list(_started):
        left += writer.ask_for_ends(writer.clock() + STOP_SECONDS)
    wait([job.end.done for job in left if job.end is not None], STOP_SECONDS)
    for job in left:
        if job.end is not None and not job.end.done.done():
            logger.error("Could not deliver the end of job %s: not written: %s", job.job_id, ", ".join(job.unwritten()))
