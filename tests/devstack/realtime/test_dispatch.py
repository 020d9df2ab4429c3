"""What only PostgreSQL can tell about a change, and the order and bounds of handing changes on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from devstack.realtime import dispatch
from devstack.realtime.bindings import parse
from devstack.realtime.catalog import Catalog, RefusedError
from devstack.realtime.database import Database
from devstack.realtime.dispatch import Dispatcher
from devstack.realtime.pgoutput import Begin, Column, Insert, Relation

SERVICE = {"role": "service_role"}


class Ear:
    """A subscriber that keeps what it hears."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def deliver(self, data: str, ids: str) -> None:
        self.frames.put_nowait((data, ids))


class Flow:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")


@pytest.fixture
async def catalog(things: str) -> AsyncIterator[Catalog]:
    database = Database(things)
    yield Catalog(database, "supabase_realtime")
    await database.close()


@pytest.fixture
def relation(things: str) -> Relation:
    with psycopg.connect(things) as connection:
        row = connection.execute("select 'rowcast_test_things'::regclass::oid").fetchone()
    assert row
    columns = (Column("id", 23, identity=True), Column("project", 2950, identity=False))
    more = (Column("title", 25, identity=False), Column("amount", 1700, identity=False))
    return Relation(row[0], "public", "rowcast_test_things", "d", columns + more)


def binding(filter_: str) -> Any:
    return parse({"table": "rowcast_test_things", "schema": "public", "filter": filter_})


@pytest.mark.parametrize(
    ("filter_", "heard"),
    [
        ("title=like.a%", ["1"]),
        ("title=not.ilike.A%", ["2"]),
        ("title=match.^b", ["2"]),
        ("amount=eq.1.50", ["1"]),
        ("amount=gt.2", ["2"]),
        ("amount=in.(1.500,7)", ["1"]),
        ("title=lt.b,amount=isdistinct.9", ["1"]),
        ("title=is.null", ["3"]),
        ("amount=not.is.null", ["1", "2"]),
    ],
)
async def test_filters_that_postgresql_evaluates(
    catalog: Catalog, relation: Relation, filter_: str, heard: list[str]
) -> None:
    dispatcher, ear = Dispatcher(catalog), Ear()
    # Row security off: what is under test are the filters, on rows that are not in the table.
    table = await catalog.table(relation)
    assert table
    dispatcher.subscribe(ear, SERVICE, await catalog.resolve([binding(filter_)], SERVICE))
    await catalog._database.rows("alter table rowcast_test_things disable row level security")
    task = asyncio.create_task(dispatcher.run())
    dispatcher.receive(relation)
    dispatcher.receive(Begin(0, 0, 0))
    for row in (("1", None, "abc", "1.5"), ("2", None, "bcd", "3"), ("3", None, None, None)):
        dispatcher.receive(Insert(relation.oid, row))
    got = [(await asyncio.wait_for(ear.frames.get(), 10))[0] for _ in heard]
    assert [frame.split('"id": ')[1].split(",")[0] for frame in got] == heard
    assert ear.frames.empty()
    task.cancel()


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        ("nosuch=eq.1", "ERROR P0001 (raise_exception) invalid column for filter nosuch"),
        ("id=eq.x", 'ERROR 22P02 (invalid_text_representation) invalid input syntax for type integer: "x"'),
        ("id=like.1%", "operator like requires a text-compatible column type, got integer"),
        ("title=match.(", "invalid regular expression for match filter"),
        ("title=is.true", "is true filter requires a boolean column, got text"),
        ("title=is.maybe", "invalid value for is filter: must be null, true, false, or unknown"),
        (f"id=in.({','.join(map(str, range(101)))})", "too many values for `in` filter. Maximum 100"),
    ],
)
async def test_filters_that_do_not_fit_are_refused(catalog: Catalog, filter_: str, message: str) -> None:
    with pytest.raises(RefusedError) as error:
        await catalog.resolve([binding(filter_)], SERVICE)
    assert message in str(error.value)


async def test_an_unknown_role_is_refused(catalog: Catalog) -> None:
    with pytest.raises(RefusedError, match=r"42704 \(undefined_object\)"):
        await catalog.resolve([binding("")], {"role": "nobody_at_all"})


async def test_a_row_that_is_gone_is_not_told_with_row_security(catalog: Catalog, relation: Relation) -> None:
    dispatcher, ear = Dispatcher(catalog), Ear()
    dispatcher.subscribe(ear, SERVICE, await catalog.resolve([binding("")], SERVICE))
    await catalog._database.rows("insert into rowcast_test_things values (2)")
    task = asyncio.create_task(dispatcher.run())
    dispatcher.receive(relation)
    for number in ("1", "2"):
        dispatcher.receive(Insert(relation.oid, (number, None, None, None)))
    data, _ = await asyncio.wait_for(ear.frames.get(), 10)
    assert '"id": 2' in data
    task.cancel()


async def test_who_has_left_hears_nothing_more_and_who_subscribed_anew_misses_nothing(
    catalog: Catalog, relation: Relation
) -> None:
    dispatcher, gone, renewed = Dispatcher(catalog), Ear(), Ear()
    bindings = await catalog.resolve([binding("")], SERVICE)
    for ear in (gone, renewed):
        dispatcher.subscribe(ear, SERVICE, bindings)
    await catalog._database.rows("insert into rowcast_test_things values (1)")
    asking, go_on, visible = asyncio.Event(), asyncio.Event(), catalog.visible

    async def asked(*arguments: Any) -> Any:
        asking.set()
        await go_on.wait()
        return await visible(*arguments)

    catalog.visible = asked  # type: ignore[method-assign]
    task = asyncio.create_task(dispatcher.run())
    dispatcher.receive(relation)
    dispatcher.receive(Insert(relation.oid, ("1", None, None, None)))
    await asyncio.wait_for(asking.wait(), 10)
    dispatcher.unsubscribe(gone)
    dispatcher.subscribe(renewed, SERVICE | {"sub": "somebody"}, bindings)
    go_on.set()
    assert '"id": 1' in (await asyncio.wait_for(renewed.frames.get(), 10))[0]
    assert gone.frames.empty()
    task.cancel()


async def test_the_stream_is_held_while_the_backlog_is_full(
    catalog: Catalog, relation: Relation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_BACKLOG", 3)
    dispatcher, ear, flow = Dispatcher(catalog), Ear(), Flow()
    dispatcher.flow = flow
    dispatcher.subscribe(ear, SERVICE, await catalog.resolve([binding("")], SERVICE))
    await catalog._database.rows("insert into rowcast_test_things select generate_series(1, 3)")
    dispatcher.receive(relation)
    for number in "123":
        assert flow.calls == []
        dispatcher.receive(Insert(relation.oid, (number, None, None, None)))
    assert flow.calls == ["pause"]
    task = asyncio.create_task(dispatcher.run())
    for _ in range(3):
        await asyncio.wait_for(ear.frames.get(), 10)
    assert flow.calls == ["pause", "resume"]
    task.cancel()


@pytest.mark.parametrize(
    ("xid", "snapshot", "running"),
    [
        (5, "5:7:5,6", True),
        (6, "5:8:5", False),
        (7, "5:7:", True),
        (4, "5:7:", False),
        (2, "4294967290:4294967300:4294967298", True),
        (0xFFFFFFF0, "4294967297:4294967299:", False),
    ],
)
def test_knows_a_transaction_that_a_snapshot_could_not_see(xid: int, snapshot: str, *, running: bool) -> None:
    assert dispatch._still_running(xid, snapshot) is running
