"""Reading tables page by page, against a database in memory that gives what PostgREST would."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.changes import rows as module
from service.changes.change import FeedKey, Reader
from service.changes.rows import Rows
from service.errors import DatabaseRefused, DatabaseUnavailable, Refused
from service.tables import OPTIONAL, REQUIRED, STANDARD, Tables, mapped

KEY = FeedKey("project", "11111111-1111-4111-8111-111111111111")
AT = "2026-11-21T12:00:00+00:00"
EVERYTHING = {name: [*REQUIRED[name], *OPTIONAL[name]] for name in REQUIRED}


class Database:
    """Tables by name: their columns, and their rows. Gives at most ``max_rows`` at once."""

    def __init__(self, columns: Mapping[str, list[str]] = EVERYTHING, max_rows: int = 1000) -> None:
        self.columns = {name: list(names) for name, names in columns.items()}
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in columns}
        self.max_rows = max_rows
        self.asked: list[tuple[str, Mapping[str, str], Reader | None]] = []
        self.answer: Any = None

    def add(self, table: str, number: int, **columns: Any) -> None:
        row = dict.fromkeys(self.columns[table]) | {"id": f"{number:04}", "project_id": KEY.key, "created_at": AT}
        self.rows[table].append({**row, **columns})

    async def ask(self, table: str, parameters: Mapping[str, str], reader: Reader | None) -> Any:
        self.asked.append((table, parameters, reader))
        if self.answer is not None:
            return self.answer
        if table not in self.columns:
            raise Refused("no such table", 404, "PGRST205")
        wanted = parameters["select"].split(",")
        if missing := [name for name in wanted if name not in self.columns[table]]:
            raise Refused(f"no column {missing[0]}", 400, "42703")
        limit = min(int(parameters["limit"]), self.max_rows)
        after = parameters.get("id", "gt.").removeprefix("gt.")
        rows = [row for row in self.rows[table] if not after or (row["id"] or "") > after]
        found = sorted(rows, key=lambda row: (row["id"] is None, row["id"]))
        return [{name: row[name] for name in wanted} for row in found[:limit]]


def reading(database: Database, tables: Tables = STANDARD) -> Rows:
    return Rows(database.ask, tables)


@given(st.lists(st.integers(0, 60), unique=True), st.lists(st.integers(0, 60), unique=True), st.integers(1, 20))
async def test_every_row_is_read_once_however_few_come_at_once(
    jobs: list[int], proposals: list[int], max_rows: int
) -> None:
    database = Database(max_rows=max_rows)
    for number in jobs:
        database.add("jobs", number)
    for number in proposals:
        database.add("proposed_nodes", number)
    rows = reading(database)
    for _ in range(2):  # the second time it is known how much comes at once
        state = await rows.read(KEY)
        assert sorted(state["jobs"]) == sorted(f"{number:04}" for number in jobs)
        assert sorted(state["proposed_nodes"]) == sorted(f"{number:04}" for number in proposals)


async def test_a_row_that_goes_while_pages_are_read_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    database = Database()
    for number in range(6):
        database.add("jobs", number)
    ask = database.ask

    async def ask_and_delete(table: str, parameters: Mapping[str, str], reader: Reader | None) -> Any:
        page = await ask(table, parameters, reader)
        if table == "jobs" and parameters.get("id") == "gt.0001":
            database.rows["jobs"] = [row for row in database.rows["jobs"] if row["id"] != "0000"]
        return page

    state = await Rows(ask_and_delete, STANDARD).read(KEY)
    assert set(state["jobs"]) >= {"0001", "0002", "0003", "0004", "0005"}


async def test_the_oldest_comes_first_and_nothing_but_what_the_feed_tells_of() -> None:
    database = Database({**EVERYTHING, "jobs": [*EVERYTHING["jobs"], "payload"]})
    database.add("jobs", 1, created_at="2026-11-21T13:00:00+00:00", payload="secret")
    database.add("jobs", 2)
    state = await reading(database).read(KEY)
    assert list(state["jobs"]) == ["0002", "0001"]
    assert "payload" not in state["jobs"]["0001"]


async def test_rows_without_an_id_are_nobodys() -> None:
    database = Database(max_rows=2)
    for number in range(3):
        database.add("jobs", number)
    for _ in range(2):
        database.add("jobs", 9, id=None)
    assert set((await reading(database).read(KEY))["jobs"]) == {"0000", "0001", "0002"}


async def test_times_that_are_none_take_no_row_with_them() -> None:
    database = Database()
    for number, at in enumerate((1795304368, None, AT)):
        database.add("jobs", number, created_at=at)
    assert set((await reading(database).read(KEY))["jobs"]) == {"0000", "0001", "0002"}


async def test_rows_are_asked_for_as_the_keys_reader() -> None:
    database = Database()
    reader = Reader("a token")
    await reading(database).read(FeedKey("project", KEY.key, reader))
    asked = {asker for _, parameters, asker in database.asked if "order" in parameters}
    assert asked == {reader}
    assert {asker for _, parameters, asker in database.asked if "order" not in parameters} == {None}


async def test_columns_that_are_not_there_are_not_asked_for_and_told_all_the_same() -> None:
    database = Database({name: list(REQUIRED[name]) for name in REQUIRED})
    database.add("jobs", 1, title="T", status="running")
    rows = reading(database)
    await rows.check()
    state = await rows.read(KEY)
    assert state["jobs"]["0001"]["kind"] == "job"


async def test_mapped_names_are_asked_for() -> None:
    tables = mapped({"jobs": {"table": "tasks", "columns": {"title": "name"}}})
    columns = ["name" if name == "title" else name for name in EVERYTHING["jobs"]]
    database = Database({"tasks": columns, **{name: EVERYTHING[name] for name in EVERYTHING if name != "jobs"}})
    database.add("tasks", 1, name="N")
    assert (await reading(database, tables).read(KEY))["jobs"]["0001"]["title"] == "N"


async def test_a_column_that_comes_to_be_missing_is_noticed() -> None:
    database = Database()
    rows = reading(database)
    await rows.read(KEY)
    database.columns["jobs"].remove("kind")
    with pytest.raises(Refused):
        await rows.read(KEY)
    await rows.read(KEY)


async def test_all_that_is_missing_is_named_with_what_would_help() -> None:
    database = Database({name: [column for column in EVERYTHING[name] if column != "title"] for name in EVERYTHING})
    del database.columns["ingestion_sources"]
    with pytest.raises(DatabaseRefused) as raised:
        await reading(database).check()
    assert str(raised.value).split("; ") == [
        f"{seen} (if it has another name, say so in ROWCAST_TABLES, under [{name}])"
        for seen, name in (
            ("there is no table ingestion_sources", "ingestion_sources"),
            ("the table jobs has no column title", "jobs"),
            ("the table proposed_nodes has no column title", "proposed_nodes"),
        )
    ]


async def test_a_key_that_is_no_uuid_is_named() -> None:
    async def ask(table: str, parameters: Mapping[str, str], reader: Reader | None) -> Any:
        if table == "jobs" and "project_id" in parameters:
            raise Refused("invalid input syntax for type bigint", 400, "22P02")
        return []

    with pytest.raises(DatabaseRefused, match=r"^jobs\.project_id must be a uuid$"):
        await Rows(ask, STANDARD).check()


@pytest.mark.parametrize("answer", [{"message": "hello"}, "<html>", [1]])
async def test_what_is_no_answer_of_the_database_is_none(answer: Any) -> None:
    database = Database()
    rows = reading(database)
    await rows.check()
    database.answer = answer
    with pytest.raises(DatabaseUnavailable, match="not an answer of the database"):
        await rows.read(KEY)
