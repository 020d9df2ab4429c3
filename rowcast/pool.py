"""Workers that share a job's items: tasks in async code, threads in plain code. The pipeline tells what each is at.

Both sorts promise the same: at most ``size`` items are under way, an item begins only while the job is neither paused
nor asked to stop (unless the pool's items are but ``parts`` of one: then they count for nothing either), the first one
that fails ends the pool (what is under way is cancelled, where it can be; nothing more begins) and its exception is
raised where the pool is used next, at the latest where its block is left.
"""
# ruff: noqa: SLF001 - a pool is a part of its job

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import PurePath
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload
from uuid import UUID

from rowcast import rows
from rowcast.pipeline import Pool as Workers
from rowcast.pipeline import Stage, Track
from rowcast.report import PLACE, Place, Reporter, Run, total_of

R = TypeVar("R")
T = TypeVar("T")
J = TypeVar("J", bound=Reporter)

_Where = tuple[Stage | Track, bool]
"""What an item is a part of, and whether it counts there."""

MOST = 1_000
LABEL_LIMIT = 120


class AsyncWaiting(Reporter):
    """What an async pool asks of its job."""

    async def _go_on(self) -> None:
        """Waits while the job is paused; raises as ``check``."""
        state = self._state
        while (resumed := state.resumed) is not None:
            await asyncio.wrap_future(resumed)
        if state.told_otherwise():
            self.check()


class BasePool(Generic[J]):
    """What is told of a pool."""

    def __init__(self, job: J, size: int, parts: bool) -> None:
        if not isinstance(size, int) or not 1 <= size <= MOST:
            raise ValueError(f"size must be a whole number from 1 to {MOST}, not {size!r}")
        self._job = job
        self._size = size
        self._parts = parts
        self._failure: BaseException | None = None
        self._workers: Workers | None = None

    def _open(self) -> None:
        with self._job._reporting():
            self._workers = self._job._state.pipeline.add_pool(self._size)

    def _close(self) -> None:
        with self._job._writer.lock:
            if self._workers is not None:
                self._job._state.pipeline.drop_pool(self._workers)

    def _queue(self, n: int) -> None:
        with self._job._reporting():
            self._told.queued = max(0, self._told.queued + n)

    @property
    def _told(self) -> Workers:
        if self._workers is None:
            raise RuntimeError("a pool is used inside its `with` block")
        return self._workers

    def _begin(self, items: object, stage: str | None, total: int | None, done: int) -> tuple[Run | None, int | None]:
        """The run of a map with a stage, and how many items there are, where that is known."""
        run = None if stage is None else Run(self._job, stage, total_of(items, total), done)
        ahead = total_of(items, None)
        if ahead is not None:
            self._queue(ahead)
        return run, ahead

    def _end(self, run: Run | None, ahead: int | None, *, exhausted: bool) -> None:
        """``ahead`` items were not begun, and won't be."""
        with self._job._writer.lock:
            self._told.queued = max(0, self._told.queued - (ahead or 0))
        if run is not None:
            if exhausted:
                run.exhausted()
            run.close()

    def _where(self, run: Run | None) -> _Where:
        """Where an item is, that the caller's code is about to begin."""
        if run is not None:
            return run.place.where, not self._parts
        place = self._job._place()
        if place is None:
            return self._job._state.pipeline.current, not self._parts
        return place.where, False  # in a loop's body: the loop counts

    @contextmanager
    def _working(self, where: _Where, label: str | None) -> Iterator[None]:
        """One item, in its own task or thread."""
        at, counts = where
        stage = at.stage if isinstance(at, Track) else at
        pipeline, lock = self._job._state.pipeline, self._job._writer.lock
        with self._job._reporting():
            worker = next(each for each in self._told.workers if each.status != "processing")
            worker.status, worker.current = "processing", label
            stage.in_flight += 1
        place = Place(self._job, at, worker, PLACE.get())
        PLACE.set(place)
        fine = False
        try:
            yield
            fine = True
        finally:
            place.open = False
            with lock:
                stage.in_flight -= 1
                worker.status, worker.current, worker.track = "idle" if fine else "error", None, None
                if fine and counts:
                    pipeline.advance(at)
                self._job._state.changed = True
                self._job._writer.wake()


