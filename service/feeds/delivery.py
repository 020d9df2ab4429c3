"""A change on its way to viewers, together with what it means, encoded once for all of them."""

from collections.abc import Sequence
from datetime import datetime

from service.changes.change import Change, merge
from service.events.endings import Ending
from service.events.feed import Feed
from service.events.wire import Encoded, encode

OVERHEAD = 300
"""Bytes a delivery takes beside its messages, about."""


def ending_of(deliveries: Sequence["Delivery"]) -> Ending | None:
    """How streams end after these: what the last of them that tells anything says."""
    return next((delivery.ending for delivery in reversed(deliveries) if delivery.messages), None)


class Delivery:
    """A change and its messages, translated and encoded when first asked for."""

    __slots__ = ("_feed", "_held", "_messages", "_size", "change", "first")

    def __init__(self, change: Change, feed: Feed, size: int | None = None, first: int | None = None) -> None:
        self.change = change
        self.first = change.revision if first is None else first  # the oldest revision that it tells of
        self._feed = feed
        self._messages: tuple[Encoded, ...] | None = None
        self._size = size
        self._held: int | None = None

    @classmethod
    def silent(cls, change: Change, feed: Feed) -> "Delivery":
        """A delivery that tells nothing, for a change that can't be translated."""
        delivery = cls(change, feed)
        delivery._messages = ()
        return delivery

    @property
    def messages(self) -> tuple[Encoded, ...]:
        if self._messages is None:
            self._messages = tuple(encode(message) for message in self._feed.translate(self.change))
        return self._messages

    @property
    def size(self) -> int:
        """Bytes it takes, about. A merged one is not encoded to learn that: it may never be sent as it is."""
        if self._size is None:
            self._size = OVERHEAD + sum(len(message.data) for message in self.messages)
        return self._size

    @property
    def held(self) -> int:
        """Bytes that it keeps in memory, about: its row, too, which may be many times what is told of it."""
        if self._held is None:
            self._held = self.size + _bytes_of(self.change.row)
        return self._held

    @property
    def merges(self) -> bool:
        """False when its row is an event of its own, told even if a newer one follows."""
        return self.change.table not in self._feed.append_only

    @property
    def exact(self) -> bool:
        """Whether its revision is a cursor that pages may come back with."""
        return self._feed.exact

    @property
    def committed_at(self) -> float:
        """When the change was committed, in s since the epoch."""
        return datetime.fromisoformat(self.change.committed_at).timestamp()

    @property
    def ending(self) -> Ending | None:
        """How streams end after it; None when they go on."""
        return self._feed.ending(self.change)

    def merged(self, newer: "Delivery") -> "Delivery":
        return Delivery(merge(self.change, newer.change), self._feed, max(self.size, newer.size), self.first)


def _bytes_of(value: object) -> int:
    """What a value of JSON takes in memory, about."""
    match value:
        case str():
            return 50 + len(value)
        case dict():
            return 100 + sum(60 + len(name) + _bytes_of(one) for name, one in value.items())
        case list():
            return 60 + sum(8 + _bytes_of(one) for one in value)
        case None | bool():
            return 0
        case _:
            return 30
