"""The enrichment feed: one BOM while its lines are enriched, batch by batch.

An event's row holds all that is told about it; nothing is reckoned here. A progress row also holds its batch's
components, which are told as messages of their own before it, so that whoever has the last of them has all.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, RootModel, WithJsonSchema

from service.changes.change import Change
from service.events.endings import Ending
from service.events.feed import Feed, Final, Rows, SnapshotQuery
from service.events.model import (
    Count,
    Id,
    Live,
    Message,
    Reauth,
    Reset,
    SnakeMessage,
    SnakeModel,
    SnapshotHead,
    StreamEnd,
    StreamError,
    Timestamp,
    WireModel,
    one_of,
)

EVENTS = "enrichment_events"
BOMS = "boms"
COMPONENTS = "bom_line_items"
FINAL = frozenset({"enrichment.completed", "enrichment.failed"})


BomStatus = Annotated[str, one_of("idle", "connecting", "enriching", "completed", "failed", "paused", "stopped")]
"""``connecting`` is told by no database: it is what pages call the time before they are connected."""
ItemStatus = Annotated[str, one_of("pending", "enriching", "enriched", "failed", "not_found")]
BomSource = Annotated[str, one_of("customer", "staff")]
EventType = Annotated[
    str, one_of("enrichment.started", "enrichment.progress", "enrichment.completed", "enrichment.failed")
]
ComponentEventType = Annotated[str, one_of("enrichment.component.completed", "enrichment.component.failed")]

_TEXT = {"anyOf": [{"type": "string"}, {"type": "null"}]}
EnrichmentData = Annotated[
    dict[str, Any],
    WithJsonSchema({
        "type": "object",
        "properties": {
            "supplier": _TEXT,
            "price": {"description": "As the catalogue tells it."},
            "stock": {"description": "As the catalogue tells it."},
            "datasheet_url": {**_TEXT, "description": "From data: a link only when it is http or https."},
            "lifecycle_status": _TEXT,
            "category": _TEXT,
            "description": _TEXT,
        },
    }),
]  # fmt: skip
Payload = Annotated[
    dict[str, Any],
    WithJsonSchema({
        "type": "object",
        "properties": {
            "batch": {
                "type": "object",
                "description": "Of `enrichment.progress`.",
                "properties": {
                    "batch_number": {"type": "integer", "minimum": 0},
                    "batch_size": {"type": "integer", "minimum": 0},
                    "completed": {"type": "integer", "minimum": 0},
                },
                "required": ["batch_number", "batch_size", "completed"],
            },
            "error": {**_TEXT, "description": "Of `enrichment.failed`."},
        },
    }),
]  # fmt: skip


class EnrichmentState(SnakeModel):
    """A bill of materials' state, as the database reckons it."""

    status: BomStatus = "idle"
    total_items: Count = 0
    enriched_items: Count = 0
    failed_items: Count = 0
    not_found_items: Count = 0
    pending_items: Count = 0
    percent_complete: float = Field(
        default=0.0,
        description="Of `total_items`, those that have an outcome of any kind; with one decimal.",
        json_schema_extra={"minimum": 0, "maximum": 100},
    )
    current_stage: str | None = Field(default=None, description="`queued`, `enriching`, `complete`.")
    current_batch: Count | None = Field(default=None, description="How many batches are done.")
    total_batches: Count | None = Field(default=None, description="How many there will be, as far as is known now.")
    started_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    failed_at: Timestamp | None = None
    error_message: str | None = None
    last_update: Timestamp | None = None


class Component(SnakeModel):
    """A line item and what became of it."""

    line_item_id: Id
    mpn: str | None = Field(description="The manufacturer's part number; null where the line has none.")
    manufacturer: str | None
    status: ItemStatus
    enrichment_data: EnrichmentData | None = Field(description="What the catalogue knows of the part.")
    error_message: str | None
    updated_at: Timestamp


class EnrichmentConnected(SnakeMessage):
    """The first message of a bill of materials' stream."""

    type: Literal["connected"] = "connected"
    bom_id: Id
    message: str = "Stream connected"
    state: EnrichmentState


class _About(SnakeMessage):
    """What every event says; ``type``, the SSE event's name, is told as ``event_type``."""

    type: str = Field(exclude=True)
    event_id: str = Field(description="Tells events apart: a UUID, with `:<n>` behind it for a batch's nth component.")
    event_type: str
    routing_key: str = Field(description="`{source}.{event_type}`")
    bom_id: Id
    organization_id: Id = Field(validation_alias="tenant_id")
    project_id: Id
    user_id: Id | None = Field(description="Who started it; null where an operator did.")
    source: BomSource
    workflow_id: str | None = Field(description="`bom-enrichment-{bom_id}`")
    workflow_run_id: str | None = Field(description="The id of the job.")
    state: EnrichmentState


class EnrichmentEvent(_About):
    """An enrichment began, got on (or was paused, resumed or stopped: see its state), or ended."""

    event_type: EventType
    payload: Payload
    created_at: Timestamp


class ComponentEvent(_About):
    """A line item has its outcome; told before the progress of its batch."""

    event_type: ComponentEventType
    component: Component
    payload: Payload = Field(description="That of the component's batch.")
    created_at: Timestamp


class EnrichmentSnapshot(SnapshotHead):
    """A bill of materials' present."""

    state: EnrichmentState
    components: list[Component] = Field(description="The 50 that had their outcome last, newest first.")


class HistoryEvent(RootModel[EnrichmentEvent | ComponentEvent]):
    """What happened to a bill of materials, known by its `event_type`."""


class EnrichmentMessage(
    RootModel[
        EnrichmentConnected
        | EnrichmentSnapshot
        | EnrichmentEvent
        | ComponentEvent
        | Live
        | Reset
        | Reauth
        | StreamError
        | StreamEnd
    ]
):
    """A message of a bill of materials' stream: an event is known by its `event_type`, any other by its `type`."""


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
    key_name = "bom_id"
    tells_key = types | {"connected"}

    def translate(self, change: Change) -> Sequence[Message]:
        if change.table == EVENTS and change.row is not None:
            return events(change.row)
        if change.table == BOMS and change.op == "D":
            return [StreamError(code="not_found", message="The BOM was deleted.")]
        return []

    def connected(self, key: str, revision: int, *, resumed: bool, live: bool, rows: Rows) -> EnrichmentConnected:  # noqa: ARG002
        return EnrichmentConnected(bom_id=key, state=_state(rows))

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


def _state(rows: Rows) -> EnrichmentState:
    """The BOM's state; that of none at all where it has been deleted."""
    return EnrichmentState.model_validate(rows[BOMS][0]) if rows[BOMS] else EnrichmentState()


def events(row: Mapping[str, Any]) -> list[Message]:
    """The messages of a row of ``enrichment_events``: each component's, numbered from 1, then its own."""
    payload = dict(row["payload"])
    components = payload.pop("components", None) or []
    about = {
        **row,
        "type": row["event_type"],
        "state": EnrichmentState.model_validate(row["state"]),
        "payload": payload,
    }
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
    return [*messages, EnrichmentEvent.model_validate(about)]
