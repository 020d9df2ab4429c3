"""One change of one row, as the database's change log tells it, and how two of them become one.

``merge`` is used by replay and by every viewer's outbox: someone who was away or reads slowly gets the newest state of
a row instead of each step towards it, and still learns everything that the steps would have told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from service.tables import STANDARD, Tables

Op = Literal["I", "U", "D"]
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reader:
    """A signed-in user, as whom rows are read. Its text names it and opens nothing."""

    token: str = field(repr=False)

    def __str__(self) -> str:
        return sha256(self.token.encode()).hexdigest()[:8]


class FeedKey(NamedTuple):
    """A feed and one of its keys (a UUID string): what a channel, a topic and a cursor belong to.

    With a ``reader`` it is the key as that user sees it; None: as the service does, for all who may listen.
    """

    feed: str
    key: str
    reader: Reader | None = None

    def named(self) -> dict[str, object]:
        """What a log line says of it."""
        about: dict[str, object] = {"feed": self.feed, "key": self.key}
        return about if self.reader is None else {**about, "reader": str(self.reader)}


@dataclass(frozen=True, slots=True)
class Change:
    """A row of ``feed_changes``.

    ``prev`` is the key's revision before this one (0 for its first, -1 where the writer could not know it).
    ``row`` is the new image, None for a D. ``changed`` names the columns that an update changed.
    ``replaced`` is set by :func:`merge` alone: the row was deleted and inserted again since the viewer saw it.
    """

    revision: int
    prev: int
    table: str
    row_id: str
    op: Op
    changed: frozenset[str]
    row: Mapping[str, Any] | None
    committed_at: str
    replaced: bool = False

    @property
    def identity(self) -> tuple[str, str]:
        """What row this is about."""
        return self.table, self.row_id


class MalformedChange(ValueError):
    """A record that is no whole row of the change log, as when Realtime left out what was too large."""


def from_record(record: Mapping[str, Any], tables: Tables = STANDARD) -> Change:
    """Reads a record of ``feed_changes``, from Realtime or from ``feed_since`` (which names the table ``table``).

    Table, columns and row come out as ``tables`` has them, whatever they are called in the database.
    Raises :class:`MalformedChange` when a column is missing or has the wrong shape.
    """
    try:
        op = record["op"]
        row = record["row"]
        if op not in ("I", "U", "D") or (row is None) != (op == "D"):
            raise MalformedChange(f"op {op!r} with {'no ' if row is None else 'a '}row")
        name = str(record["table"] if "table" in record else record["table_name"])
        changed = frozenset(record["changed"] or ())
        if (table := tables.there.get(name)) is not None:
            name, changed, row = table.name, table.changed(changed), row and table.row(row)
        return Change(
            revision=int(record["revision"]),
            prev=int(record["prev"]),
            table=name,
            row_id=str(record["row_id"]),
            op=op,
            changed=changed,
            row=row,
            committed_at=str(record["committed_at"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedChange(f"not a row of feed_changes: {error!r}") from error


def merge(older: Change, newer: Change) -> Change:
    """The one change that tells what both told. Both are of the same row, ``older`` has the lower revision."""
    if newer.op == "D" or newer.replaced:
        return newer
    if older.op == "D" or older.replaced:
        return replace(newer, op="I", changed=NOTHING, replaced=True)
    if older.op == "I":  # what has changed since counts: a page may have seen the first of it, and been cut there
        return replace(newer, op="I", changed=older.changed | newer.changed)
    return replace(newer, changed=older.changed | newer.changed)
