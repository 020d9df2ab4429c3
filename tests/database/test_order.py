"""Numbers, links and locks under concurrency, judged by the replication stream."""

import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors
from psycopg.types.json import Json

from .conftest import Connection, Judge, one

WRITERS = 8
TRANSACTIONS = 80


class Writer:
    """One connection that works on rows of its own, of keys it shares with all others, in random order.

    No two writers ever want the same row, so untracked this work can't deadlock, whatever the order.
    """

    def __init__(self, connection: Connection, table: str, keys: list[UUID], seed: int) -> None:
        self.connection = connection
        self.table = table
        self.keys = keys
        self.random = random.Random(seed)
        self.rows: list[UUID] = []
        self.deadlocks = 0

    def work(self) -> None:
        for _ in range(TRANSACTIONS):
            before = list(self.rows)
            try:
                self.transaction()
            except errors.DeadlockDetected:
                self.deadlocks += 1
                self.connection.rollback()
                self.rows = before

    def transaction(self) -> None:
        kind = self.random.random()
        if kind < 0.1:
            self.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        before = list(self.rows)
        for _ in range(self.random.randint(1, 6)):
            self.step()
        if kind > 0.9:
            self.connection.rollback()
            self.rows = before
        else:
            self.connection.commit()
        self.connection.isolation_level = None

    def step(self) -> None:
        actions = [
            self.insert,
            self.insert_many,
            self.update,
            self.update_many,
            self.move,
            self.delete,
            self.upsert,
            self.undone,
        ]
        self.random.choices(actions, weights=[4, 2, 8, 4, 2, 1, 2, 2])[0]()

    def execute(self, query: str, *parameters: object) -> None:
        self.connection.execute(query.replace("things", self.table), parameters)

    def some(self, most: int) -> list[UUID]:
        return self.random.sample(self.rows, min(len(self.rows), self.random.randint(1, most)))

    def insert(self) -> None:
        self.rows.append(uuid4())
        self.execute(
            "insert into things (id, project_id) values (%s, %s)", self.rows[-1], self.random.choice(self.keys)
        )

    def insert_many(self) -> None:
        # Now and then more keys than are locked one by one.
        count = 300 if self.random.random() < 0.1 else self.random.randint(2, 12)
        rows = [uuid4() for _ in range(count)]
        keys = [self.random.choice(self.keys) if n % 2 else uuid4() for n in range(count)]
        self.execute("insert into things (id, project_id) select * from unnest(%s::uuid[], %s::uuid[])", rows, keys)
        self.rows += rows[:12]

    def update(self) -> None:
        for row in self.some(1):
            self.execute("update things set n = n + %s where id = %s", self.random.choice([0, 1]), row)

    def update_many(self) -> None:
        self.execute("update things set n = n + 1, secret = 'x' where id = any(%s)", self.some(12))

    def move(self) -> None:
        for row in self.some(1):
            key = self.random.choice([*self.keys, None])
            self.execute("update things set project_id = %s where id = %s", key, row)

    def delete(self) -> None:
        gone = self.some(2)
        self.execute("delete from things where id = any(%s)", gone)
        self.rows = [row for row in self.rows if row not in gone]

    def upsert(self) -> None:
        rows = {*self.some(2), uuid4()}
        self.execute(
            "insert into things (id, project_id, n) select id, %s, 1 from unnest(%s::uuid[]) id "
            "on conflict (id) do update set n = things.n + 1, project_id = excluded.project_id",
            self.random.choice(self.keys),
            list(rows),
        )
        self.rows = list({*self.rows, *rows})

    def undone(self) -> None:
        before = list(self.rows)
        with self.connection.transaction(force_rollback=True):
            self.update_many()
            self.insert()
        self.rows = before


@pytest.mark.parametrize("key_count", [2, 40])
def test_eight_writers_at_random_keep_every_link_without_a_deadlock(
    things: Connection, judge: Judge, connect: Callable[[], Connection], key_count: int
) -> None:
    seed = random.randrange(2**32)
    logging.getLogger(__name__).warning("seed %d", seed)  # shown when the test fails
    keys = [uuid4() for _ in range(key_count)]
    for table in ("plain_things", "things"):
        writers = [Writer(connect(), table, keys, seed + n) for n in range(WRITERS)]
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(Writer.work, writers))
        assert sum(writer.deadlocks for writer in writers) == 0, table
    transactions = judge.rule()
    logged = [change for transaction in transactions for change in transaction.logged]
    assert len(logged) > WRITERS * TRANSACTIONS
    assert any(change.prev == -1 for change in logged)
    assert {"I", "U", "D"} == {change.op for change in logged}


