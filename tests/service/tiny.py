"""A tiny feed of one table, whose messages tell what a change says: rows that merge, and events that don't."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.changes.change import Change, Op
from service.events.endings import Ending
from service.events.feed import Feed, Final, Rows, SnapshotQuery
from service.events.model import Message, WireModel
from service.feeds.delivery import Delivery

AT = "2026-11-21T12:00:00+00:00"


class Told(Message):
    type: str
    row_id: str
    value: int | None = None
    other: int | None = None


class TinyFeed(Feed):
    name = "tiny"
    snapshot_query = SnapshotQuery("tiny_snapshot", "key")
    append_only = frozenset({"events"})
    types = frozenset({"new", "changed", "gone", "event"})

    def translate(self, change: Change) -> Sequence[Message]:
        if change.table == "events":
            return [Told(type="event", row_id=change.row_id)]
        gone = [Told(type="gone", row_id=change.row_id)] if change.op == "D" or change.replaced else []
        if change.row is None:
            return gone
        kind = "new" if change.op == "I" else "changed"
        told = {name: change.row[name] for name in ("value", "other") if change.op == "I" or name in change.changed}
        return [*gone, Told(type=kind, row_id=change.row_id, **told)]

    def connected(self, key: str, revision: int, *, resumed: bool, live: bool, rows: Rows) -> Message:
        return Told(type="connected", row_id=key, value=revision)

    def snapshot(self, rows: Rows) -> Mapping[str, Sequence[WireModel]]:
        return {"rows": [Told(type="row", row_id=row["id"], value=row["value"]) for row in rows["rows"]]}


class ShopFeed(TinyFeed):
    """Its keys end: with an event of value 0, all is sold. Its pages are told the first row when they come in."""

    named = True
    opens_with_state = True

    def connected(self, key: str, revision: int, *, resumed: bool, live: bool, rows: Rows) -> Message:
        return Told(type="connected", row_id=key, value=rows["rows"][0]["value"])

    def ending(self, change: Change) -> Ending | None:
        sold_out = change.table == "events" and change.row is not None and change.row["value"] == 0
        return Ending("sold_out", reconnect=False) if sold_out else None

    def final(self, rows: Rows) -> Final | None:
        if rows["rows"][0]["value"] != 0:
            return None
        return Final([Told(type="event", row_id="last")], Ending("sold_out", reconnect=False))


def sold_out(revision: int) -> Change:
    return make_change(revision, "I", f"e{revision}", "events", row={"value": 0, "other": None})


def make_change(
    revision: int,
    op: Op = "U",
    row_id: str = "a",
    table: str = "rows",
    prev: int | None = None,
    *,
    row: dict[str, Any] | None = None,
    changed: Iterable[str] = ("value",),
) -> Change:
    """A change of a row of two columns. An update tells only what it changed, as the real feeds do."""
    image = None if op == "D" else {"id": row_id, **(row or {"value": revision, "other": None})}
    before = revision - 1 if prev is None else prev
    return Change(revision, before, table, row_id, op, frozenset(changed if op == "U" else ()), image, AT)


def make_delivery(
    revision: int, op: Op = "U", row_id: str = "a", table: str = "rows", prev: int | None = None
) -> Delivery:
    return Delivery(make_change(revision, op, row_id, table, prev), TinyFeed())


def told(deliveries: Iterable[Delivery]) -> list[str]:
    """What a viewer is told, shortly: `new a=3`."""
    out = []
    for delivery in deliveries:
        for message in delivery.messages:
            body = json.loads(message.data)
            out.append(f"{body['type']} {body['rowId']}" + ("" if body["value"] is None else f"={body['value']}"))
    return out
