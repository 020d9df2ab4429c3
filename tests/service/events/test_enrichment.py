import json

import pytest

from service.changes.change import Change
from service.events.enrichment import EnrichmentFeed, events
from service.events.wire import encode, snapshot_members

BOM = "22222222-2222-4222-8222-222222222222"
AT = "2026-01-02T03:04:05.678901+00:00"
STATE = {
    "status": "enriching", "total_items": 4, "enriched_items": 1, "failed_items": 1, "not_found_items": 0,
    "pending_items": 2, "percent_complete": 50.0, "current_stage": "enriching", "current_batch": 1, "total_batches": 2,
    "started_at": AT, "completed_at": None, "failed_at": None, "error_message": None, "last_update": AT,
}  # fmt: skip
ENRICHED = {
    "line_item_id": "i1", "mpn": "LM358", "manufacturer": "TI", "status": "enriched",
    "enrichment_data": {"supplier": "S", "price": None}, "error_message": None, "updated_at": AT,
}  # fmt: skip
FAILED = {
    "line_item_id": "i2", "mpn": None, "manufacturer": None, "status": "failed", "enrichment_data": None,
    "error_message": "The line has no part number.", "updated_at": AT,
}  # fmt: skip


def row(what="progress", **columns):
    return {
        "event_id": "e", "event_type": f"enrichment.{what}", "routing_key": f"customer.enrichment.{what}",
        "bom_id": BOM, "tenant_id": "o", "project_id": "p", "user_id": None, "source": "customer",
        "workflow_id": f"bom-enrichment-{BOM}", "workflow_run_id": "r", "state": STATE, "payload": {}, "created_at": AT,
        **columns,
    }  # fmt: skip


def change(image, table="enrichment_events", op="I"):
    return Change(7, 6, table, "e", op, frozenset(), image, AT)


def wire(messages):
    return [(message.type, json.loads(encode(message).data)) for message in messages]


def test_an_event_is_told_as_the_contract_has_it():
    ((name, data),) = wire(EnrichmentFeed().translate(change(row("started"))))
    assert name == "enrichment.started"
    assert list(data) == [
        "event_id", "event_type", "routing_key", "bom_id", "organization_id", "project_id", "user_id", "source",
        "workflow_id", "workflow_run_id", "state", "payload", "created_at",
    ]  # fmt: skip
    assert data["organization_id"] == "o"
    assert data["created_at"] == "2026-01-02T03:04:05.678Z"
    assert data["state"] == STATE | {
        "started_at": "2026-01-02T03:04:05.678Z",
        "last_update": "2026-01-02T03:04:05.678Z",
    }


def test_each_component_is_told_before_its_batch_and_not_again_in_it():
    batch = {"batch_number": 1, "batch_size": 2, "completed": 2}
    payload = {"batch": batch, "components": [ENRICHED, FAILED]}
    told = wire(EnrichmentFeed().translate(change(row(payload=payload))))
    assert [name for name, _ in told] == [
        "enrichment.component.completed", "enrichment.component.failed", "enrichment.progress",
    ]  # fmt: skip
    enriched, failed, progress = (data for _, data in told)
    assert [data["event_id"] for _, data in told] == ["e:1", "e:2", "e"]
    assert enriched["routing_key"] == "customer.enrichment.component.completed"
    assert enriched["component"] == ENRICHED | {"updated_at": "2026-01-02T03:04:05.678Z"}
    assert failed["component"]["error_message"] == "The line has no part number."
    assert progress["payload"] == {"batch": batch}
    assert "component" not in progress
    assert enriched["state"] == failed["state"] == progress["state"]


def test_a_part_that_nobody_knows_is_told_as_failed_and_its_status_says_why():
    payload = {"components": [FAILED | {"status": "not_found"}]}
    told = wire(events(row(payload=payload)))
    assert told[0][0] == "enrichment.component.failed"
    assert told[0][1]["component"]["status"] == "not_found"


def test_a_state_that_somebody_else_wrote_may_lack_fields():
    ((_, data),) = wire(events(row(state={"status": "paused"})))
    assert (data["state"]["status"], data["state"]["percent_complete"]) == ("paused", 0.0)


@pytest.mark.parametrize("what", ["completed", "failed"])
def test_streams_end_with_the_last_event(what):
    ending = EnrichmentFeed().ending(change(row(what)))
    assert ending is not None
    assert (ending.reason, ending.reconnect) == (f"enrichment.{what}", False)


@pytest.mark.parametrize("told", [change(row()), change(row("started")), change({"id": BOM}, "boms", "U")])
def test_nothing_else_ends_them(told):
    assert EnrichmentFeed().ending(told) is None


def test_a_bom_s_own_changes_are_told_by_its_events():
    feed = EnrichmentFeed()
    assert feed.translate(change({"id": BOM, "status": "paused"}, "boms", "U")) == []
    assert feed.translate(change(None, "enrichment_events", "D")) == []


def test_a_bom_that_is_deleted_ends_the_stream_for_good():
    feed, deleted = EnrichmentFeed(), change(None, "boms", "D")
    assert wire(feed.translate(deleted)) == [
        ("error", {"type": "error", "code": "not_found", "message": "The BOM was deleted."})
    ]
    ending = feed.ending(deleted)
    assert ending is not None
    assert (ending.reason, ending.reconnect) == ("error", False)


def test_every_type_can_be_asked_for():
    payload = {"components": [ENRICHED, FAILED]}
    types = {
        name
        for what in ("started", "progress", "completed", "failed")
        for name, _ in wire(events(row(what, payload=payload)))
    }
    assert types == EnrichmentFeed.types


ROWS = {"boms": [STATE], "bom_line_items": [FAILED, ENRICHED], "enrichment_events": [row()]}


def test_a_stream_opens_with_the_state():
    message = EnrichmentFeed().connected(BOM, 7, resumed=False, live=True, rows=ROWS)
    ((name, data),) = wire([message])
    assert (name, list(data)) == ("connected", ["type", "bom_id", "message", "state"])
    assert (data["bom_id"], data["message"], data["state"]["percent_complete"]) == (BOM, "Stream connected", 50.0)


def test_the_snapshot_is_the_state_and_the_components_as_events_tell_them():
    told = json.loads(b"{%s}" % snapshot_members(EnrichmentFeed().snapshot(ROWS)))
    assert list(told) == ["state", "components"]
    assert [component["line_item_id"] for component in told["components"]] == ["i2", "i1"]


def test_nothing_is_known_of_a_bom_that_is_gone():
    nothing = {"boms": [], "bom_line_items": [], "enrichment_events": []}
    told = json.loads(b"{%s}" % snapshot_members(EnrichmentFeed().snapshot(nothing)))
    assert (told["state"]["status"], told["components"]) == ("idle", [])
    assert EnrichmentFeed().final(nothing) is None


@pytest.mark.parametrize(
    ("what", "ended"), [("completed", True), ("failed", True), ("progress", False), ("started", False)]
)
def test_a_bom_has_ended_when_its_last_event_says_so(what, ended):
    final = EnrichmentFeed().final({**ROWS, "enrichment_events": [row(what)]})
    assert (final is not None) == ended
    if final is not None:
        assert [name for name, _ in wire(final.messages)] == [f"enrichment.{what}"]
        assert final.ending.reason == f"enrichment.{what}"