def test_a_bulk_writer_and_single_writers_in_opposite_orders_do_not_deadlock(
    things: Connection, judge: Judge, connect: Callable[[], Connection]
) -> None:
    keys = [uuid4() for _ in range(20)]
    for table in ("plain_things", "things"):
        rows = {}
        for n in range(WRITERS):
            rows[n] = [(uuid4(), key) for key in (keys if n % 2 else reversed(keys))]
            things.cursor().executemany(f"insert into {table} (id, project_id) values (%s, %s)", rows[n])

        def work(n: int, table: str = table, rows: dict[int, list[tuple[UUID, UUID]]] = rows) -> None:
            connection = connect()
            for turn in range(15):
                if n < 2:
                    connection.execute(f"update {table} set n = n + 1 where id = any(%s)", [[r for r, _ in rows[n]]])
                    connection.execute(
                        f"insert into {table} (project_id) select gen_random_uuid() from generate_series(1, %s)",
                        [300 if turn % 5 == 0 else 3],
                    )
                else:
                    for row, _ in rows[n]:
                        connection.execute(f"update {table} set n = n + 1 where id = %s", [row])
                connection.commit()

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(work, range(WRITERS)))
    judge.rule()


def test_an_open_transaction_delays_no_other_writer_of_its_key(
    things: Connection, judge: Judge, connect: Callable[[], Connection]
) -> None:
    key = uuid4()
    slow = connect()
    slow.execute("insert into things (project_id, n) values (%s, 1)", [key])
    slow.execute("insert into things (project_id) select gen_random_uuid() from generate_series(1, 500)")
    things.execute("set lock_timeout = '1ms'")
    for _ in range(3):
        things.execute("insert into things (project_id, n) values (%s, 2)", [key])
    slow.commit()
    things.execute("insert into things (project_id, n) values (%s, 3)", [key])
    judge.rule()
    told = things.execute("select row -> 'n' from feed_changes where key = %s order by revision", [key]).fetchall()
    assert [n for (n,) in told] == [2, 2, 2, 1, 3], "the order of the commits, not of the writes"


@pytest.mark.parametrize(
    ("level", "known"),
    [("read uncommitted", False), ("read committed", True), ("repeatable read", False), ("serializable", False)],
)
def test_a_predecessor_is_named_only_where_it_can_be_known(
    things: Connection, judge: Judge, connect: Callable[[], Connection], level: str, known: bool
) -> None:
    key = uuid4()
    writer = connect()
    writer.execute(f"set transaction isolation level {level}")
    writer.execute("select count(*) from things")  # the snapshot of the stricter levels is taken here
    things.execute("insert into things (project_id) values (%s)", [key])
    head = one(things, "select max(revision) from feed_changes where key = %s", key)
    writer.execute("insert into things (project_id) values (%s), (%s)", [key, key])
    writer.commit()
    judge.rule()
    first, second = things.execute(
        "select revision, prev from feed_changes where key = %s and revision > %s order by 1", [key, head]
    )
    assert (first[1], second[1]) == ((head, first[0]) if known else (-1, -1))


def test_constraints_made_immediate_number_and_lock_at_once(
    things: Connection, judge: Judge, connect: Callable[[], Connection]
) -> None:
    key, other = uuid4(), uuid4()
    eager, late = connect(), connect()
    eager.execute("set constraints all immediate")
    eager.execute("insert into things (project_id) values (%s), (%s)", [key, other])
    assert one(eager, "select count(*) from feed_changes where key = any(%s)", [key, other]) == 2
    late.execute("insert into things (project_id) values (%s)", [key])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(late.commit)
        while not one(things, "select exists (select from pg_locks where locktype = 'advisory' and not granted)"):
            assert not waiting.done()
        eager.execute("update things set n = n + 1")
        eager.commit()
        waiting.result()
    judge.rule()
    assert [c.op for t in judge.read() for c in t.logged] == []


@pytest.mark.parametrize("count", [1, 20, 400])
def test_rolling_back_to_a_savepoint_gives_numbers_and_locks_back(
    things: Connection, judge: Judge, connect: Callable[[], Connection], count: int
) -> None:
    keys = [uuid4() for _ in range(count)]
    rows = "insert into things (project_id) select unnest(%s::uuid[])"
    things.execute(rows, [keys])
    writer = connect()
    writer.execute("set constraints all immediate")
    with writer.transaction(force_rollback=True):
        writer.execute(rows, [keys])
    things.execute("set lock_timeout = '1ms'")
    things.execute(rows, [keys])  # the key's lock is free again, and its head moves on
    writer.execute(rows, [keys])
    with writer.transaction():
        writer.execute(rows, [keys])
    writer.commit()
    judge.rule()
    assert one(things, "select count(*) from feed_changes") == 4 * count


