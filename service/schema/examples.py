"""One real message of each type: what the translators make of rows like those of a database.

tests/wire holds them as files, so that a change of the wire is seen, and read by other languages.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from service.changes.change import Change, Op
from service.events.answers import (
    BomAnswer,
    ControlAnswer,
    DecisionAnswer,
    EnrichmentHealth,
    JobCommandAnswer,
    Liveness,
    Problem,
    Readiness,
    StartAnswer,
    TicketAnswer,
)
from service.events.endings import Ending
from service.events.enrichment import EnrichmentFeed
from service.events.feed import Feed, Rows
from service.events.model import Live, Message, Reauth, Reset, StreamError
from service.events.pipeline import ending, progress
from service.events.project import ProjectFeed
from service.events.socket import (
    Auth,
    Authenticated,
    Keepalive,
    Refused,
    Subscribe,
    Unsubscribe,
    Unsubscribed,
)
from service.events.wire import encode, encode_model, snapshot_parts
from service.streams import frames

REVISION = 1880577735557120
AT = "2026-11-21T12:04:34.8+00:00"
LATER = "2026-11-21T12:05:10.251+00:00"
PROJECT = "00000000-0000-4000-8000-000000000002"
JOB = "6d1f0f0e-4d8c-4a55-9a43-0f6f4c1d2b01"
SOURCE = "b1a7c2d4-6f0e-4b6c-8a6c-2f1f0a9e3c02"
PROPOSAL = "e4c8a9b2-1d3f-4c7e-9b5a-7d2e8f6a4b03"
BOM = "22222222-2222-4222-8222-222222222222"
EVENT = "9a4e2c6b-8f1d-4e7a-b3c5-6d0f2a8e1b04"
JOB_ROW: Mapping[str, Any] = {
    "id": JOB, "project_id": PROJECT, "kind": "ingestion", "title": "Reading the manuals", "status": "running",
    "progress_stage": "parsing", "progress_current": 3, "progress_total": 7, "progress_message": "manual-3.md",
    "progress_updated_at": LATER, "source_id": SOURCE, "bom_id": None, "attempt": 1, "error_message": None,
    "created_at": AT, "updated_at": LATER, "started_at": AT, "finished_at": None, "cancel_requested_at": None,
    "staff": False,
    "pipeline": {
        "document_id": SOURCE, "document_name": "manual-3.md", "total_chunks": 7, "total_images": 2,
        "stages": {
            "parsing": {
                "name": "parsing", "status": "in_progress", "processed": 3, "total": 7, "in_flight": 2,
                "progress_percent": 42.9, "duration_ms": 35451, "is_complete": False, "weight": 3,
            },
            "embedding": {"name": "embedding", "weight": 1},
        },
        "worker_pool": {
            "active": 2, "max": 4, "queue_depth": 2, "workers": [
                {"id": "1", "status": "processing", "current_chunk": 4, "progress_percent": 60},
                {"id": "2", "status": "processing", "current_chunk": 5, "progress_percent": 10},
            ],
        },
        "metrics": {"entities_total": 118, "relations_total": 64, "tables_found": 5},
        "timing": {"started_at": 1795262674.8, "elapsed_ms": 35451, "estimated_remaining_ms": 75000},
        "overall_progress_percent": 32.1,
        "log": [{"time": "2026-11-21T12:05:09.870Z", "level": "warning", "message": "page 3 has no text"}],
    },
}  # fmt: skip
LIVE = Live(live=False, reason="Realtime does not answer")
REAUTH = Reauth.model_validate({"expires_at": LATER})
CONTROL: tuple[Message, ...] = (
    LIVE,
    Reset(reason="the cursor is too old, or not from this database"),
    REAUTH,
    StreamError(code="upstream_unavailable", message="The database can't be asked."),
)
"""What streams of any feed say of themselves."""

Examples = Mapping[str, bytes]
"""The JSON of a message, by its type."""


@cache
def project() -> Examples:
    source = {
        "id": SOURCE, "project_id": PROJECT, "source_name": "manual-3.md", "source_type": "markdown", "uri": None,
        "status": "failed", "error_message": "It is not UTF-8: byte 0xE9 at 120.", "created_at": AT,
        "updated_at": LATER,
    }  # fmt: skip
    proposal = {
        "id": PROPOSAL, "project_id": PROJECT, "job_id": JOB, "source_id": SOURCE, "title": "Gewindegröße → “M3”",
        "body": "…", "confidence": 0.72, "status": "proposed", "created_at": AT, "updated_at": LATER,
    }  # fmt: skip
    feed = ProjectFeed()
    rows: Rows = {"ingestion_sources": [source], "jobs": [JOB_ROW], "proposed_nodes": [proposal]}
    return _examples(
        feed,
        rows,
        [
            feed.connected(PROJECT, REVISION, resumed=False, live=True, rows={}),
            *feed.translate(_change("ingestion_sources", "U", source, "status")),
            *feed.translate(_change("jobs", "I", JOB_ROW)),
            *feed.translate(_change("proposed_nodes", "I", proposal)),
            *feed.translate(_change("proposed_nodes", "U", {**proposal, "status": "accepted"}, "status")),
            *(message for table, gone in rows.items() for message in feed.translate(_gone(table, str(gone[0]["id"])))),
            Ending.SHUTDOWN.message,
        ],
    )


@cache
def enrichment() -> Examples:
    state = {
        "status": "enriching", "total_items": 4, "enriched_items": 1, "failed_items": 1, "not_found_items": 0,
        "pending_items": 2, "percent_complete": 50.0, "current_stage": "enriching", "current_batch": 1,
        "total_batches": 2, "started_at": AT, "completed_at": None, "failed_at": None, "error_message": None,
        "last_update": LATER,
    }  # fmt: skip
    components: list[dict[str, Any]] = [
        {
            "line_item_id": "3f0d6a1c-5b7e-4c29-8e4a-1a9b7c5d3e05", "mpn": "LM358DR",
            "manufacturer": "Texas Instruments", "status": "enriched", "error_message": None, "updated_at": LATER,
            "enrichment_data": {
                "supplier": "Example Parts", "price": 0.11, "stock": 120000,
                "datasheet_url": "https://example.com/lm358.pdf", "lifecycle_status": "active",
                "category": "Operational amplifiers", "description": "Dual op amp, 3 to 32 V",
            },
        },
        {
            "line_item_id": "c2b8e4f6-7a1d-4d3c-9f5b-8e6a4c2d0b06", "mpn": None, "manufacturer": None,
            "status": "failed", "enrichment_data": None, "error_message": "The line has no part number.",
            "updated_at": LATER,
        },
    ]  # fmt: skip
    feed = EnrichmentFeed()

    def told(what: str, payload: Mapping[str, Any], **now: object) -> Iterator[Message]:
        row = {
            "event_id": EVENT, "event_type": f"enrichment.{what}", "routing_key": f"customer.enrichment.{what}",
            "bom_id": BOM, "tenant_id": "00000000-0000-4000-8000-000000000001", "project_id": PROJECT,
            "user_id": "7c5e3a1f-9b2d-4f8e-a6c4-0d1b3e5f7a07", "source": "customer",
            "workflow_id": f"bom-enrichment-{BOM}", "workflow_run_id": JOB, "state": {**state, **now},
            "payload": payload, "created_at": LATER,
        }  # fmt: skip
        yield from feed.translate(_change("enrichment_events", "I", row))

    begun = {
        "enriched_items": 0, "failed_items": 0, "pending_items": 4, "percent_complete": 0.0, "current_stage": "queued",
        "current_batch": 0,
    }  # fmt: skip
    batch = {"batch_number": 1, "batch_size": 2, "completed": 2}
    all_done = {"pending_items": 0, "enriched_items": 3, "percent_complete": 100.0, "current_batch": 2}
    done = {**all_done, "status": "completed", "current_stage": "complete", "completed_at": LATER}
    torn = {"status": "failed", "failed_at": LATER, "error_message": "Its worker was lost, at attempt 3 of 3."}
    rows: Rows = {"boms": [state], "bom_line_items": components, "enrichment_events": []}
    return _examples(
        feed,
        rows,
        [
            feed.connected(BOM, REVISION, resumed=False, live=True, rows=rows),
            *told("started", {}, **begun),
            *told("progress", {"batch": batch, "components": components}),
            *told("completed", {}, **done),
            *told("failed", {"error": torn["error_message"]}, **torn),
            Ending("enrichment.completed", reconnect=False).message,
        ],
    )


@cache
def pipeline(*, several: bool) -> Examples:
    """As told on a stream of several jobs, or of one."""
    ended = {**JOB_ROW, "status": "completed"}, {**JOB_ROW, "status": "failed", "error_message": "It is not UTF-8."}
    told = (progress(JOB_ROW, several=several), *(ending(row, several=several) for row in ended), LIVE, REAUTH)
    messages = [message for message in (*told, Ending.SHUTDOWN.message) if message is not None]
    return {encoded.type: encoded.data for encoded in map(encode, messages)}


@cache
def socket() -> Examples:
    """What the WebSocket hears and tells beside its feed's messages, and one of those; by ``op`` or ``type``."""
    whose = b'"projectId":"%s","revision":%d' % (PROJECT.encode(), REVISION)
    heard = (
        Auth(op="auth", token="eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiI3YzVlIn0.x7Rk"),  # noqa: S106 - of nobody
        Subscribe.model_validate({"op": "subscribe", "projectId": PROJECT, "since": REVISION}),
        Unsubscribe(op="unsubscribe", project_id=PROJECT),
    )
    told = (
        Authenticated.model_validate({"expires_at": LATER}),
        Unsubscribed(project_id=PROJECT),
        Keepalive(),
        Refused.model_validate(
            {"code": "not_found", "message": "No such project.", "op": "subscribe", "projectId": PROJECT}
        ),
    )
    return {
        **{each.op: each.model_dump_json(by_alias=True, exclude_none=True).encode() for each in heard},
        **{each.type: each.model_dump_json(by_alias=True, exclude_none=True).encode() for each in told},
        "job_update": frames.named_too(project()["job_update"], whose),
    }


