"""What a viewer reads off its socket: an HTTP/1.1 answer whose chunked body is Server-Sent Events. No I/O.

Written for the oracle from the standards (RFC 9112, section 7.1; WHATWG HTML, section 9.2), so that it shares no
mistake with the service or with a library that the service's own tests use. It is strict: what a browser would take in
its stride but the service never sends is malformed here.
"""

from dataclasses import dataclass


class Malformed(Exception):
    """Bytes that no page could make sense of."""


@dataclass(frozen=True, slots=True)
class Event:
    """One block of a stream. ``data`` is empty where it only moves the last event id; ``id`` is None without one."""

    name: str
    data: str
    id: str | None


class Answer:
    """Takes the bytes of one answer as they come. ``status`` is None until its head is whole."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.is_whole = False
        self._raw = bytearray()
        self._left = 0  # bytes of the present chunk that are still to come
        self._body = bytearray()

    def feed(self, data: bytes) -> list[Event]:
        """Returns the events that became whole. Raises :class:`Malformed`."""
        self._raw += data
        if self.status is None and not self._head():
            return []
        if self.status != 200:
            return []  # its body is an error, told by the status
        seen = max(len(self._body) - 1, 0)
        self._unchunk()
        end = self._body.rfind(b"\n\n", seen)
        if end < 0:
            return []
        blocks = bytes(self._body[:end]).split(b"\n\n")
        del self._body[: end + 2]
        return [event for block in blocks if (event := _event(block)) is not None]

    def _head(self) -> bool:
        head, found, rest = bytes(self._raw).partition(b"\r\n\r\n")
        if not found:
            return False
        status, *lines = head.decode().split("\r\n")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.status = int(status.split()[1])
        if self.status == 200 and self.headers.get("transfer-encoding") != "chunked":
            raise Malformed(f"a stream that is not chunked: {head!r}")
        self._raw = bytearray(rest)
        return True

    def _unchunk(self) -> None:
        """Moves what has come of the chunks to the body: a cut may fall anywhere, and what came before it counts."""
        while not self.is_whole:
            part = self._raw[: self._left]
            self._body += part
            del self._raw[: len(part)]
            self._left -= len(part)
            line, found, _ = self._raw.partition(b"\r\n")
            if self._left or not found:
                return
            del self._raw[: len(line) + 2]
            if line:  # an empty one ends the chunk before
                self._left = int(line, 16)
                self.is_whole = self._left == 0


def _event(block: bytes) -> Event | None:
    """None for a block of comments and ``retry`` alone."""
    if b"\r" in block:
        raise Malformed(f"a line break that is none of the service's: {block[:200]!r}")
    name, data, id_ = "message", [], None
    says = False
    for line in block.decode().split("\n"):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "":
                if not line:
                    raise Malformed(f"an empty line in {block[:200]!r}")
            case "event":
                name = value
            case "data":
                data.append(value)
            case "id":
                id_ = value
            case "retry":
                if not value.isdigit():
                    raise Malformed(f"retry: {value}")
            case _:
                raise Malformed(f"no field of a stream: {line[:200]!r}")
        says = says or field in ("data", "id")
    return Event(name, "\n".join(data), id_) if says else None