def test_locks_are_taken_for_exactly_the_keys_that_were_written(
    things: Connection, connect: Callable[[], Connection]
) -> None:
    writer = connect()
    held = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
    for count, locks in [(1, 2), (150, 151), (2000, 1)]:
        writer.execute("insert into things (project_id) select gen_random_uuid() from generate_series(1, %s)", [count])
        assert one(writer, held) == 0, "nothing is locked before the commit"
        writer.execute("set constraints all immediate")
        assert one(writer, held) == locks
        writer.rollback()


def test_hashes_that_contain_one_another_are_told_apart(things: Connection) -> None:
    # What a transaction has noted is a list of numbers; 12 must not be taken for noted because 112 or -12 is.
    key = uuid4()
    number = one(
        things,
        "select regexp_substr(pg_get_functiondef(tgfoid), '-?[0-9]{9,}')::bigint from pg_trigger "
        "where tgrelid = 'things'::regclass and tgname = 'rowcast_note'",
    )
    own = one(things, "select uuid_hash_extended(%s, %s)", key, number)
    for noted in (f"1{own},", f"{own}1,", f"-1{own},", f"7,1{own},{own}1,"):
        with things.transaction():
            things.execute("select set_config('rowcast.keys', %s, true)", [noted.replace("--", "-")])
            things.execute("insert into things (project_id) values (%s)", [key])
            listed = str(one(things, "select current_setting('rowcast.keys')")).rstrip(",").split(",")
            assert str(own) in listed
            things.execute("select set_config('rowcast.keys', '', true)")


def test_one_hundred_thousand_keys_in_one_transaction(things: Connection, judge: Judge) -> None:
    things.execute("insert into things (project_id) select gen_random_uuid() from generate_series(1, 100000)")
    assert one(things, "select count(*) from feed_changes where prev = 0") == 100_000
    assert len(judge.rule()[-1].logged) == 100_000


def test_a_bulk_statement_of_one_key_is_one_chain(things: Connection, judge: Judge) -> None:
    key = uuid4()
    things.execute("insert into things (project_id) select %s from generate_series(1, 8000)", [key])
    things.execute("update things set n = n + 1 where project_id = %s", [key])
    things.execute("delete from things where project_id = %s", [key])
    assert len([change for transaction in judge.rule() for change in transaction.logged]) == 24_000


def test_copy_is_logged(things: Connection, judge: Judge) -> None:
    keys = [uuid4() for _ in range(50)]
    with things.cursor().copy("copy things (project_id, n) from stdin") as copy:
        for n in range(5000):
            copy.write_row((keys[n % 50], n))
    assert [len(transaction.logged) for transaction in judge.rule()] == [5000]


def test_a_transaction_over_two_feeds_keeps_both(things: Connection, connect: Callable[[], Connection]) -> None:
    things.execute(
        "create table public.events (id bigint primary key generated always as identity, thing_id uuid, data jsonb)"
    )
    things.execute("select rowcast.track('events', feed => 'things', key_column => 'thing_id')")
    keys = [uuid4(), uuid4()]

    def work(turn: int) -> None:
        connection = connect()
        for _ in range(40):
            statements = [("insert into things (project_id) values (%s)", [key]) for key in keys]
            statements += [("insert into events (thing_id, data) values (%s, %s)", [key, Json({})]) for key in keys]
            for statement, parameters in statements[:: (-1) ** turn]:
                connection.execute(statement, parameters)
            connection.commit()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    broken = one(
        things,
        "select count(*) from (select prev, "
        "  coalesce(lag(revision) over (partition by feed, key order by revision), 0) as before "
        "from feed_changes) links where prev <> before",
    )
    assert broken == 0
    assert one(things, "select count(*) from feed_changes") == 4 * 40 * 4


def test_a_client_that_sets_our_settings_cannot_forge_a_link(
    things: Connection, judge: Judge, connect: Callable[[], Connection]
) -> None:
    things.execute("grant insert, update on things to authenticated")
    key, other = uuid4(), uuid4()
    things.execute("insert into things (project_id) values (%s), (%s)", [key, key])
    first = one(things, "select min(revision) from feed_changes")
    client = connect()
    for near in (first, 0, 2**52, -5, ""):
        for keys in ("", "*", "5,", "7,8,9,"):
            client.execute("set role authenticated")
            client.execute(
                "select set_config('rowcast.near', %s, false), set_config('rowcast.keys', %s, false)", [str(near), keys]
            )
            client.execute("insert into things (project_id) values (%s), (%s)", [key, other])
            client.execute(
                "select set_config('rowcast.near', %s, true), set_config('rowcast.keys', %s, true)", [str(near), keys]
            )
            client.commit()
    assert len(judge.rule()) == 21