class AsyncPool(BasePool[AsyncWaiting]):
    """Workers as tasks, of :meth:`rowcast.AsyncJob.pool`. A plain function runs in a thread of its own."""

    def __init__(self, job: AsyncWaiting, size: int, parts: bool) -> None:
        super().__init__(job, size, parts)
        self._free = asyncio.Semaphore(size)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._threads: ThreadPoolExecutor | None = None

    @overload
    async def submit(
        self, function: Callable[..., Awaitable[R]], *args: Any, label: str | None = None
    ) -> "asyncio.Task[R]": ...
    @overload
    async def submit(self, function: Callable[..., R], *args: Any, label: str | None = None) -> "asyncio.Task[R]": ...
    async def submit(self, function: Callable[..., Any], *args: Any, label: str | None = None) -> "asyncio.Task[Any]":
        """Begins ``function(*args)`` once a worker is free; its task. ``label`` is what pages read (else the first
        argument's name, where it has one). Raises JobCancelled, JobLost, and what failed before."""
        self._queue(1)
        return await self._submit(function, args, label, self._where(None))

    @overload
    def map(
        self, function: Callable[[T], Awaitable[R]], items: Iterable[T] | AsyncIterable[T], stage: str | None = None,
        *, total: int | None = None, done: int = 0, label: Callable[[T], str] | None = None,
    ) -> AsyncIterator[R]: ...  # fmt: skip
    @overload
    def map(
        self, function: Callable[[T], R], items: Iterable[T] | AsyncIterable[T], stage: str | None = None,
        *, total: int | None = None, done: int = 0, label: Callable[[T], str] | None = None,
    ) -> AsyncIterator[R]: ...  # fmt: skip
    async def map(
        self, function: Callable[[T], Any], items: Iterable[T] | AsyncIterable[T], stage: str | None = None,
        *, total: int | None = None, done: int = 0, label: Callable[[T], str] | None = None,
    ) -> AsyncIterator[Any]:  # fmt: skip
        """What ``function`` makes of each item, in their order. ``stage``, ``total`` and ``done`` as of ``track``;
        without a stage the items count in the one under way, and, in the body of a loop that is tracked, for nothing.
        ``label`` says what pages read of an item."""
        run, ahead = self._begin(items, stage, total, done)
        waiting: deque[asyncio.Task[Any]] = deque()
        exhausted = False
        try:
            async for item in each(items):
                if ahead is None:
                    self._queue(1)
                else:
                    ahead -= 1
                named = None if label is None else label(item)
                waiting.append(await self._submit(function, (item,), named, self._where(run)))
                while waiting and (waiting[0].done() or len(waiting) >= 2 * self._size):
                    yield await self._result(waiting.popleft())
            while waiting:
                yield await self._result(waiting.popleft())
            exhausted = True
        finally:
            self._end(run, ahead, exhausted=exhausted)

    async def _submit(
        self, function: Callable[..., Any], args: tuple[Any, ...], label: str | None, where: _Where
    ) -> "asyncio.Task[Any]":
        try:
            await self._free.acquire()
        finally:
            self._queue(-1)
        try:
            if not self._parts:
                await self._job._go_on()
            if self._failure is not None:
                raise self._failure
            work = self._run(function, args, label or _label(args), where)
        except BaseException:
            self._free.release()
            raise
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def _run(self, function: Callable[..., Any], args: tuple[Any, ...], label: str | None, where: _Where) -> Any:
        with self._working(where, label):
            if inspect.iscoroutinefunction(function):
                return await function(*args)
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="rowcast-pool")
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(self._threads, copy_context().run, function, *args)
            return await result if inspect.isawaitable(result) else result

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        self._free.release()
        if not task.cancelled() and (error := task.exception()) is not None and self._failure is None:
            self._failure = error
            for other in self._tasks:
                other.cancel()

    async def _result(self, task: "asyncio.Task[R]") -> R:
        try:
            return await task
        except asyncio.CancelledError:
            if task.cancelled() and self._failure is not None:
                raise self._failure from None
            raise

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            while error is None and self._tasks:  # one that is under way may submit another
                await asyncio.wait(self._tasks)
        finally:
            left = list(self._tasks)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)
            self._close()
        if error is None and self._failure is not None:
            raise self._failure


class Pool(BasePool[Reporter]):
    """Workers as threads, of :meth:`rowcast.Job.pool`."""

    def __init__(self, job: Reporter, size: int, parts: bool) -> None:
        super().__init__(job, size, parts)
        self._free = threading.Semaphore(size)
        self._futures: set[Future[Any]] = set()
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="rowcast-pool")

    def submit(self, function: Callable[..., R], *args: Any, label: str | None = None) -> "Future[R]":
        """As :meth:`rowcast.pool.AsyncPool.submit`; its future."""
        self._queue(1)
        return self._submit(function, args, label, self._where(None))

    def map(
        self, function: Callable[[T], R], items: Iterable[T], stage: str | None = None, *, total: int | None = None,
        done: int = 0, label: Callable[[T], str] | None = None,
    ) -> Iterator[R]:  # fmt: skip
        """As :meth:`rowcast.pool.AsyncPool.map`."""
        run, ahead = self._begin(items, stage, total, done)
        waiting: deque[Future[R]] = deque()
        exhausted = False
        try:
            for item in items:
                if ahead is None:
                    self._queue(1)
                else:
                    ahead -= 1
                named = None if label is None else label(item)
                waiting.append(self._submit(function, (item,), named, self._where(run)))
                while waiting and (waiting[0].done() or len(waiting) >= 2 * self._size):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
            exhausted = True
        finally:
            self._end(run, ahead, exhausted=exhausted)

    def _submit(
        self, function: Callable[..., Any], args: tuple[Any, ...], label: str | None, where: _Where
    ) -> "Future[Any]":
        try:
            self._free.acquire()
        finally:
            self._queue(-1)
        try:
            if not self._parts:
                self._job.wait()
            if self._failure is not None:
                raise self._failure
            run, told = copy_context().run, label or _label(args)
            future = self._threads.submit(run, self._run, function, args, told, where)
        except BaseException:
            self._free.release()
            raise
        self._futures.add(future)
        future.add_done_callback(self._done)
        return future

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...], label: str | None, where: _Where) -> Any:
        with self._working(where, label):
            return function(*args)

    def _done(self, future: "Future[Any]") -> None:
        if (error := future.exception()) is not None and self._failure is None:
            self._failure = error
        self._futures.discard(future)
        self._free.release()

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            while left := list(self._futures):  # one that is under way may submit another
                wait(left)
        finally:
            self._threads.shutdown(wait=False)
            self._close()
        if error is None and self._failure is not None:
            raise self._failure


async def each(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _label(args: tuple[Any, ...]) -> str | None:
    """What to call an item, where it says so itself."""
    item = args[0] if args else None
    named = item if isinstance(item, str | int | UUID) else item.name if isinstance(item, PurePath) else None
    if named is None:
        named = next((each for name in ("name", "title") if isinstance(each := getattr(item, name, None), str)), None)
    return None if named is None else rows.clean(str(named))[:LABEL_LIMIT]
