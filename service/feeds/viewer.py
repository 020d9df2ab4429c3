"""One open stream, as the hub sees it: what waits to be sent, and a way to wake who sends it.

Everything here is synchronous but :meth:`Viewer.wait`. Beside the outbox there is at most one word about the upstream
(the newest), at most one reset, and at most one ending, so a viewer that never reads holds nothing without bound.
"""

import asyncio

from service.events.endings import Ending
from service.events.model import Live, Reset
from service.feeds.delivery import Delivery
from service.feeds.outbox import Outbox, Overflow


class Viewer:
    """Made by :meth:`service.feeds.hub.Topic.attach`; read by one session."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.live: Live | None = None
        self.reset: Reset | None = None
        self.ending: Ending | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, delivery: Delivery) -> None:
        """Adds a delivery, or ends the stream when it has fallen too far behind. Does not wake."""
        if self.ending is not None or self.reset is not None:
            return
        try:
            # Who waits for news keeps up and gets every step; who is still sending gets the newest state.
            self.outbox.put(delivery, merge=self._waiter is None)
        except Overflow:
            self.outbox.clear()
            self.end(Ending.TOO_SLOW)

    def tell_live(self, live: Live) -> None:
        self.live = live
        self.wake()

    def tell_reset(self, reset: Reset) -> None:
        """What waits can't be told any more; until the session has read a snapshot, nothing is put in."""
        self.outbox.restart()
        self.reset = reset
        self.wake()

    def end(self, ending: Ending) -> None:
        """Ends the stream after what waits has been sent. The first ending counts."""
        if self.ending is None:
            self.ending = ending
            self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, until: float) -> None:
        """Returns when woken, or at ``until`` (the event loop's time); at once when there is a word to be said.

        Deliveries in the outbox are no reason to return: the topic wakes its viewers together, once a tick.
        """
        if self.live or self.reset or self.ending:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_at(until, self.wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
