"""Server-Sent Events as bytes (WHATWG HTML, section 9.2): the one place that knows the format."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from service.events.wire import Encoded
from service.feeds.batch import Written
from service.feeds.outbox import Told

WRITE_BYTES = 256 * 1024
"""About so much is joined into one write, whatever waits: a thousand viewers write it at once."""


def message(data: bytes, *, event: str | None = None, id: int | None = None) -> bytes:  # noqa: A002 - the field's name
    """One event. Line breaks in ``data`` make further ``data:`` lines, so they can't start a field of their own."""
    head = b"" if event is None else b"event: %s\n" % event.encode()
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    body = b"".join(b"data: %s\n" % line for line in lines)
    tail = b"\n" if id is None else b"id: %d\n\n" % id
    return head + body + tail


def keepalive(id: int | None = None) -> bytes:  # noqa: A002 - the field's name
    """A comment; with ``id`` also an event without data, which only moves the page's last event id."""
    return b": keepalive\n\n" if id is None else b": keepalive\nid: %d\n\n" % id


def retry(milliseconds: int) -> bytes:
    """How long a page waits before it reconnects."""
    return b"retry: %d\n\n" % milliseconds


@dataclass(frozen=True, eq=False, slots=True)
class EventWriter:
    """How pages want their events: ``named`` or not, and of these ``types`` only, None for all."""

    named: bool
    types: frozenset[str] | None

    def frame(self, encoded: Encoded, id: int | None = None) -> bytes:  # noqa: A002 - the field's name
        return message(encoded.data, event=encoded.type if self.named else None, id=id)

    def write(self, told: Iterable[Told]) -> Written:
        """Frames of what the page wants; only the last message of a delivery carries its id."""
        chunks: list[bytes] = []
        frames: list[bytes] = []
        size = messages = 0
        passed_over = None
        for delivery, id_ in told:
            wanted = [one for one in delivery.messages if self.types is None or one.type in self.types]
            if not wanted:
                passed_over = id_ or passed_over
                continue
            passed_over = None
            messages += len(wanted)
            for one in wanted:
                frames.append(self.frame(one, id_ if one is wanted[-1] else None))
                size += len(frames[-1])
            if size >= WRITE_BYTES:
                chunks.append(b"".join(frames))
                frames.clear()
                size = 0
        if frames:
            chunks.append(b"".join(frames))
        return Written(tuple(chunks), messages, passed_over)


@lru_cache(256)
def event_writer(named: bool, types: frozenset[str] | None) -> EventWriter:
    """The writer of all who want their events so; a writer is known by its identity, which costs nothing to compare."""
    return EventWriter(named, types)
