"""Hears what happens to the members of projects, on its way from the listener to the hub."""

from collections.abc import Sequence

from service.access.rights import Rights
from service.changes.change import Change, FeedKey
from service.changes.listener import Sink

FEED = "project"
TABLE = "project_members"


class MembershipWatch:
    """A sink before another; see :class:`service.changes.listener.Sink`."""

    def __init__(self, rights: Rights, sink: Sink) -> None:
        self._rights = rights
        self._sink = sink

    def changes(self, key: FeedKey, changes: Sequence[Change]) -> None:
        members = [change for change in changes if change.table == TABLE] if key.feed == FEED else []
        if members:
            known = {str(change.row["user_id"]) for change in members if change.row is not None}
            self._rights.members_changed(key.key, known)
            # A deletion's image is gone, and with it whose membership it was; so is that before a change of the user.
            if any(change.row is None or "user_id" in change.changed for change in members):
                self._rights.members_changed(key.key, None)
        self._sink.changes(key, changes)

    def live(self, key: FeedKey, live: bool, reason: str) -> None:
        self._sink.live(key, live, reason)

    def lost(self, key: FeedKey, head: int, reason: str) -> None:
        if key.feed == FEED:
            self._rights.members_changed(key.key, None)
        self._sink.lost(key, head, reason)
