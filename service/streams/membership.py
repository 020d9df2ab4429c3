"""Hears what may end a right to listen, on its way from the listener to the hub: changes of members, and of BOMs."""

from collections.abc import Sequence

from service.access.rights import Rights
from service.changes.change import Change, FeedKey
from service.changes.listener import Sink

PROJECT = "project"
MEMBERS = "project_members"
ENRICHMENT = "enrichment"
BOMS = "boms"
PROJECT_COLUMN = "project_id"  # whose members see a BOM; that it is staff's is decided once and for all


class MembershipWatch:
    """A sink before another; see :class:`service.changes.listener.Sink`."""

    def __init__(self, rights: Rights, sink: Sink) -> None:
        self._rights = rights
        self._sink = sink

    def changes(self, key: FeedKey, changes: Sequence[Change]) -> None:
        if key.feed == PROJECT:
            self._members([change for change in changes if change.table == MEMBERS], key.key)
        elif key.feed == ENRICHMENT and any(_moves(change) for change in changes):
            self._rights.bom_changed(key.key)
        self._sink.changes(key, changes)

    def _members(self, changes: Sequence[Change], project_id: str) -> None:
        if not changes:
            return
        known = {str(change.row["user_id"]) for change in changes if change.row is not None}
        self._rights.members_changed(project_id, known)
        # A deletion's image is gone, and with it whose membership it was; so is that before a change of the user.
        if any(change.row is None or "user_id" in change.changed for change in changes):
            self._rights.members_changed(project_id, None)

    def live(self, key: FeedKey, live: bool, reason: str) -> None:
        self._sink.live(key, live, reason)

    def lost(self, key: FeedKey, head: int, reason: str) -> None:
        if key.feed == PROJECT:
            self._rights.members_changed(key.key, None)
        elif key.feed == ENRICHMENT:
            self._rights.bom_changed(key.key)
        self._sink.lost(key, head, reason)


def _moves(change: Change) -> bool:
    return change.table == BOMS and PROJECT_COLUMN in change.changed