@cache
def answers() -> Mapping[str, Any]:
    """An answer of each model that answers are made of, by the model's name."""
    past = json.loads(project()["snapshot"])
    present = {name: past[name] for name in ("sources", "jobs", "proposals")}
    bom = json.loads(enrichment()["snapshot"])
    happened = [json.loads(enrichment()[name]) for name in ("enrichment.started", "enrichment.component.completed")]
    told = (
        Problem(error="not_found", message="No such project, or it is not yours to see."),
        TicketAnswer(ticket="q8Zk3vJxY0c2WmT1", expires_in=60),
        BomAnswer(bom_id=BOM, total_items=4, columns={"mpn": "Mfr. #", "quantity": "Qty"}),
        StartAnswer(success=True, bom_id=BOM, workflow_id=f"bom-enrichment-{BOM}", run_id=JOB, status="enriching"),
        ControlAnswer(success=True, bom_id=BOM, status="paused"),
        JobCommandAnswer(job_id=JOB, status="running", attempt=1, cancel_requested=True),
        DecisionAnswer(proposal_id=PROPOSAL, status="accepted"),
        Liveness(status="ok"),
        Readiness(status="degraded", mode="log", database=True, listener=True, realtime=False, reason=None),
        EnrichmentHealth(status="healthy", realtime=True, database=True, active_streams=2),
    )
    return {
        "ProjectSnapshotAnswer": {"revision": REVISION, "live": True, **present},
        "ProjectEventsAnswer": {
            "revision": REVISION, "live": True, "reset": False, "events": [json.loads(project()["job_update"])],
        },
        "EnrichmentStateAnswer": {
            "state": bom["state"], "components": bom["components"], "revision": REVISION,
        },
        "EnrichmentHistoryAnswer": {"events": happened, "next": None},
        **{type(model).__name__: json.loads(encode_model(model)) for model in told},
    }  # fmt: skip


