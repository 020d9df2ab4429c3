"""What a worker leaves for the next attempt at its job. Pure.

The newest wins, yet none is written before the rows that were queued ahead of it: a checkpoint says that all up to it
is done, and an attempt that believed it would leave those rows out. So at most two are kept: one that waits for its
rows (or is ripe), and the newest behind it, which takes its place once that is written.
"""

import json
from concurrent.futures import Future

from rowcast.rows import storable

LIMIT = 256 * 1024  # bytes, as the database reckons them


class Checkpoints:
    """Encoded values, each after so many rows' operations as were queued when it came."""

    def __init__(self) -> None:
        self._waiting: tuple[int, str] | None = None
        self._newest: tuple[int, str] | None = None
        self._written: Future[None] | None = None
        self.barred = False  # until somebody is told what was refused

    def put(self, value: str, after: int) -> None:
        if self.barred:
            return
        if self._waiting is None:
            self._waiting = (after, value)
        else:
            self._newest = (after, value)

    def ripe(self, written: int) -> str | None:
        """The newest that may be written once ``written`` operations are; it stays until `settled`."""
        if self._newest is not None and self._newest[0] <= written:
            self._waiting, self._newest = self._newest, None
        return self._waiting[1] if self._waiting is not None and self._waiting[0] <= written else None

    def settled(self, value: str) -> None:
        """``value``, which `ripe` gave, is written, or was refused."""
        if self._waiting is not None and self._waiting[1] == value:
            self._waiting, self._newest = self._newest, None
        if self._waiting is None and self._written is not None:
            self._written.set_result(None)
            self._written = None

    def bar(self, after: int, error: BaseException) -> None:
        """The operation that made ``after`` was refused: none is written that says that it is done."""
        self.barred = True
        if self._newest is not None and self._newest[0] >= after:
            self._newest = None
        if self._waiting is not None and self._waiting[0] >= after:
            self.close(error)

    def pending(self) -> bool:
        return self._waiting is not None

    def written(self) -> "Future[None] | None":
        """The future of the newest one's being written; None when it is."""
        if self._waiting is None:
            return None
        if self._written is None:
            self._written = Future()
            self._written.set_running_or_notify_cancel()
        return self._written

    def close(self, error: BaseException) -> None:
        self._waiting = self._newest = None
        if self._written is not None:
            self._written.set_exception(error)
            self._written = None


def encode(value: object) -> str:
    """``value`` as JSON. Raises TypeError when it is none, ValueError for NaN and for more than 256 KiB."""
    try:
        text = json.dumps(storable(value), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"a checkpoint must be what JSON can say: {error}") from error
    if (size := len(text.encode())) > LIMIT:
        raise ValueError(f"a checkpoint may have {LIMIT:,} bytes as JSON, and this one has {size:,}")
    return text
