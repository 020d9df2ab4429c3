"""Workers over the queue of jobs, any number in any number of processes: what `rowcast worker` runs.

- So many jobs at once, each taken when there is a place for it. An idle pool of any size asks once a second.
- A job that fails fails alone: its row says why, ``on_end`` hears it, the pool goes on.
- Cancelled, the pool takes no more jobs. Those under way have ``grace`` seconds to end; what has not ended then goes
  back to the queue, for another worker; cancelled once more, at once.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Literal

import rowcast
from rowcast.aio import is_cancelled
from rowcast.rows import error_text

POLL_SECONDS = 1.0
"""How long an idle pool waits before it looks for work again, about."""
GRACE_SECONDS = 20.0
"""Less than service managers wait before they kill (Kubernetes 30 s), with time left to give jobs back."""

Handler = Callable[[rowcast.AsyncClient, rowcast.AsyncJob], Awaitable[object]]
"""Does a claimed job, within the job's own block, which it enters."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a job that was taken, as far as this worker knows: it may have been paused or stopped meanwhile.

    ``error`` says why it failed, or could not be given back or ended as it should.
    """

    job: rowcast.AsyncJob
    outcome: Literal["done", "failed", "cancelled", "lost", "given back"]
    error: str | None = None


async def serve(
    handlers: Mapping[str, Handler],
    concurrency: int = 1,
    *,
    client: rowcast.AsyncClient | None = None,
    grace: float = GRACE_SECONDS,
    on_start: Callable[[], None] = lambda: None,
    on_end: Callable[[Ended], None] = lambda _: None,
) -> None:
    """Works on jobs of the kinds that have a handler, until cancelled.

    ``grace`` is in seconds. Without ``client``, :func:`rowcast.connect` makes one from the environment. Raises
    ConfigError, RequestError when the database refuses to give out jobs, and what ``on_end`` raises.
    """
    async with AsyncExitStack() as stack:
        if client is None:
            client = await stack.enter_async_context(rowcast.connect())
        on_start()
        pool = _Pool(client, handlers, on_end)
        workers = [asyncio.create_task(pool.work()) for _ in range(concurrency)]
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        except asyncio.CancelledError:
            pool.stopping.set()
            await asyncio.wait(workers, timeout=grace)
            raise
        finally:
            for worker in workers:
                worker.cancel()
            ends = await asyncio.gather(*workers, return_exceptions=True)
    for error in ends:
        if isinstance(error, Exception):
            raise error


class _Pool:
    def __init__(
        self, client: rowcast.AsyncClient, handlers: Mapping[str, Handler], on_end: Callable[[Ended], None]
    ) -> None:
        self.stopping = asyncio.Event()
        self._client = client
        self._handlers = handlers
        self._on_end = on_end
        self._turn = asyncio.Lock()

    async def work(self) -> None:
        while (job := await self._next()) is not None:
            await self._do(job)

    async def _next(self) -> rowcast.AsyncJob | None:
        """The next job; None once the pool stops. One worker asks and waits, the others wait for it."""
        async with self._turn:
            while not self.stopping.is_set():
                job = await self._client.claim(*self._handlers)
                if job is not None and self.stopping.is_set():
                    await self._client.call("end_job", job_id=job.id, claim=job.claim, status="queued")
                    return None
                if job is not None:
                    return job
                # spread, so that pools don't ask in step
                pause = POLL_SECONDS * (0.75 + random.random() / 2)  # noqa: S311
                try:
                    async with asyncio.timeout(pause):
                        await self.stopping.wait()
                except TimeoutError:
                    continue
        return None

    async def _do(self, job: rowcast.AsyncJob) -> None:
        try:
            await self._handlers[str(job.row["kind"])](self._client, job)
        except asyncio.CancelledError:
            if is_cancelled():
                self._on_end(Ended(job, "given back"))
                raise
            self._on_end(Ended(job, "failed", "what it waited for was cancelled"))
        except rowcast.JobCancelled:
            self._on_end(Ended(job, "cancelled"))
        except rowcast.JobLost:
            self._on_end(Ended(job, "lost"))
        except Exception as error:  # noqa: BLE001 - whatever a job trips over, the next one may be well
            self._on_end(Ended(job, "failed", error_text(error)))
        else:
            self._on_end(Ended(job, "done"))
