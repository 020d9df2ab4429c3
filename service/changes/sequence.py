"""Puts the changes of one key in order, and knows when one is missing.

Every change names its predecessor. When that predecessor has been given out, the change is next; else it proves a
hole. What lies behind a hole waits until the missing change arrives, or a catch-up from the database, which is
complete by itself, fills the gap. Nothing is ever given out twice or out of order.
"""

from collections.abc import Iterable

from service.changes.change import Change

WAITING_LIMIT = 1000


class Sequencer:
    """The order of one key. ``last`` is the cursor: all changes up to it have been given out."""

    def __init__(self, last: int) -> None:
        self.last = last
        self._waiting: dict[int, Change] = {}

    @property
    def has_hole(self) -> bool:
        return bool(self._waiting)

    def admit(self, change: Change) -> list[Change]:
        """Takes a change as it comes from upstream; returns those that may go out now, in order."""
        if change.revision <= self.last:
            return []
        # A full waiting room is emptied: the catch-up that the hole calls for brings all of it back.
        if len(self._waiting) >= WAITING_LIMIT:
            self._waiting.clear()
        self._waiting[change.revision] = change
        return self._advance()

    def catch_up(self, changes: Iterable[Change], head: int) -> list[Change]:
        """Takes, in order, all of the key's changes after some cursor not newer than ``last`` and up to ``head``."""
        admitted = [change for change in changes if change.revision > self.last]
        self.last = max(self.last, head)
        return admitted + self._advance()

    def restart(self, head: int) -> None:
        """Begins anew at ``head``: what was before can't be told any more."""
        self.last = head
        self._waiting.clear()

    def _advance(self) -> list[Change]:
        admitted = []
        for revision in sorted(self._waiting):
            change = self._waiting[revision]
            if revision > self.last:
                # Not ==: a key without changes has a cursor, but its first change names 0. And -1 means unknown.
                if not 0 <= change.prev <= self.last:
                    break
                self.last = revision
                admitted.append(change)
            del self._waiting[revision]
        return admitted
