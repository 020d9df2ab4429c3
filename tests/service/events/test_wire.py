"""Messages as bytes, and snapshots in parts."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.events.model import Live, WireModel
from service.events.wire import encode, snapshot_members, snapshot_parts


class Row(WireModel):
    text: str


def test_json_is_compact_and_utf8() -> None:
    assert encode(Live(live=True, reason="é\n")).data == '{"type":"live","live":true,"reason":"é\\n"}'.encode()
    assert encode(Live(live=True, reason="")).type == "live"


def test_an_empty_snapshot_is_one_part() -> None:
    [part] = snapshot_parts(7, {"jobs": [], "sources": []})
    assert json.loads(part.data) == {
        "type": "snapshot", "revision": 7, "part": 1, "last": True, "jobs": [], "sources": [],
    }  # fmt: skip


@given(st.lists(st.integers(0, 400), max_size=20), st.lists(st.integers(0, 400), max_size=20))
def test_parts_hold_every_row_once_in_order_and_keep_their_size(first: list[int], second: list[int]) -> None:
    lists = {"a": [Row(text="x" * size) for size in first], "b": [Row(text="y" * size) for size in second]}
    parts = snapshot_parts(7, lists, limit=1000)
    bodies: list[dict[str, Any]] = [json.loads(part.data) for part in parts]
    for name, rows in lists.items():
        assert [row["text"] for body in bodies for row in body[name]] == [row.text for row in rows]
    assert [body["part"] for body in bodies] == list(range(1, len(bodies) + 1))
    assert [body["last"] for body in bodies] == [False] * (len(bodies) - 1) + [True]
    assert all(len(part.data) <= 1000 for part in parts)


def test_a_row_longer_than_a_part_has_one_to_itself() -> None:
    rows = [Row(text="x"), Row(text="y" * 5000), Row(text="z")]
    parts = [json.loads(part.data) for part in snapshot_parts(7, {"a": rows}, limit=1000)]
    assert [[row["text"][0] for row in part["a"]] for part in parts] == [["x"], ["y"], ["z"]]


def test_objects_stand_in_each_part_and_lists_go_on() -> None:
    rows = [Row(text=str(n)) for n in range(100)]
    encoded = snapshot_parts(7, {"state": Row(text="x"), "a": rows}, limit=1000)
    parts = [json.loads(part.data) for part in encoded]
    assert len(parts) > 1
    assert all(part["state"] == {"text": "x"} for part in parts)
    assert [row["text"] for part in parts for row in part["a"]] == [str(n) for n in range(100)]
    assert all(len(part.data) <= 1000 for part in encoded)


def test_a_snapshot_in_one_answer_is_members_of_an_object() -> None:
    assert snapshot_members({"state": Row(text="x"), "a": [Row(text="y"), Row(text="z")]}) == (
        b'"state":{"text":"x"},"a":[{"text":"y"},{"text":"z"}]'
    )
