"""Jobs and sources for async code: the waiting is awaiting the writer thread's futures."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from rowcast import rows
from rowcast.calls import CallState
from rowcast.core import BaseJob, BaseSource, Proposal, note_or_raise, say, wants_out
from rowcast.errors import NotRunningError, RowcastError
from rowcast.pool import AsyncPool, AsyncWaiting, each
from rowcast.report import Run, total_of
from rowcast.state import Operation
from rowcast.writer import STOP_SECONDS, Writer

T = TypeVar("T")


class AsyncJob(AsyncWaiting, BaseJob):
    """One job, as ``async with client.job(...) as job``; otherwise as :class:`rowcast.Job`. A cancelled task ends it
    `stopped`; a CancelledError of something that it waited for, `failed`."""

    async def __aenter__(self) -> Self:
        begun = self._begin()
        try:
            await _within(self._settings.deadline, begun)
        except TimeoutError:
            raise self._give_up(f"within {self._settings.deadline:g} s") from None
        except RowcastError:
            raise
        except BaseException as error:  # cancelled: the row may be there already, and must not stay `running`
            await self.__aexit__(type(error), error, None)
            raise
        self._current()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError) and not is_cancelled():
            await self._await_end(*self._finish(RuntimeError("what it waited for was cancelled")), error)
        else:
            await self._await_end(*self._finish(error), error)

    async def _await_end(self, ended: "Future[None]", seconds: float, error: BaseException | None) -> None:
        if isinstance(error, GeneratorExit):
            return  # the loop is gone, and nothing can be awaited any more: the thread writes the end by itself
        try:
            await _within(seconds, ended)
        except TimeoutError:
            note_or_raise(error, self._give_up(f"within {seconds:g} s"))
        except RowcastError as trouble:
            note_or_raise(error, trouble)
        except BaseException as wish:
            if wants_out(error):  # cancelled once more: whoever does that won't wait
                say(self._give_up("before it was left"))
            else:
                await self._await_end(ended, STOP_SECONDS, wish)
            raise

    def track(
        self,
        items: Iterable[T] | AsyncIterable[T],
        stage: str | None = None,
        *,
        total: int | None = None,
        done: int = 0,
    ) -> AsyncIterator[T]:
        """As :meth:`rowcast.Job.track`, for ``async for``, over plain and async iterables."""
        return _Loop(self, items, stage, total, done)

    def pool(self, size: int, *, parts: bool = False) -> AsyncPool:
        """As :meth:`rowcast.Job.pool`, with tasks, for ``async with``; see :class:`rowcast.pool.AsyncPool`."""
        return AsyncPool(self, size, parts)

    async def call(self, function: str, **arguments: object) -> Any:
        """As :meth:`rowcast.Job.call`."""
        return await answer(self._writer, self._calling(function, arguments))

    async def propose(
        self, title: str, *, confidence: float, body: str | None = None, source_id: UUID | str | None = None
    ) -> UUID:
        """As :meth:`rowcast.Job.propose`."""
        return (await self.propose_many([Proposal(title, confidence, body, source_id)]))[0]

    async def propose_many(self, proposals: Iterable[Proposal]) -> list[UUID]:
        """As :meth:`rowcast.Job.propose_many`."""
        ids: list[UUID] = []
        for operation in self._proposals(proposals, ids):
            await self._do(operation)
        return ids

    async def source(
        self,
        name: str,
        type: str,  # noqa: A002 - the column's name
        *,
        uri: str | None = None,
    ) -> "AsyncSource":
        """As :meth:`rowcast.Job.source`."""
        source_id, operation = self._source(name, type, uri)
        await self._do(operation)
        return AsyncSource(self, source_id, name)

    async def flush(self) -> None:
        """As :meth:`rowcast.Job.flush`."""
        for each_future in self._flushed():
            await _wait(each_future)
        self._raise_refusal()

    async def _do(self, operation: Operation) -> None:
        await _wait(self._put(operation))


class _Loop(AsyncIterator[T]):
    """What `track` gives. No async generator: one that is left by ``break`` is closed some time later, and what is
    tracked next would be nested in it."""

    def __init__(
        self, job: AsyncJob, items: Iterable[T] | AsyncIterable[T], stage: str | None, total: int | None, done: int
    ) -> None:
        self._job = job
        self._items = each(items)
        self._begin = partial(Run, job, stage, total_of(items, total), done)
        self._run: Run | None = None

    async def __anext__(self) -> T:
        if self._run is None:
            self._run = self._begin()
        else:
            self._run.step()
        try:
            item = await anext(self._items)
            await self._job._go_on()  # noqa: SLF001 - its own job
        except StopAsyncIteration:
            self._run.exhausted()
            self._run.close()
            raise
        except BaseException:
            self._run.close()
            raise
        return item

    def __del__(self) -> None:
        if self._run is not None:
            self._run.close()


class AsyncSource(BaseSource):
    """As :class:`rowcast.Source`, with ``async with`` and ``await``."""

    def __init__(self, job: AsyncJob, source_id: UUID, name: str) -> None:
        super().__init__(job, source_id, name)
        self._job = job

    async def processing(self) -> None:
        await self._job._do(self._update("processing"))  # noqa: SLF001 - its own job

    async def completed(self) -> None:
        await self._job._do(self._update("completed"))  # noqa: SLF001

    async def failed(self, message: str) -> None:
        await self._job._do(self._update("failed", message))  # noqa: SLF001

    async def __aenter__(self) -> Self:
        await self.processing()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.completed()
        else:
            await self.failed(rows.error_text(error))


def is_cancelled() -> bool:
    """Whether the current task is asked to end; a CancelledError may come from what it waits for, too."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _wait(future: "Future[None] | None") -> None:
    if future is not None:
        await asyncio.wrap_future(future)


async def _within(seconds: float, future: "Future[None]") -> None:
    async with asyncio.timeout(seconds):
        await asyncio.wrap_future(future)


async def answer(writer: Writer, call: CallState) -> Any:
    """What the database answers; a task that is cancelled meanwhile gives the call up."""
    try:
        return await asyncio.wrap_future(call.answer)
    except asyncio.CancelledError:
        writer.drop(call, NotRunningError("the task that waited for this call was cancelled"))
        raise
