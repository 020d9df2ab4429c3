"""What waits for one viewer: bounded by rows, in order, and in the end the same state as if nothing had been merged."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.feeds.delivery import Delivery
from service.feeds.outbox import Budget, Outbox, Overflow, merge_range
from tests.service.tiny import TinyFeed, make_change, make_delivery, told


def taken(outbox: Outbox, max_bytes: int = 1 << 30) -> list[Delivery]:
    return [delivery for delivery, _ in outbox.take(max_bytes)]


def test_a_reader_that_keeps_up_gets_every_change() -> None:
    outbox = Outbox(last=0)
    for revision in (1, 2):
        outbox.put(make_delivery(revision))
        assert told(taken(outbox)) == [f"changed a={revision}"]
    assert outbox.conflated == 0


def test_changes_of_a_row_that_wait_become_one() -> None:
    outbox = Outbox(last=0)
    outbox.put(make_delivery(1, "I", "a"))
    outbox.put(make_delivery(2, "I", "b"))
    outbox.put(make_delivery(3, "U", "a"))
    assert len(outbox) == 2
    assert told(taken(outbox)) == ["new a=3", "new b=2"]
    assert outbox.conflated == 1


def test_append_only_rows_wait_one_by_one() -> None:
    outbox = Outbox(last=0)
    outbox.put(make_delivery(1, "I", "e1", "events"))
    outbox.put(make_delivery(2, "I", "e1", "events"))
    assert told(taken(outbox)) == ["event e1", "event e1"]


def test_what_the_viewer_has_is_not_put_in() -> None:
    outbox = Outbox(last=5)
    outbox.put(make_delivery(5))
    assert len(outbox) == 0
    outbox.put(make_delivery(6))
    outbox.put(make_delivery(7, row_id="b"))
    outbox.skip_to(6)
    assert told(taken(outbox)) == ["changed b=7"]
    assert outbox.last == 7


def test_skipping_never_goes_back() -> None:
    outbox = Outbox(last=5)
    outbox.skip_to(3)
    assert outbox.last == 5


def test_after_a_restart_any_revision_is_new() -> None:
    outbox = Outbox(last=1000)
    outbox.restart()
    outbox.put(make_delivery(7))
    assert told(taken(outbox)) == ["changed a=7"]


def test_too_many_rows_overflow() -> None:
    outbox = Outbox(last=0, max_rows=2)
    outbox.put(make_delivery(1, row_id="a"))
    outbox.put(make_delivery(2, row_id="b"))
    outbox.put(make_delivery(3, row_id="b"))
    with pytest.raises(Overflow):
        outbox.put(make_delivery(4, row_id="c"))


def test_too_many_bytes_overflow_but_one_hot_row_never_does() -> None:
    outbox = Outbox(last=0, max_bytes=2 * make_delivery(1000).size)
    for revision in range(1, 1000):
        outbox.put(make_delivery(revision))
    assert len(outbox) == 1
    outbox.put(make_delivery(1000, row_id="b"))
    with pytest.raises(Overflow):
        outbox.put(make_delivery(1001, row_id="c"))


def test_one_alone_is_sent_however_large() -> None:
    outbox = Outbox(last=0, max_bytes=1)
    outbox.put(make_delivery(1))
    assert len(outbox) == 1


def test_outboxes_of_one_reader_overflow_together() -> None:
    size = make_delivery(1).size
    budget = Budget(3 * size)
    outboxes = [Outbox(last=0, budget=budget) for _ in range(2)]
    for outbox in outboxes:
        outbox.put(make_delivery(1, row_id="a"))
        outbox.put(make_delivery(2, row_id="a"))  # merges
    outboxes[0].put(make_delivery(3, row_id="b"))
    with pytest.raises(Overflow):
        outboxes[1].put(make_delivery(3, row_id="b"))


def test_what_is_taken_skipped_or_dropped_makes_room_again() -> None:
    budget = Budget(10_000)
    outbox = Outbox(last=0, budget=budget)

    def fill() -> None:
        for row_id in ("a", "b", "c"):
            outbox.put(make_delivery(outbox.last + 1, row_id=row_id))
        assert budget.left < 10_000

    for empty in (outbox.take, outbox.clear, outbox.restart, lambda: outbox.skip_to(outbox.last)):
        fill()
        empty()
        assert budget.left == 10_000
    fill()
    outbox.take(1)
    outbox.take()
    assert budget.left == 10_000


def test_much_is_taken_in_portions_and_what_is_left_still_merges() -> None:
    outbox = Outbox(last=0)
    for revision, row in enumerate("abc", start=1):
        outbox.put(make_delivery(revision, row_id=row))
    assert told(taken(outbox, 1)) == ["changed a=1"]
    outbox.put(make_delivery(4, row_id="a"))
    outbox.put(make_delivery(5, row_id="c"))
    assert told(taken(outbox)) == ["changed b=2", "changed c=5", "changed a=4"]


def test_taking_frees_the_room() -> None:
    outbox = Outbox(last=0, max_bytes=make_delivery(1).size + 10)
    outbox.put(make_delivery(1))
    outbox.take()
    outbox.put(make_delivery(2, row_id="b"))
    assert len(outbox) == 1


@st.composite
def logs(draw: st.DrawFn) -> list[Delivery]:
    """Three rows' lives, mixed, and some events. An update tells only the columns that it changed."""
    rows: dict[str, dict[str, Any] | None] = {"a": None, "b": {"value": 0, "other": 0}, "c": None}
    log = []
    for revision in range(1, draw(st.integers(1, 25)) + 1):
        name = draw(st.sampled_from(["a", "b", "c", "event"]))
        if name == "event":
            log.append(make_delivery(revision, "I", f"e{revision}", "events"))
            continue
        row = rows[name]
        changed: list[str] = []
        if row is None:
            op, rows[name] = "I", {"value": revision, "other": revision}
        elif draw(st.integers(0, 3)) == 0:
            op, rows[name] = "D", None
        else:
            changed = draw(st.sampled_from([["value"], ["other"], ["value", "other"]]))
            op, rows[name] = "U", {**row, **dict.fromkeys(changed, revision)}
        log.append(Delivery(make_change(revision, op, name, row=rows[name], changed=changed), TinyFeed()))  # type: ignore[arg-type]
    return log


