"""Changes as the log tells them, and the one change that two of a row make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.changes.change import Change, MalformedChange, from_record, merge
from service.tables import mapped

RECORD = {
    "revision": 7, "prev": 5, "table_name": "jobs", "row_id": "a", "op": "U", "changed": ["status"],
    "row": {"id": "a", "status": "running"}, "committed_at": "2026-11-21T12:00:00+00:00",
}  # fmt: skip


def change(revision: int, op: str, changed: str = "", value: int = 0) -> Change:
    row = None if op == "D" else {"id": "a", "value": value}
    return Change(revision, revision - 1, "jobs", "a", op, frozenset(changed), row, "2026-11-21T12:00:00+00:00")  # type: ignore[arg-type]


def test_a_record_of_realtime_and_one_of_feed_since_are_the_same_change() -> None:
    from_log = {**RECORD, "table": "jobs"}
    del from_log["table_name"]
    assert from_record(RECORD) == from_record(from_log)
    assert from_record(RECORD).identity == ("jobs", "a")
    assert from_record(RECORD).changed == {"status"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"op": "T"}, {"op": None}, {"row": None}, {"op": "D"}, {"revision": None}, {"revision": "x"}, {"changed": 3},
        {"prev": None},
    ],
)  # fmt: skip
def test_a_record_with_a_wrong_column_is_malformed(wrong: dict[str, object]) -> None:
    with pytest.raises(MalformedChange):
        from_record({**RECORD, **wrong})


@pytest.mark.parametrize("missing", [name for name in RECORD if name != "table_name"])
def test_a_record_without_a_column_is_malformed(missing: str) -> None:
    with pytest.raises(MalformedChange):
        from_record({name: value for name, value in RECORD.items() if name != missing})


@pytest.mark.parametrize(
    ("older", "newer", "op", "changed", "replaced"),
    [
        (change(1, "U", "ab"), change(2, "U", "bc"), "U", "abc", False),
        (change(1, "I"), change(2, "U", "b"), "I", "b", False),
        (merge(change(1, "I"), change(2, "U", "a")), change(3, "U", "b"), "I", "ab", False),
        (change(1, "I"), change(2, "D"), "D", "", False),
        (change(1, "U", "a"), change(2, "D"), "D", "", False),
        (change(1, "D"), change(2, "I"), "I", "", True),
        (merge(change(1, "D"), change(2, "I")), change(3, "U", "a"), "I", "", True),
        (merge(change(1, "D"), change(2, "I")), change(3, "D"), "D", "", False),
    ],
)
def test_merging(older: Change, newer: Change, op: str, changed: str, replaced: bool) -> None:
    merged = merge(older, newer)
    assert (merged.op, merged.changed, merged.replaced) == (op, frozenset(changed), replaced)
    assert (merged.revision, merged.row) == (newer.revision, newer.row)


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """A row's life: inserted, updated, deleted, inserted again…, from anywhere in it."""
    exists = draw(st.booleans())
    history = []
    for revision in range(1, draw(st.integers(2, 8)) + 1):
        op = draw(st.sampled_from("UD")) if exists else "I"
        exists = op != "D"
        changed = draw(st.sampled_from(["a", "b", "ab"])) if op == "U" else ""
        history.append(change(revision, op, changed, value=revision))
    return history


@given(histories(), st.data())
def test_in_whatever_groups_a_history_is_merged_the_result_is_the_same(
    history: list[Change], data: st.DataObject
) -> None:
    one_by_one = history[0]
    for newer in history[1:]:
        one_by_one = merge(one_by_one, newer)
    groups = list(history)
    while len(groups) > 1:
        at = data.draw(st.integers(0, len(groups) - 2))
        groups[at : at + 2] = [merge(groups[at], groups[at + 1])]
    assert groups == [one_by_one]


def test_a_record_of_a_table_with_other_names_has_ours() -> None:
    tables = mapped({"jobs": {"table": "tasks", "columns": {"title": "name"}}})
    row = {"id": 7, "name": "Manuals", "status": "running"}
    read = from_record({**RECORD, "table_name": "tasks", "row_id": "7", "changed": ["name"], "row": row}, tables)
    assert (read.identity, read.changed) == (("jobs", "7"), {"title"})
    assert read.row is not None
    assert (read.row["id"], read.row["title"]) == ("7", "Manuals")
    gone = from_record({**RECORD, "table_name": "tasks", "op": "D", "row": None}, tables)
    assert (gone.table, gone.row) == ("jobs", None)
