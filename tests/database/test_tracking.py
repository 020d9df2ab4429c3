"""Taking tables into a feed, and out again."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from psycopg import Error, errors

from .conftest import TRACK, Connection, one


def complaint(db: Connection, query: str) -> str:
    with pytest.raises(Error) as caught:
        db.execute(query)
    hint = caught.value.diag.message_hint
    return f"{caught.value.diag.message_primary}{f' | {hint}' if hint else ''}"


@pytest.mark.parametrize(
    ("table", "call", "message"),
    [
        (
            "id uuid, k uuid",
            "'t', 'f', 'k'",
            "t can't be tracked: it has no primary key | A change is told by the row's primary key, of one column.",
        ),
        (
            "a int, b int, k uuid, primary key (a, b)",
            "'t', 'f', 'k'",
            (
                "t can't be tracked: its primary key has 2 columns (a, b) | "
                "Give it a primary key of one column, and make the present one a unique constraint."
            ),
        ),
        ("id int primary key, k text", "'t', 'f', 'k'", "t.k can't be the key: it is text, and must be uuid"),
        ("id int primary key, k uuid", "'t', 'f', 'nope'", "t has no column nope to be the key"),
        ("id int primary key, k uuid", "'t', 'f', 'k', '{a,b}'", "t has no column a, b to be excepted"),
        (
            "id int primary key, k uuid",
            "'t', 'f', 'k', '{id}'",
            "t: neither the key (k) nor the primary key (id) can be excepted",
        ),
        (
            "id int primary key, k uuid",
            "'t', 'f', 'k', '{k}'",
            "t: neither the key (k) nor the primary key (id) can be excepted",
        ),
        (
            "id int primary key, k uuid",
            "'t', 'My Feed', 'k'",
            (
                "rowcast.track: feed must be a lower-case word of at most 40 letters, digits and underscores, "
                "not 'My Feed'"
            ),
        ),
        (
            "id int primary key, k uuid",
            "'t', null, 'k'",
            "rowcast.track: tbl, feed, key_column and except_columns must not be NULL",
        ),
        (
            "id int primary key, k uuid",
            "'t', 'f', 'k', null",
            "rowcast.track: tbl, feed, key_column and except_columns must not be NULL",
        ),
        (
            "id int primary key, k uuid",
            "'public.feed_changes', 'f', 'key'",
            "feed_changes can't be tracked: it is the change log itself",
        ),
        ("id int primary key, k uuid", "'t_pkey', 'f', 'k'", "t_pkey can't be tracked: it is no ordinary table"),
        (
            "id int primary key, k uuid",
            "'jobs', 'other', 'project_id'",
            (
                "jobs is tracked already, in feed project | A table is in one feed. "
                "To change how it is tracked: rowcast.untrack('jobs') first."
            ),
        ),
    ],
)
def test_what_cannot_be_tracked_is_told_up_front(db: Connection, table: str, call: str, message: str) -> None:
    db.execute(f"create table t ({table})")
    assert complaint(db, f"select rowcast.track({call})").replace("public.", "") == message
    assert one(db, "select count(*) from rowcast.feeds where feed = 'f'") == 0


@pytest.mark.parametrize(
    ("definition", "name", "message"),
    [
        (
            "create table p (id uuid primary key, k uuid) partition by hash (id)",
            "p",
            "it is a partitioned table or a partition of one",
        ),
        (
            (
                "create table p (id uuid primary key, k uuid) partition by hash (id); "
                "create table q partition of p for values with (modulus 1, remainder 0)"
            ),
            "q",
            "it is a partitioned table or a partition of one",
        ),
        (
            "create table p (id uuid primary key, k uuid); create table q () inherits (p)",
            "p",
            "it takes part in inheritance",
        ),
        ("create view p as select 1 as id", "p", "it is no ordinary table"),
        ("create temp table p (id uuid primary key, k uuid)", "p", "it is no ordinary table"),
    ],
)
def test_only_ordinary_tables_can_be_tracked(db: Connection, definition: str, name: str, message: str) -> None:
    db.execute(definition)
    assert complaint(db, f"select rowcast.track('{name}', 'f', 'k')").endswith(f"{name} can't be tracked: {message}")


def test_a_table_with_odd_names_is_tracked(db: Connection) -> None:
    db.execute('create schema "Odd schema"')
    db.execute("""create table "Odd schema"."My 'Table'%s" ("Row Id" text primary key, "Project's" uuid, "a,b" int)""")
    db.execute("""select rowcast.track('"Odd schema"."My ''Table''%s"', 'odd', 'Project''s', '{"a,b"}')""")
    key = uuid4()
    db.execute("""insert into "Odd schema"."My 'Table'%%s" values ('r', %s, 3)""", [key])
    told = db.execute("select key, table_name, row_id, row from feed_changes").fetchall()
    assert told == [(key, "My 'Table'%s", "r", {"Row Id": "r", "Project's": str(key)})]
    db.execute("""select rowcast.untrack('"Odd schema"."My ''Table''%s"')""")


def test_what_is_tracked_can_be_looked_up(db: Connection) -> None:
    told = db.execute(
        "select table_name::text, feed, key_column, except_columns from rowcast.tracked order by feed, 1"
    ).fetchall()
    assert told == [
        (
            "boms",
            "enrichment",
            "id",
            [
                "total_items",
                "enriched_items",
                "failed_items",
                "not_found_items",
                "current_stage",
                "current_batch",
                "total_batches",
                "updated_at",
            ],
        ),
        ("enrichment_events", "enrichment", "bom_id", []),
        ("ingestion_sources", "project", "project_id", []),
        ("jobs", "project", "project_id", ["heartbeat_at", "lease_until", "payload", "checkpoint", "progress_number"]),
        ("project_members", "project", "project_id", []),
        ("proposed_nodes", "project", "project_id", []),
    ]


def test_untrack_leaves_nothing_behind_and_tells_readers_to_reset(things: Connection) -> None:
    leftovers = (
        "select (select count(*) from pg_trigger where tgrelid = 'things'::regclass and not tgisinternal), "
        "(select count(*) from pg_proc where pronamespace = 'rowcast'::regnamespace and proname like '%_things_%')"
    )
    assert things.execute(leftovers).fetchone() == (3, 2)
    floor = one(things, "select floor from rowcast.feeds where feed = 'project'")
    things.execute("select rowcast.untrack('things')")
    assert things.execute(leftovers).fetchone() == (0, 0)
    assert one(things, "select floor > %s from rowcast.feeds where feed = 'project'", floor)
    things.execute("insert into things (project_id) values (gen_random_uuid())")
    things.execute("truncate things")
    assert one(things, "select count(*) from feed_changes") == 0
    things.execute(TRACK.format(name="things"))
    things.execute("insert into things (project_id) values (gen_random_uuid())")
    assert one(things, "select count(*) from feed_changes") == 1


def test_untrack_of_an_untracked_table_says_so(things: Connection) -> None:
    assert complaint(things, "select rowcast.untrack('plain_things')") == (
        "public.plain_things is not tracked | select * from rowcast.tracked lists the tracked tables."
    )


def test_a_table_made_anew_under_its_old_name_can_be_tracked(things: Connection) -> None:
    things.execute("drop table things")
    things.execute("create table things (id uuid primary key, project_id uuid, secret text)")
    things.execute(TRACK.format(name="things"))


def test_track_that_waits_for_its_table_holds_nobody_up(things: Connection, connect: Callable[[], Connection]) -> None:
    busy, operator = connect(), connect()
    busy.execute("insert into plain_things default values")
    things.execute("set lock_timeout = '1ms'")
    with ThreadPoolExecutor(1) as pool:
        tracking = pool.submit(operator.execute, TRACK.format(name="plain_things"))
        while not one(things, "select exists (select from pg_locks where locktype = 'relation' and not granted)"):
            assert not tracking.done()
        things.execute("insert into things (project_id) values (gen_random_uuid())")
        busy.execute("insert into things (project_id) values (gen_random_uuid())")
        busy.commit()
        tracking.result()
        operator.commit()


def test_restart_waits_for_the_commits_under_way(things: Connection, connect: Callable[[], Connection]) -> None:
    with pytest.raises(errors.NoDataFound, match="there is no feed 'nope'"):
        things.execute("select rowcast.restart('nope')")
    key = uuid4()
    writer, operator = connect(), connect()
    writer.execute("set constraints all immediate")
    writer.execute("insert into things (project_id) values (%s)", [key])
    with ThreadPoolExecutor(1) as pool:
        restarting = pool.submit(one, operator, "select rowcast.restart('project')")
        while not one(things, "select exists (select from pg_locks where locktype = 'advisory' and not granted)"):
            assert not restarting.done()
        writer.commit()
        floor = restarting.result()
        operator.commit()
    assert one(things, "select revision < %s from feed_changes where key = %s", floor, key) is True
