"""The enrichment of a BOM in a terminal."""

import io

import pytest
from rich.console import Console

from service.terminal import PlainView
from service.watch import Stream
from service.watch_bom import SHOWN_COMPONENTS, BomState, BomView, describe, watch
from tests.service.sse_server import answer, message, serving, stream

PATH = "/api/enrichment/stream/b"


def state(status="enriching", enriched=1, failed=0, not_found=0, total=4, batch=1):
    done = enriched + failed + not_found
    return {
        "status": status, "total_items": total, "enriched_items": enriched, "failed_items": failed,
        "not_found_items": not_found, "pending_items": total - done, "percent_complete": 100 * done / total,
        "current_batch": batch, "total_batches": 2, "error_message": "out of paper" if status == "failed" else None,
    }  # fmt: skip


def component(mpn="LM358", status="enriched", **more):
    data = {"description": "Dual op-amp"} if status == "enriched" else None
    return {"mpn": mpn, "status": status, "enrichment_data": data, "error_message": None, **more}


def told(kind, **fields):
    return {"type": f"enrichment.{kind}", "state": state(), **fields}


def reduced(*messages):
    bom = BomState()
    for each in messages:
        bom.apply(each)
    return bom


def test_the_newest_state_counts_and_the_newest_components_come_first():
    bom = reduced(
        {"type": "connected", "state": state("idle", 0, batch=None)},
        told("component.completed", component=component("A")),
        told("component.failed", component=component("B", "failed"), state=state(failed=1)),
        {"type": "live", "live": False, "reason": "x"},
    )
    assert [each["mpn"] for each in bom.components] == ["B", "A"]
    assert bom.state["failed_items"] == 1
    assert not bom.live


def test_a_snapshot_replaces_all_and_no_more_is_kept_than_is_shown():
    many = [component(str(number)) for number in range(50)]
    bom = reduced(told("component.completed", component=component("old")), {"type": "snapshot", "state": state(),
                                                                           "components": many})  # fmt: skip
    assert [each["mpn"] for each in bom.components] == [str(number) for number in range(SHOWN_COMPONENTS)]


@pytest.mark.parametrize(
    ("each", "line"),
    [
        ({"type": "connected", "state": state("idle", 0, batch=None)},
         "idle: 0 of 4, 0.0 % (0 enriched, 0 not_found, 0 failed)"),
        (told("started"), "started: 4 lines, 2 batches to do"),
        (told("component.completed", component=component()), "enriched LM358 Dual op-amp"),
        (told("component.failed", component=component(None, "failed", error_message="no part number")),
         "failed (no part number) no part number"),
        (told("progress"), "enriching: 1 of 4, 25.0 % (1 enriched, 0 not_found, 0 failed, batch 1 of 2)"),
        (told("completed", state=state("completed", 2, 1, 1)),
         "completed: 4 of 4, 100.0 % (2 enriched, 1 not_found, 1 failed, batch 1 of 2)"),
        (told("failed", state=state("failed")),
         "failed: 1 of 4, 25.0 % (1 enriched, 0 not_found, 0 failed, batch 1 of 2): out of paper"),
        ({"type": "live", "live": False, "reason": "lost"}, "not live, changes come slower: lost"),
        ({"type": "stream_end", "reason": "enrichment.completed", "reconnect": False},
         "stream ended: enrichment.completed"),
        ({"type": "snapshot", "state": state(), "components": []}, None),
    ],
)  # fmt: skip
def test_each_message_is_a_line(each, line):
    assert describe(each, reduced(each)) == line


def test_the_picture_has_a_bar_and_what_was_last_done():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    view = BomView(console)
    with view:
        bom = BomState()
        for each in (told("component.completed", component=component("[bold]X")), told("progress")):
            bom.apply(each)
            view.message(each, bom)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "enriching: 1 of 4" in shown
    assert "[bold]X" in shown
    assert "━" in shown


def test_before_anything_is_known_there_is_nothing_to_show():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with BomView(console):
        pass
    assert "live" in console.file.getvalue()  # type: ignore[attr-defined]


async def token():
    return "a-token"


async def no_sleep(seconds):
    pass


async def watched(service, *, until_done=False):
    lines = []
    view = PlainView(lines.append, describe)
    return await watch(Stream(service.url, PATH, token, view, no_sleep), view, until_done=until_done), lines


def frame(kind, **fields):
    return message(kind, **fields).replace(b"data:", b"event: %s\ndata:" % kind.encode(), 1)


async def test_watching_ends_with_the_enrichment():
    end = message("stream_end", reason="enrichment.completed", reconnect=False)
    completed = frame("enrichment.completed", state=state("completed", 4))
    async with serving(stream(frame("connected", state=state()), completed, end, then="hold")) as service:
        bom, lines = await watched(service)
        assert service.requests[0].path == PATH
    assert bom.state["status"] == "completed"
    assert lines[-1] == "stream ended: enrichment.completed"


async def test_an_enrichment_that_ended_while_nobody_looked_is_at_its_end():
    async with serving(
        stream(frame("connected", state=state()), message("x", 7), then="cut"), answer(204, "")
    ) as service:
        bom, _ = await watched(service)
        assert service.last_event_ids == [None, "7"]
    assert bom.state["status"] == "enriching"


@pytest.mark.parametrize("until_done", [True, False])
async def test_a_stop_is_the_end_for_who_waits_for_one(until_done):
    end = message("stream_end", reason="enrichment.completed", reconnect=False)
    stopped = frame("enrichment.progress", state=state("stopped"))
    async with serving(stream(frame("connected", state=state()), stopped, end, then="hold")) as service:
        _, lines = await watched(service, until_done=until_done)
    assert len(lines) == (2 if until_done else 3)