State = dict[str, dict[str, Any]]


def start() -> State:
    return {"b": {"value": 0, "other": 0}}


def reduce(state: State, deliveries: Iterable[Delivery]) -> tuple[State, set[str]]:
    """What a page shows after it has been told ``deliveries``, and the events it heard of."""
    events = set()
    for delivery in deliveries:
        for message in delivery.messages:
            body = json.loads(message.data)
            if body["type"] == "event":
                events.add(body["rowId"])
            else:
                tell(state, body)
    return state, events


def tell(state: State, body: dict[str, Any]) -> None:
    """What a page does with a message about a row."""
    if body["type"] == "gone":
        state.pop(body["rowId"], None)
    elif body["type"] in ("new", "changed"):
        row = state.setdefault(body["rowId"], {})
        row |= {name: body[name] for name in ("value", "other") if body[name] is not None}


@given(logs(), st.data())
def test_however_slowly_a_viewer_reads_it_ends_with_the_same_state_and_every_event_once(
    log: list[Delivery], data: st.DataObject
) -> None:
    outbox = Outbox(last=0)
    got: list[Delivery] = []
    for delivery in log:
        outbox.put(delivery)
        if data.draw(st.booleans()):
            got += taken(outbox, data.draw(st.sampled_from([1, 1000, 1 << 20])))
    got += taken(outbox)
    assert reduce(start(), got) == reduce(start(), log)


@given(logs(), st.data())
def test_a_viewer_cut_again_and_again_and_resumed_by_its_last_id_ends_with_the_same_state(
    log: list[Delivery], data: st.DataObject
) -> None:
    """It reads slowly, is cut between two deliveries, and comes back with the last id that one of them carried."""
    got: list[Delivery] = []
    ids = [0]

    def receive(deliveries: list[tuple[Delivery, int | None]]) -> None:
        for delivery, id_ in deliveries[: data.draw(st.integers(0, len(deliveries)))]:
            got.append(delivery)
            if id_ is not None:
                ids.append(id_)

    for _ in range(data.draw(st.integers(1, 3))):
        missed_until = data.draw(st.integers(ids[-1], len(log)))
        replay = merge_range([one for one in log if ids[-1] < one.change.revision <= missed_until])
        outbox = Outbox(last=missed_until)
        receive(replay)
        if replay and got[-1:] != [replay[-1][0]]:
            continue  # cut during the replay
        for delivery in log[missed_until : data.draw(st.integers(missed_until, len(log)))]:
            outbox.put(delivery)
        receive(outbox.take(data.draw(st.sampled_from([1, 1000, 1 << 20]))))
    receive_all = merge_range([one for one in log if one.change.revision > ids[-1]])
    got += [delivery for delivery, _ in receive_all]
    assert reduce(start(), got) == reduce(start(), log)
    assert ids == sorted(set(ids))
    assert not receive_all or receive_all[-1][1] == len(log)


def test_a_merged_delivery_stands_and_counts_where_its_oldest_change_did() -> None:
    """Standing at its newest, a viewer cut after b and resumed from its id would never hear of a's `value`."""
    log = [
        Delivery(make_change(1, "U", "a", row={"value": 1, "other": 0}, changed=["value"]), TinyFeed()),
        Delivery(make_change(2, "U", "b"), TinyFeed()),
        Delivery(make_change(3, "U", "a", row={"value": 1, "other": 3}, changed=["other"]), TinyFeed()),
    ]
    assert [(one.change.row_id, id_) for one, id_ in merge_range(log)] == [("a", 1), ("b", 3)]
