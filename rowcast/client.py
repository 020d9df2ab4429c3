"""The way in: `connect()`, for `with` and for `async with`."""

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar
from uuid import UUID

from rowcast import rows
from rowcast.aio import AsyncJob, answer
from rowcast.bar import Bars
from rowcast.calls import CallState
from rowcast.config import Config, read_config
from rowcast.core import BaseJob, Settings
from rowcast.errors import NotRunningError
from rowcast.job import Job
from rowcast.transport import Rest
from rowcast.writer import Writer

J = TypeVar("J", bound=BaseJob)
# The thread ends at once unless a request hangs; that one has had the job's deadline already.
GOODBYE = 1.0


def connect(
    url: str | None = None, key: str | None = None, *, interval: float = 0.5, lease: int = 60, deadline: float = 30.0,
    bar: bool = False,
) -> "Connection":  # fmt: skip
    """A connection to a Supabase project, for a ``with`` or an ``async with`` block.

    ``url`` and ``key`` default to SUPABASE_URL and SUPABASE_SECRET_KEY (or SUPABASE_SERVICE_ROLE_KEY). ``interval``:
    seconds between two progress writes of a job, at least. ``lease``: seconds for which a job counts as alive after a
    heartbeat. ``deadline``: seconds that entering or leaving a job waits for the database, at most. ``bar``: draws the
    jobs under way on the terminal, with rich.

    Raises ConfigError saying what is missing or wrong. No request is made before the first job.
    """
    return Connection(read_config(url, key, os.environ), Settings(interval, lease, deadline), Bars() if bar else None)


class Connection:
    """What `connect` returns. It is used once."""

    def __init__(self, config: Config, settings: Settings, bars: Bars | None) -> None:
        self._config = config
        self._bars = bars
        self._settings = settings
        self._writer: Writer | None = None

    def _open(self) -> Writer:
        if self._writer is not None:
            raise NotRunningError("a connection is used once; call connect() again")
        self._writer = Writer(partial(Rest, self._config), bars=self._bars)
        self._writer.start()
        return self._writer

    def _close(self) -> Writer:
        if self._writer is None:
            raise NotRunningError("this connection was never entered")
        self._writer.close(NotRunningError("the connection was closed before the job's block was left"))
        return self._writer

    def __enter__(self) -> "Client":
        return Client(self._open(), self._settings)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close().join(GOODBYE)

    async def __aenter__(self) -> "AsyncClient":
        return AsyncClient(self._open(), self._settings)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, GeneratorExit) and self._writer is not None:
            self._writer.retire()  # the loop is gone: the thread ends by itself, once the jobs' ends are written
        else:
            await asyncio.to_thread(self._close().join, GOODBYE)


class BaseClient(Generic[J]):
    """Makes jobs of one sort."""

    _sort: type[J]

    def __init__(self, writer: Writer, settings: Settings) -> None:
        self._writer = writer
        self._settings = settings

    def job(
        self,
        project_id: UUID | str,
        *,
        kind: str,
        title: str,
        source_id: UUID | str | None = None,
        bom_id: UUID | str | None = None,
        payload: Mapping[str, object] | None = None,
    ) -> J:
        """A job of the project, which starts when its ``with`` block is entered. ``kind`` says what sort of work it is
        ("ingestion"), ``title`` what people see; ``payload``, in JSON's types, what a worker of the queue would need to
        try it again. Raises ValueError naming the argument that can't be right."""
        job_id, row = rows.job(project_id, kind, title, source_id, bom_id, payload)
        return self._sort(self._writer, self._settings, job_id, row)

    def _call(self, function: str, arguments: Mapping[str, object]) -> CallState:
        call = CallState(function, arguments, random.random)
        self._writer.add(call)
        return call

    def _claim(self, kinds: Sequence[str], job_id: UUID | None) -> CallState:
        names = [rows.name("kind", kind) for kind in kinds]
        # If an answer is lost, its job waits until the lease has run out, and is then taken over.
        return self._call("claim_job", {"kinds": names, "lease_seconds": self._settings.lease, "job_id": job_id})

    def _claimed(self, answer: Any) -> J | None:
        if answer is None:
            return None
        row, claim = answer["job"], UUID(answer["claim"])
        return self._sort(self._writer, self._settings, UUID(row["id"]), row, claim)


class Client(BaseClient[Job]):
    """Makes jobs for plain code. From any thread."""

    _sort = Job

    def call(self, function: str, **arguments: object) -> Any:
        """What the database's ``function`` (in the schema public) returns. Tried again until it is answered, so it may
        be carried out twice. Raises RequestError when the database refuses."""
        return self._call(function, arguments).answer.result()

    def claim(self, *kinds: str, job_id: UUID | None = None) -> Job | None:
        """The next job of the queue of these kinds, or the one with this id; None when there is none. It is kept by
        heartbeats in its ``with`` block, which must be entered before the lease has run out; ``row["payload"]`` is what
        it is asked to do. Leaving the block ends it; for Ctrl-C and SystemExit it goes back to the queue."""
        return self._claimed(self._claim(kinds, job_id).answer.result())


class AsyncClient(BaseClient[AsyncJob]):
    """Makes jobs for async code, which report from any task or thread."""

    _sort = AsyncJob

    async def call(self, function: str, **arguments: object) -> Any:
        """As :meth:`rowcast.Client.call`."""
        return await answer(self._writer, self._call(function, arguments))

    async def claim(self, *kinds: str, job_id: UUID | None = None) -> AsyncJob | None:
        """As :meth:`rowcast.Client.claim`, for ``async with``; a cancelled task gives its job back to the queue."""
        return self._claimed(await answer(self._writer, self._claim(kinds, job_id)))
