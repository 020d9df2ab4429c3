"""The enrichment feed: one BOM while its lines are enriched, batch by batch.

An event's row holds all that is told about it; nothing is reckoned here. A progress row also holds its batch's
components, which are told as messages of their own before it, so that whoever has the last of them has all.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ConfigDict, Field

from service.changes.change import Change
from service.events.endings import Ending
from service.events.feed import Feed, Final, Rows, SnapshotQuery
from service.events.model import Error, Message, Timestamp, WireModel

EVENTS = "enrichment_events"
BOMS = "boms"
COMPONENTS = "bom_line_items"
FINAL = frozenset({"enrichment.completed", "enrichment.failed"})


class SnakeModel(WireModel):
    """An object whose names on the wire are the database's."""

    model_config = ConfigDict(alias_generator=None)


class SnakeMessage(SnakeModel, Message):
    model_config = ConfigDict(alias_generator=None)  # the last base's would hold


class State(SnakeModel):
    """A BOM's state, as rowcast.enrichment_state() in the database reckons it."""

    status: str = "idle"
    total_items: int = 0
    enriched_items: int = 0
    failed_items: int = 0
    not_found_items: int = 0
    pending_items: int = 0
    percent_complete: float = 0.0
    current_stage: str | None = None
    current_batch: int | None = None
    total_batches: int | None = None
    started_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    failed_at: Timestamp | None = None
    error_message: str | None = None
    last_update: Timestamp | None = None


class Component(SnakeModel):
    """A line item and what became of it."""

    line_item_id: str
    mpn: str | None
    manufacturer: str | None
    status: str
    enrichment_data: dict[str, Any] | None
    error_message: str | None
    updated_at: Timestamp


class Connected(SnakeMessage):
    type: Literal["connected"] = "connected"
    bom_id: str
    message: str = "Stream connected"
    state: State


class _About(SnakeMessage):
    """What every event says; ``type``, the SSE event's name, is told as ``event_type``."""

    type: str = Field(exclude=True)
    event_id: str
    event_type: str
    routing_key: str
    bom_id: str
    organization_id: str = Field(validation_alias="tenant_id")
    project_id: str
    user_id: str | None
    source: str
    workflow_id: str | None
    workflow_run_id: str | None
    state: State


class Event(_About):
    payload: dict[str, Any]
    created_at: Timestamp


class ComponentEvent(_About):
    component: Component
    payload: dict[str, Any]
    created_at: Timestamp


class EnrichmentFeed(Feed):
    """The feed ``enrichment``."""

    name = "enrichment"
    snapshot_query = SnapshotQuery("enrichment_snapshot", "bom_id")
    append_only = frozenset({EVENTS})
    named = True
    opens_with_state = True
    types = frozenset({
        "enrichment.started", "enrichment.progress", "enrichment.component.completed", "enrichment.component.failed",
        "enrichment.completed", "enrichment.failed",
    })  # fmt: skip

    def translate(self, change: Change) -> Sequence[Message]:
        if change.table == EVENTS and change.row is not None:
            return events(change.row)
        if change.table == BOMS and change.op == "D":
            return [Error(code="not_found", message="The BOM was deleted.")]
        return []

    def connected(self, key: str, revision: int, *, resumed: bool, live: bool, rows: Rows) -> Connected:  # noqa: ARG002
        return Connected(bom_id=key, state=_state(rows))

    def snapshot(self, rows: Rows) -> Mapping[str, WireModel | Sequence[WireModel]]:
        return {"state": _state(rows), "components": [Component.model_validate(row) for row in rows[COMPONENTS]]}

    def ending(self, change: Change) -> Ending | None:
        if change.table == EVENTS and change.row is not None and change.row["event_type"] in FINAL:
            return Ending(change.row["event_type"], reconnect=False)
        if change.table == BOMS and change.op == "D":
            return Ending("error", reconnect=False)
        return None

    def final(self, rows: Rows) -> Final | None:
        """A BOM has ended when its last event told so: a new run begins with another."""
        last = rows[EVENTS][0] if rows[EVENTS] else None
        if last is None or last["event_type"] not in FINAL:
            return None
        return Final(events(last), Ending(last["event_type"], reconnect=False))


def _state(rows: Rows) -> State:
    """The BOM's state; that of none at all where it has been deleted."""
    return State.model_validate(rows[BOMS][0]) if rows[BOMS] else State()


def events(row: Mapping[str, Any]) -> list[Message]:
    """The messages of a row of ``enrichment_events``: each component's, numbered from 1, then its own."""
    payload = dict(row["payload"])
    components = payload.pop("components", None) or []
    about = {**row, "type": row["event_type"], "state": State.model_validate(row["state"]), "payload": payload}
    messages: list[Message] = []
    for number, component in enumerate(components, start=1):
        outcome = "completed" if component["status"] == "enriched" else "failed"
        messages.append(
            ComponentEvent.model_validate(
                {
                    **about,
                    "type": f"enrichment.component.{outcome}",
                    "event_id": f"{row['event_id']}:{number}",
                    "event_type": f"enrichment.component.{outcome}",
                    "routing_key": f"{row['source']}.enrichment.component.{outcome}",
                    "component": component,
                }
            )
        )
    return [*messages, Event.model_validate(about)]
