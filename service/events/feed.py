"""What a feed is: tables that share a key, what a change of theirs means to a page, and how the present is read.

A feed is pure, and the same for every key of it. docs/feeds.md shows how to add one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.changes.change import Change
from service.events.endings import Ending
from service.events.model import Message, WireModel

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""What a snapshot query gives: rows by their table's name."""


@dataclass(frozen=True)
class SnapshotQuery:
    """The database function that reads a key's snapshot, and the name of its argument."""

    function: str
    argument: str


@dataclass(frozen=True)
class Final:
    """What a page that opens a key that has ended is told at last."""

    messages: Sequence[Message]
    ending: Ending


class Connected(Message):
    type: Literal["connected"] = "connected"
    key: str
    revision: int
    resumed: bool
    live: bool


class Feed(ABC):
    """Named as in rowcast.track(). What has a default here few feeds need."""

    name: str
    types: frozenset[str]
    """The types that :meth:`translate` can give, which ``?types=`` may choose from."""
    snapshot_query: SnapshotQuery
    key_name: str = "key"
    """What a message calls its key, where a stream tells of several."""
    tells_key: frozenset[str] = frozenset({"connected"})
    """The types whose messages have a field of that name anyway."""
    append_only: frozenset[str] = frozenset()
    """Tables whose changes never merge: each row is an event of its own."""
    named: bool = False
    """Whether its events carry their type as a name even if the page does not ask for that."""
    exact: bool = True
    """Whether every change is known one by one, with its number. If not, messages have no id: each stream begins with a
    snapshot, and one that comes back with a cursor is reset."""
    opens_with_state: bool = False
    """Whether :meth:`connected` tells the state, and so is given the snapshot's rows."""

    @abstractmethod
    def translate(self, change: Change) -> Sequence[Message]:
        """The messages that a change means, none to several, in order."""

    @abstractmethod
    def snapshot(self, rows: Rows) -> Mapping[str, WireModel | Sequence[WireModel]]:
        """The snapshot's objects and lists, by their name on the wire."""

    def connected(self, key: str, revision: int, *, resumed: bool, live: bool, rows: Rows) -> Message:  # noqa: ARG002
        """A stream's first message."""
        return Connected(key=key, revision=revision, resumed=resumed, live=live)

    def ending(self, change: Change) -> Ending | None:  # noqa: ARG002
        """How streams end after this change; None when they go on."""
        return None

    def final(self, rows: Rows) -> Final | None:  # noqa: ARG002
        """What is told at last where nothing will follow what ``rows`` tell; None when something may."""
        return None
