"""One who waits: to be woken, or for a time to come."""

import asyncio


class Waiter:
    """Waited for by one task at a time; whoever has waited calls :meth:`close` in the end."""

    __slots__ = ("_timer", "_waiter")

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_waiting(self) -> bool:
        return self._waiter is not None

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, until: float) -> None:
        """Returns when woken, at the latest at ``until`` (the event loop's time), sometimes for nothing."""
        loop = asyncio.get_running_loop()
        if self._timer is None or self._timer.when() > until:
            # One that rings too early is cheaper than a new one for every wait: `until` mostly moves on.
            self.close()
            self._timer = loop.call_at(until, self._ring)
        self._waiter = loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _ring(self) -> None:
        self._timer = None
        self.wake()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