def beginning(stream: str) -> str:
    """How a stream begins, byte for byte; of the feeds that have ids and snapshots, one that is asked for both."""
    told = of(stream)
    ids = {"snapshot": REVISION - 1, "progress_update": REVISION, "enrichment.progress": REVISION}
    types = ("connected", "snapshot", "progress_update", "enrichment.progress", "pipeline_progress", "complete")
    events = [
        frames.message(told[type_], event=None if stream == "project" else type_, id=ids.get(type_))
        for type_ in types
        if type_ in told
    ]
    return b"".join([frames.retry(1500), *events, frames.keepalive()]).decode()


def of(stream: str) -> Examples:
    """The examples of a stream."""
    match stream:
        case "project":
            return project()
        case "enrichment":
            return enrichment()
        case "pipeline" | "pipelines":
            return pipeline(several=stream == "pipelines")
        case _:
            raise KeyError(stream)


def _examples(feed: Feed, rows: Mapping[str, Any], messages: list[Message]) -> Examples:
    """With a snapshot of ``rows`` and what every stream says."""
    [snapshot] = snapshot_parts(REVISION, feed.snapshot(rows))
    first, *rest = [encode(message) for message in (*messages, *CONTROL)]
    return {encoded.type: encoded.data for encoded in (first, snapshot, *rest)}


def _change(table: str, op: Op, row: Mapping[str, Any], *changed: str) -> Change:
    return Change(REVISION, REVISION - 1, table, str(row.get("id", EVENT)), op, frozenset(changed), dict(row), LATER)


def _gone(table: str, row_id: str) -> Change:
    return Change(REVISION, REVISION - 1, table, row_id, "D", frozenset(), None, LATER)
