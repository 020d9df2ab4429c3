"""Where a viewer was: a revision of its key, as pages send it back in Last-Event-ID or ``?since=``."""

LIMIT = 2**53


class BadCursor(ValueError):
    """The message says what a cursor looks like."""


def parse(text: str) -> int:
    """Reads a cursor: decimal digits, below 2^53. Raises :class:`BadCursor`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) < LIMIT):
        raise BadCursor("a cursor is the id of an event received before: a whole number below 2^53")
    return int(text)
