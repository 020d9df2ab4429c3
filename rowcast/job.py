"""Jobs and sources for plain code: the waiting is done by blocking the calling thread."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from rowcast import rows
from rowcast.core import BaseJob, BaseSource, Proposal, note_or_raise, say, wants_out
from rowcast.errors import NotRunningError, RowcastError
from rowcast.pool import Pool
from rowcast.state import Operation
from rowcast.writer import STOP_SECONDS

T = TypeVar("T")


class Job(BaseJob):
    """One job, as ``with client.job(...) as job``.

    Leaving the block writes its end: completed; failed with the exception's message; stopped for Ctrl-C, SystemExit
    and JobCancelled. The exception goes on. Entering and leaving raise RequestError when the database refuses, and
    DeliveryError when it can't be reached by the deadline; added as a note where an exception is under way already.
    """

    def __enter__(self) -> Self:
        begun = self._begin()
        try:
            begun.result(self._settings.deadline)
        except TimeoutError:
            raise self._give_up(f"within {self._settings.deadline:g} s") from None
        except RowcastError:
            raise
        except BaseException as error:  # Ctrl-C: the row may be there already, and must not stay `running`
            self.__exit__(type(error), error, None)
            raise
        self._current()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._await_end(*self._finish(error), error)

    def _await_end(self, ended: "Future[None]", seconds: float, error: BaseException | None) -> None:
        try:
            ended.result(seconds)
        except TimeoutError:
            note_or_raise(error, self._give_up(f"within {seconds:g} s"))
        except RowcastError as trouble:
            note_or_raise(error, trouble)
        except BaseException as wish:
            if wants_out(error):  # a second Ctrl-C: whoever sends it won't wait
                say(self._give_up("before it was left"))
            else:
                self._await_end(ended, STOP_SECONDS, wish)
            raise

    def track(
        self, items: Iterable[T], stage: str | None = None, *, total: int | None = None, done: int = 0
    ) -> Iterator[T]:
        """The ``items``, each counted once its loop body is done: a stage of its own, or, in the body of another track,
        a part of that one's item. ``total`` defaults to their length, where they have one; ``done`` is what an earlier
        attempt did of it. Before the next item it waits while the job is paused, and raises JobCancelled when it was
        asked to stop, JobLost when it is another worker's."""
        return self._each(items, stage, total, done, self.wait)

    def pool(self, size: int, *, parts: bool = False) -> Pool:
        """``size`` threads that share items, for a ``with`` block; see :class:`rowcast.pool.Pool`. Each item that is
        done counts in the stage under way, and none begins while the job is paused; with ``parts`` neither, as the
        items are parts of one, which is counted by hand."""
        return Pool(self, size, parts)

    def call(self, function: str, **arguments: object) -> Any:
        """As the client's ``call``, with the job's id, claim and pipeline as further arguments: for a function of the
        database that writes the job's row itself. Until it has answered, no progress is written beside it."""
        call = self._calling(function, arguments)
        try:
            return call.answer.result()
        except BaseException as error:
            if wants_out(error):  # or it would be sent again, and hold the job's progress back
                self._writer.drop(call, NotRunningError("whoever waited for this call was interrupted"))
            raise

    def propose(
        self, title: str, *, confidence: float, body: str | None = None, source_id: UUID | str | None = None
    ) -> UUID:
        """Proposes a node; returns its id at once, the row is written soon after together with others. Waits only
        while 1,000 rows are unwritten. Raises ValueError for a bad argument, and RequestError when the database has
        refused an earlier row (here, in `flush`, or at the end of the block)."""
        return self.propose_many([Proposal(title, confidence, body, source_id)])[0]

    def propose_many(self, proposals: Iterable[Proposal]) -> list[UUID]:
        """Proposes any number of nodes, 100 to an insert (each insert whole or not at all). As `propose`."""
        ids: list[UUID] = []
        for operation in self._proposals(proposals, ids):
            self._do(operation)
        return ids

    def source(self, name: str, type: str, *, uri: str | None = None) -> "Source":  # noqa: A002 - the column's name
        """A new source, `pending`. Queued like a proposal."""
        source_id, operation = self._source(name, type, uri)
        self._do(operation)
        return Source(self, source_id, name)

    def flush(self) -> None:
        """Waits until every row queued so far, and the checkpoint, is written, however long that takes; raises
        RequestError when one was refused."""
        for each in self._flushed():
            _wait(each)
        self._raise_refusal()

    def _do(self, operation: Operation) -> None:
        _wait(self._put(operation))


class Source(BaseSource):
    """A source of a job. As a ``with`` block: processing, then completed, or failed with the exception's message (which
    goes on)."""

    def __init__(self, job: Job, source_id: UUID, name: str) -> None:
        super().__init__(job, source_id, name)
        self._job = job

    def processing(self) -> None:
        self._job._do(self._update("processing"))  # noqa: SLF001 - its own job

    def completed(self) -> None:
        self._job._do(self._update("completed"))  # noqa: SLF001

    def failed(self, message: str) -> None:
        self._job._do(self._update("failed", message))  # noqa: SLF001

    def __enter__(self) -> Self:
        self.processing()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.completed()
        else:
            self.failed(rows.error_text(error))


def _wait(future: "Future[None] | None") -> None:
    if future is not None:
        future.result()
