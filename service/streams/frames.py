"""How streams write: Server-Sent Events as bytes (WHATWG HTML, section 9.2), or items for who frames them later.

The one place that knows the formats.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Generic, TypeVar

from service.events.wire import Encoded
from service.feeds.batch import Written
from service.feeds.outbox import Told

WRITE_BYTES = 256 * 1024
"""About so much is joined into one write, whatever waits: a thousand viewers write it at once."""

Chunk = TypeVar("Chunk")

Item = tuple[Encoded | None, int | None]
"""A message and the id that it carries; without a message, a keepalive."""


def message(data: bytes, *, event: str | None = None, id: str | int | None = None) -> bytes:  # noqa: A002 - the field's name
    """One event. Line breaks in ``data`` make further ``data:`` lines, so they can't start a field of their own."""
    head = b"" if event is None else b"event: %s\n" % event.encode()
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    body = b"".join(b"data: %s\n" % line for line in lines)
    tail = b"\n" if id is None else b"id: %s\n\n" % str(id).encode()
    return head + body + tail


def keepalive(id: str | int | None = None) -> bytes:  # noqa: A002 - the field's name
    """A comment; with ``id`` also an event without data, which only moves the page's last event id."""
    return b": keepalive\n\n" if id is None else b": keepalive\nid: %s\n\n" % str(id).encode()


def retry(milliseconds: int) -> bytes:
    """How long a page waits before it reconnects."""
    return b"retry: %d\n\n" % milliseconds


def named_too(data: bytes, members: bytes) -> bytes:
    """A JSON object that is not empty, with further members at its end."""
    return b"%s,%s}" % (data[:-1], members)


class StreamWriter(ABC, Generic[Chunk]):
    """How a stream is told: of its messages these ``types`` only, None for all.

    Known by its identity, which costs nothing to compare: see :func:`event_writer` and :func:`item_writer`.
    """

    __slots__ = ("types",)

    def __init__(self, types: frozenset[str] | None) -> None:
        self.types = types

    @abstractmethod
    def opening(self, retry_milliseconds: int, encoded: Encoded, id: int | None) -> Chunk:  # noqa: A002 - the field's name
        """The first message, and how long the page waits before it reconnects."""

    @abstractmethod
    def frame(self, encoded: Encoded, id: int | None = None) -> Chunk:  # noqa: A002 - the field's name
        """One message."""

    @abstractmethod
    def keepalive(self, id: int | None) -> Chunk:  # noqa: A002 - the field's name
        """No message; with an ``id``, everything up to there is told."""

    @abstractmethod
    def join(self, chunks: Sequence[Chunk]) -> Chunk:
        """Several as one."""

    def write(self, told: Iterable[Told]) -> Written[Chunk]:
        """What the page wants of it; only the last message of a delivery carries its id."""
        chunks: list[Chunk] = []
        frames: list[Chunk] = []
        size = messages = 0
        passed_over = None
        for delivery, id_ in told:
            wanted = [one for one in delivery.messages if self.types is None or one.type in self.types]
            if not wanted:
                passed_over = (id_ if delivery.exact else None) or passed_over
                continue
            passed_over = None
            messages += len(wanted)
            for one in wanted:
                frames.append(self.frame(one, id_ if one is wanted[-1] and delivery.exact else None))
                size += len(one.data)
            if size >= WRITE_BYTES:
                chunks.append(self.join(frames))
                frames.clear()
                size = 0
        if frames:
            chunks.append(self.join(frames))
        return Written(tuple(chunks), messages, passed_over)


class EventWriter(StreamWriter[bytes]):
    """As Server-Sent Events, ``named`` by their type or not."""

    __slots__ = ("named",)

    def __init__(self, named: bool, types: frozenset[str] | None) -> None:
        super().__init__(types)
        self.named = named

    def opening(self, retry_milliseconds: int, encoded: Encoded, id: int | None) -> bytes:  # noqa: A002
        return retry(retry_milliseconds) + self.frame(encoded, id)

    def frame(self, encoded: Encoded, id: int | None = None) -> bytes:  # noqa: A002
        return message(encoded.data, event=encoded.type if self.named else None, id=id)

    def keepalive(self, id: int | None) -> bytes:  # noqa: A002
        return keepalive(id)

    def join(self, chunks: Sequence[bytes]) -> bytes:
        return b"".join(chunks)


class ItemWriter(StreamWriter[tuple[Item, ...]]):
    """As items, for a stream of several keys: see :class:`service.streams.merged.Merged`."""

    __slots__ = ()

    def opening(self, retry_milliseconds: int, encoded: Encoded, id: int | None) -> tuple[Item, ...]:  # noqa: A002, ARG002
        return self.frame(encoded, id)

    def frame(self, encoded: Encoded, id: int | None = None) -> tuple[Item, ...]:  # noqa: A002
        return ((encoded, id),)

    def keepalive(self, id: int | None) -> tuple[Item, ...]:  # noqa: A002
        return ((None, id),)

    def join(self, chunks: Sequence[tuple[Item, ...]]) -> tuple[Item, ...]:
        return tuple(item for chunk in chunks for item in chunk)


@lru_cache(256)
def event_writer(named: bool, types: frozenset[str] | None) -> EventWriter:
    """The writer of all who want their events so."""
    return EventWriter(named, types)


@lru_cache(256)
def item_writer(types: frozenset[str] | None) -> ItemWriter:
    """The writer of all who want these types of several keys."""
    return ItemWriter(types)
