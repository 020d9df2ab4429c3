"""Server-Sent Events as bytes (WHATWG HTML, section 9.2): the one place that knows the format."""


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
