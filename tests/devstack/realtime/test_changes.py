"""The `data` of a frame; whole recorded frames are in ../test_transcripts.py."""

import json
from typing import Any

from devstack.realtime.catalog import Table, Type
from devstack.realtime.changes import Row, read, render, timestamp, to_sides
from devstack.realtime.pgoutput import UNCHANGED, Column, Delete, Insert, Relation, Update

TYPES = {"id": Type("int4", "integer"), "t": Type("text", "text"), "tags": Type("mood", "mood")}
AT = 1_795_262_371_801_999


def table(identity: str = "d", *, rls: bool = False, key: frozenset[str] = frozenset({"id"})) -> Table:
    columns = tuple(Column(name, 0, identity=identity == "f" or name in key) for name in TYPES)
    relation = Relation(1, "public", "jobs", identity, columns)
    return Table(relation, rls, key, tuple((name, type_.name) for name, type_ in TYPES.items()), TYPES)


def data(of: Table, change: Any, *, selectable: tuple[str, ...] = ("id", "t", "tags"), select: Any = None) -> Any:
    row = read(of.relation, change, AT, 1)
    sides = to_sides(row, of)
    sides.fill({value: '["cast"]' for _, _, value in sides.odd})
    return json.loads(render(row, of, sides, frozenset(selectable), select))


def test_an_insert() -> None:
    assert data(table(), Insert(1, ("7", None, "{a}"))) == {
        "table": "jobs",
        "type": "INSERT",
        "record": {"id": 7, "t": None, "tags": ["cast"]},
        "columns": [{"name": "id", "type": "int4"}, {"name": "t", "type": "text"}, {"name": "tags", "type": "mood"}],
        "errors": None,
        "schema": "public",
        "commit_timestamp": "2026-11-21T11:59:31.801Z",
    }


def test_the_identity_of_an_update_that_left_it_alone_is_the_new_rows() -> None:
    assert data(table(), Update(1, None, ("7", "x", None)))["old_record"] == {"id": 7}
    assert data(table(), Update(1, ("6", None, None), ("7", "x", None)))["old_record"] == {"id": 6}


def test_an_unchanged_value_is_missing_unless_the_identity_has_it() -> None:
    assert "t" not in data(table(), Update(1, None, ("7", UNCHANGED, None)))["record"]
    full = data(table("f"), Update(1, ("7", "long", None), ("7", UNCHANGED, None)))
    assert full["record"]["t"] == full["old_record"]["t"] == "long"


def test_row_security_cuts_what_was_deleted_to_the_key() -> None:
    deleted = Delete(1, ("7", "x", None))
    assert data(table("f"), deleted)["old_record"] == {"id": 7, "t": "x", "tags": None}
    assert data(table("f", rls=True), deleted)["old_record"] == {"id": 7}


def test_a_selection_always_has_the_key_and_never_what_the_role_may_not_see() -> None:
    frame = data(table(), Insert(1, ("7", "x", None)), selectable=("id", "t"), select=("t", "tags"))
    assert frame["record"] == {"id": 7, "t": "x"}
    assert data(table(), Insert(1, ("7", "x", None)), select=())["record"] == {"id": 7}


def test_errors_show_no_values() -> None:
    assert data(table(key=frozenset()), Insert(1, ("7", "x", None)))["errors"] == [
        "Error 400: Bad Request, no primary key"
    ]
    refused = data(table(), Insert(1, ("7", "x", None)), selectable=("t",))
    assert (refused["errors"], refused["record"], refused["commit_timestamp"]) == (
        ["Error 401: Unauthorized"],
        {},
        None,
    )


def test_over_a_mebibyte_only_small_values_are_shown() -> None:
    frame = data(table(), Insert(1, ("7", "x" * 1_100_000, None)))
    assert (frame["record"], frame["errors"]) == ({"id": 7}, ["Error 413: Payload Too Large"])
    assert data(table(), Insert(1, ("7", "x" * 1_000_000, None)))["errors"] is None


def test_a_time_is_cut_to_milliseconds() -> None:
    assert timestamp(1_999) == "1970-01-01T00:00:00.001Z"
    assert isinstance(read(table().relation, Delete(1, ("1", None, None)), AT, 1), Row)
