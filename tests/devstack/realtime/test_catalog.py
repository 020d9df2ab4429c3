"""What the stand-in asks of PostgreSQL, asked of PostgreSQL; filters that are refused are in test_dispatch.py."""

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from devstack.realtime.bindings import parse
from devstack.realtime.catalog import Catalog, Question, RefusedError, Table, Type
from devstack.realtime.database import Database
from devstack.realtime.pgoutput import Column, Relation

SERVICE = {"role": "service_role"}
P1, P2 = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
NUMERIC, TEXTS = Type("numeric", "numeric"), Type("_text", "text[]")


@pytest.fixture
def sql(things: str) -> Any:
    with psycopg.connect(things, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def catalog(things: str) -> AsyncIterator[Catalog]:
    database = Database(things)
    yield Catalog(database, "supabase_realtime")
    await database.close()


def relation(sql: psycopg.Connection, name: str = "rowcast_test_things") -> Relation:
    """As the stream would describe a table."""
    oid = sql.execute("select %s::regclass::oid", [name]).fetchone()
    columns = sql.execute(
        "select attname::text, atttypid from pg_attribute where attrelid = %s::regclass and attnum > 0"
        " and not attisdropped order by attnum", [name]
    ).fetchall()  # fmt: skip
    assert oid
    return Relation(oid[0], "public", name, "d", tuple(Column(*column, identity=False) for column in columns))


async def described(catalog: Catalog, of: Relation) -> Table:
    table = await catalog.table(of)
    assert table is not None
    return table


async def test_finds_its_publication_and_the_tables_of_it(catalog: Catalog, sql: psycopg.Connection) -> None:
    things = relation(sql).oid
    assert await catalog.check_publication()
    assert things in await catalog.published()
    sql.execute("alter publication supabase_realtime drop table rowcast_test_things")
    assert things not in await catalog.published()
    sql.execute("alter publication supabase_realtime add table rowcast_test_things")
    other = Catalog(catalog._database, "other")
    assert not await other.check_publication()
    assert await other.published() == frozenset()


async def test_describes_a_table(catalog: Catalog, sql: psycopg.Connection) -> None:
    table = await described(catalog, relation(sql))
    assert (table.rls, table.primary_key) == (True, {"id"})
    assert table.columns == (("id", "int4"), ("project", "uuid"), ("title", "text"), ("amount", "numeric"))
    assert table.types["amount"] == NUMERIC
    sql.execute("create table keyless (a int)")
    keyless = await described(catalog, relation(sql, "keyless"))
    assert (keyless.rls, keyless.primary_key) == (False, frozenset())


async def test_a_table_that_is_gone_is_none(catalog: Catalog, sql: psycopg.Connection) -> None:
    sql.execute("create table gone (id int primary key)")
    gone = relation(sql, "gone")
    sql.execute("drop table gone")
    assert await catalog.table(gone) is None


async def test_grants_are_asked_once_a_role(catalog: Catalog, sql: psycopg.Connection) -> None:
    sql.execute("revoke all on rowcast_test_things from anon")
    sql.execute("grant select (id, title) on rowcast_test_things to anon")
    table = await described(catalog, relation(sql))
    assert await catalog.selectable(table, "anon") == {"id", "title"}
    assert await catalog.selectable(table, "service_role") == {"id", "project", "title", "amount"}
    sql.execute("revoke select (title) on rowcast_test_things from anon")
    assert await catalog.selectable(table, "anon") == {"id", "title"}
    again = await described(catalog, relation(sql))
    assert await catalog.selectable(again, "anon") == {"id"}


async def test_a_wildcard_covers_every_published_table(catalog: Catalog, sql: psycopg.Connection) -> None:
    sql.execute("create table more (id int primary key); alter publication supabase_realtime add table more")
    covered = {each.table_oid for each in await catalog.resolve([parse({"schema": "public", "table": "*"})], SERVICE)}
    assert covered == await catalog.published()
    [only] = await catalog.resolve([parse({"schema": "public", "table": "more"})], SERVICE)
    assert (only.table_oid, only.conditions) == (relation(sql, "more").oid, ())


async def test_names_are_taken_as_they_are(catalog: Catalog, sql: psycopg.Connection) -> None:
    sql.execute('create table "Odd.N%me" (id int primary key)')
    sql.execute('alter publication supabase_realtime add table "Odd.N%me"')
    [resolved] = await catalog.resolve([parse({"schema": "public", "table": "Odd.N%me"})], SERVICE)
    assert resolved.table_oid == sql.execute("""select '"Odd.N%%me"'::regclass::oid""", []).fetchone()[0]  # type: ignore[index]


async def test_a_table_that_is_not_published_is_refused(catalog: Catalog) -> None:
    with pytest.raises(RefusedError, match=r"Please check Realtime is enabled .*table: nosuch, filters: \[\]"):
        await catalog.resolve([parse({"schema": "public", "table": "nosuch"})], SERVICE)


async def test_a_filters_value_is_written_as_the_stream_writes_it(catalog: Catalog) -> None:
    binding = parse({"schema": "public", "table": "rowcast_test_things", "filter": f"project=eq.{P1.upper()}"})
    [resolved] = await catalog.resolve([binding], SERVICE)
    [condition] = resolved.conditions
    assert condition.value == P1
    assert condition.test is not None
    assert (condition.test(P1), condition.test(P2), condition.test(None)) == (True, False, False)


async def test_a_column_that_the_role_may_not_select_can_not_be_filtered_or_selected(
    catalog: Catalog, sql: psycopg.Connection
) -> None:
    sql.execute("revoke all on rowcast_test_things from anon; grant select (id) on rowcast_test_things to anon")
    table = {"schema": "public", "table": "rowcast_test_things"}
    with pytest.raises(RefusedError, match="invalid column for filter title"):
        await catalog.resolve([parse(table | {"filter": "title=eq.a"})], {"role": "anon"})
    with pytest.raises(RefusedError, match="invalid column for select title"):
        await catalog.resolve([parse(table | {"select": ["id", "title"]})], {"role": "anon"})


async def test_questions_are_answered_together_and_null_is_no(catalog: Catalog) -> None:
    same = "%s::text::numeric = %s::text::numeric"
    questions = [Question(same, ("1.0", "1")), Question(same, ("1", "2")), Question(same, (None, "1"))]
    assert await catalog.answers(questions) == [True, False, False]
    assert await catalog.answers([]) == []


async def test_casts_are_postgresqls(catalog: Catalog) -> None:
    assert await catalog.casts([(TEXTS, '{a,"b c",NULL}'), (NUMERIC, "1.50")]) == ['["a", "b c", null]', "1.50"]
    assert await catalog.casts([]) == []


async def test_rows_are_visible_as_policies_say(catalog: Catalog, sql: psycopg.Connection) -> None:
    sql.execute("insert into rowcast_test_things values (1, %s), (2, %s)", [P1, P2])
    table = await described(catalog, relation(sql))
    keys = [("1",), ("2",), ("3",)]
    mine = {"role": "authenticated", "sub": P2}
    assert (await catalog.visible(table, mine, keys, ["id"]))[0] == {1}
    assert (await catalog.visible(table, SERVICE, keys, ["id"]))[0] == {0, 1}
    quoted = {"role": "authenticated", "sub": P2, "name": "O'Brien \\ %s"}
    seen, snapshot = await catalog.visible(table, quoted, keys, ["id"])
    assert seen == {1}
    assert snapshot.count(":") == 2


async def test_the_role_is_put_back(catalog: Catalog, sql: psycopg.Connection) -> None:
    table = await described(catalog, relation(sql))
    await catalog.visible(table, {"role": "authenticated", "sub": P1}, [("1",)], ["id"])
    query = "select current_user, current_setting('request.jwt.claims', true)"
    [[user, claims]] = await catalog._database.rows(query)
    assert (user, claims or "") == ("postgres", "")


async def test_keys_of_several_columns(catalog: Catalog, sql: psycopg.Connection) -> None:
    odd = """it's {a, "b"} \\ %s"""
    sql.execute("create table pairs (a int, b text, primary key (a, b)); grant select on pairs to anon")
    sql.execute("insert into pairs values (1, 'x'), (2, %s)", [odd])
    table = await described(catalog, relation(sql, "pairs"))
    assert table.primary_key == {"a", "b"}
    seen, _ = await catalog.visible(table, {"role": "anon"}, [("1", "x"), ("1", "y"), ("2", odd)], ["a", "b"])
    assert seen == {0, 2}
