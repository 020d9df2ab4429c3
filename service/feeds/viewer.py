"""One open stream, as the hub sees it: what waits to be sent, and a way to wake who sends it.

Once a tick the topic offers it a batch. Who waits for news and has all before takes the batch, which is shared, and so
gets every step: at once where there is a ``taker``, else when its task has its turn. For who is still being sent to,
the changes go into an outbox of its own, merged.

Everything here is synchronous but waiting, before which the session looks at all of it. Beside a batch and the outbox
there is at most one word about the upstream (the newest), at most one reset, and at most one ending, so a viewer that
never reads holds nothing without bound.
"""

from collections.abc import Callable

from service.events.endings import Ending
from service.events.model import Live, Reset
from service.feeds.batch import Batch
from service.feeds.outbox import Outbox, Overflow
from service.feeds.waiter import Waiter


class Viewer(Waiter):
    """Made by :meth:`service.feeds.hub.Topic.attach`; read by one session."""

    __slots__ = ("batch", "ending", "live", "outbox", "reset", "taker")

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self.outbox = outbox
        self.batch: Batch | None = None  # older than all in the outbox
        self.live: Live | None = None
        self.reset: Reset | None = None
        self.ending: Ending | None = None
        self.taker: Callable[[Batch], bool] | None = None  # tells the page now, if it can

    @property
    def has_news(self) -> bool:
        return self.batch is not None or len(self.outbox) > 0

    @property
    def will_be_told(self) -> bool:
        """Whether anything of its key waits: a reset, or news of which not all is silent."""
        if self.reset is not None:
            return True
        waiting = [*(self.batch.deliveries if self.batch is not None else ()), *self.outbox]
        return any(delivery.messages for delivery in waiting)

    def skip_to(self, revision: int) -> None:
        """Drops what is not newer than ``revision``, because the viewer has learnt it in another way.

        While a reset waits, what was read before it says nothing of the revisions that come after it.
        """
        if self.reset is not None:
            return
        if self.batch is not None and self.batch.upto <= revision:
            self.batch = None
        self.outbox.skip_to(revision)

    def offer(self, batch: Batch) -> int:
        """Gives it what is new to it of a batch, or ends the stream when it has fallen too far behind.

        Returns how many changes were merged into others.
        """
        if self.ending is not None or self.reset is not None:
            return 0
        conflated = 0
        if self.is_waiting and self.batch is None and self.outbox.is_at(batch.after):
            self.outbox.skip_to(batch.upto)
            if self.live is None and self.taker is not None and self.taker(batch):
                return 0
            self.batch = batch
        else:
            conflated = self._fall_behind(batch)
        self.wake()
        return conflated

    def _fall_behind(self, batch: Batch) -> int:
        before = self.outbox.conflated
        try:
            for delivery in batch.deliveries:
                self.outbox.put(delivery)
        except Overflow:
            self.outbox.clear()
            self.end(Ending.TOO_SLOW)
        return self.outbox.conflated - before

    def tell_live(self, live: Live) -> None:
        self.live = live
        self.wake()

    def tell_reset(self, reset: Reset) -> None:
        """What waits can't be told any more; until the session has read a snapshot, nothing is put in."""
        self.batch = None
        self.outbox.restart()
        self.reset = reset
        self.wake()

    def end(self, ending: Ending) -> None:
        """Ends the stream after what waits has been sent. The first ending counts.

        One that denies comes before any other, and what waits is not sent.
        """
        if self.ending is None or (ending.denies and not self.ending.denies):
            self.ending = ending
            if ending.denies:
                self.batch = None
                self.outbox.clear()
            self.wake()
