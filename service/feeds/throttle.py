"""Says of each of many things what is newest, each at most once in an interval, and never leaves the last unsaid."""

import math
from typing import Generic, TypeVar

Key = TypeVar("Key")
Said = TypeVar("Said")


class Throttle(Generic[Key, Said]):
    """``interval`` and all times are in seconds, of one clock. What is put twice in a row is said once."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._waiting: dict[Key, Said] = {}  # in the order in which they were put first
        self._said: dict[Key, tuple[float, Said]] = {}

    def put(self, key: Key, said: Said) -> None:
        """``said`` is the newest of ``key``, whatever waits."""
        if key in self._said and self._said[key][1] == said:
            self._waiting.pop(key, None)
        else:
            self._waiting[key] = said

    def due_at(self) -> float:
        """When there is something to be taken; infinity when nothing waits."""
        return min(map(self._due_at, self._waiting), default=math.inf)

    def take(self, now: float) -> list[Said]:
        """What is due, each thing's newest."""
        due = [key for key in self._waiting if self._due_at(key) <= now]
        for key in due:
            self._said[key] = now, self._waiting.pop(key)
        return [self._said[key][1] for key in due]

    def end(self, key: Key) -> Said | None:
        """What of a thing is yet to be said, due or not; it is forgotten."""
        self._said.pop(key, None)
        return self._waiting.pop(key, None)

    def _due_at(self, key: Key) -> float:
        return self._said[key][0] + self._interval if key in self._said else -math.inf
