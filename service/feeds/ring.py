"""A key's recent deliveries, kept so that short absences need no database.

A ring covers the range (``floor``, ``head``]: it holds every delivery in it, unmerged, and so can answer any cursor
from ``floor`` on exactly.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from service.feeds.delivery import Delivery


class Ring:
    """Bounded by ``max_items`` and by ``max_bytes`` of memory; what is oldest goes first and raises the floor."""

    def __init__(self, head: int, max_items: int = 1000, max_bytes: int = 1 << 20) -> None:
        self.floor = head
        self.head = head
        self._items: deque[Delivery] = deque()
        self._bytes = 0
        self._max_items = max_items
        self._max_bytes = max_bytes

    def append(self, delivery: Delivery) -> None:
        """Adds the next delivery, whose revision is above ``head``."""
        self._items.append(delivery)
        self._bytes += delivery.held
        self.head = delivery.change.revision
        while len(self._items) > self._max_items or self._bytes > self._max_bytes:
            oldest = self._items.popleft()
            self._bytes -= oldest.held
            self.floor = oldest.change.revision

    def extend_back(self, cursor: int, older: Sequence[Delivery]) -> None:
        """Takes all deliveries after ``cursor`` up to ``floor``, if there is room for the whole of them."""
        size = sum(delivery.held for delivery in older)
        if (
            cursor < self.floor
            and len(older) + len(self._items) <= self._max_items
            and size + self._bytes <= self._max_bytes
        ):
            self._items.extendleft(reversed(older))
            self._bytes += size
            self.floor = cursor

    def since(self, cursor: int) -> list[Delivery] | None:
        """All deliveries after ``cursor``, in order; None when the ring does not cover that."""
        if not self.floor <= cursor <= self.head:
            return None
        count = 0
        for delivery in reversed(self._items):
            if delivery.change.revision <= cursor:
                break
            count += 1
        return list(islice(self._items, len(self._items) - count, None))

    def restart(self, head: int) -> None:
        """Forgets everything and begins anew at ``head``."""
        self._items.clear()
        self._bytes = 0
        self.floor = self.head = head
