"""The HTTP client that all questions to Supabase go out with: so many at once, the others in line.

httpcore (1.0) looks through all that wait for a connection whenever a request begins or ends, and for each of them
through all connections: 1,500 requests that came at once kept the event loop busy for minutes. So none waits in there.
"""

import asyncio
from types import TracebackType
from typing import Any

import httpx

from service.tasks import share

AT_ONCE = 20
"""httpcore looks at every connection when a request begins and when it ends: with 50, a thousand questions took twice
the processor's time that they take with 8. A Supabase 50 ms away answers 400 a second on 20."""
SECONDS = 10.0
"""How long a question may wait in line, and then again for each step of its answer."""
GRACE_SECONDS = 1.0
"""How long the client's end waits for answers that nobody awaits any more."""


class Client(httpx.AsyncClient):
    """``at_once`` requests are under way at most. Answers are read whole: a streamed one would not be counted."""

    def __init__(self, at_once: int = AT_ONCE, seconds: float = SECONDS, **options: Any) -> None:
        limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
        super().__init__(timeout=seconds, limits=limits, **options)
        self._seconds = seconds
        self._places = asyncio.Semaphore(at_once)
        self._under_way: set[asyncio.Task[httpx.Response]] = set()

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Raises httpx.PoolTimeout when the request's turn does not come in time."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._places.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("too many questions are waiting", request=request) from None
        # Whoever asked may leave, the question goes on: httpcore loses connections that it is just closing when it is
        # cancelled, and they stay open until they are collected as garbage.
        question = share(self._ask(request, options))
        self._under_way.add(question)
        question.add_done_callback(self._under_way.discard)
        return await asyncio.shield(question)

    async def _ask(self, request: httpx.Request, options: dict[str, Any]) -> httpx.Response:
        try:
            return await super().send(request, **options)
        finally:
            self._places.release()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """No question outlives the client."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=GRACE_SECONDS)
            for question in late:
                question.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await super().__aexit__(exc_type, exc_value, traceback)
