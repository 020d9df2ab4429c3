"""Where a viewer was: a revision of its key, as pages send it back in Last-Event-ID or ``?since=``.

On a stream of several keys it is one of each, joined by dots, in the order in which the page asked for the keys.
"""

from collections.abc import Iterable

LIMIT = 2**53


class BadCursor(ValueError):
    """The message says what a cursor looks like."""


def parse(text: str) -> int:
    """Reads a cursor: decimal digits, below 2^53. Raises :class:`BadCursor`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) < LIMIT):
        raise BadCursor("a cursor is the id of an event received before: a whole number below 2^53")
    return int(text)


def parse_each(text: str, count: int) -> tuple[int, ...]:
    """Reads the cursor of a stream of ``count`` keys. Raises :class:`BadCursor`."""
    parts = text.split(".")
    if len(parts) != count:
        raise BadCursor(
            f"the cursor of a stream of {count} is {count} ids joined by '.', in the order asked; this has {len(parts)}"
        )
    return tuple(map(parse, parts))


def join(revisions: Iterable[int]) -> str:
    """The cursor of a stream of several keys, as :func:`parse_each` reads it."""
    return ".".join(map(str, revisions))
