"""What happened between two readings of a key's rows, told as changes, for a database that keeps no change log.

Two readings can't tell what was in between: a row that came and went is never seen, several updates of one are one. But
whoever has what the older reading shows and applies the changes has what the newer shows: nothing stays wrong.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.changes.change import NOTHING, Change, Op

Row = Mapping[str, Any]
State = Mapping[str, Mapping[str, Row]]
"""A key's rows as read, by table and id."""


def differ(old: State, new: State, after: int, at: str) -> list[Change]:
    """The changes that make ``new`` of ``old``, numbered from ``after`` on. ``at`` is when ``new`` was read.

    Tables come in the order of ``new``, and the rows of each in the order they have there, what is gone at the end: so
    what refers to an earlier table's row is told after it. Both have the same tables.
    """
    told: list[Change] = []

    def tell(table: str, row_id: str, op: Op, changed: frozenset[str], row: Row | None) -> None:
        prev = after + len(told)
        told.append(Change(prev + 1, prev, table, row_id, op, changed, row, at))

    for table, rows in new.items():
        before = old[table]
        for row_id, row in rows.items():
            was = before.get(row_id)
            if was is None:
                tell(table, row_id, "I", NOTHING, row)
            elif changed := _changed(was, row):
                tell(table, row_id, "U", changed, row)
    for table, row_id in _gone(old, new):
        tell(table, row_id, "D", NOTHING, None)
    return told


def _changed(was: Row, row: Row) -> frozenset[str]:
    if was == row:
        return NOTHING
    return frozenset(name for name in was.keys() | row.keys() if was.get(name) != row.get(name))


def _gone(old: State, new: State) -> Sequence[tuple[str, str]]:
    """Later tables first: what refers to a row goes before it."""
    return [(table, row_id) for table in reversed(list(old)) for row_id in old[table] if row_id not in new[table]]
