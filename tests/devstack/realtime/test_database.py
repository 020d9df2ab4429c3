"""Questions survive a lost connection and a failed statement."""

import psycopg
import pytest

from devstack.realtime.database import Database


async def test_asks_again_on_a_new_connection(database: str) -> None:
    asker, other = Database(database), Database(database)
    [[pid]] = await asker.rows("select pg_backend_pid()")
    await other.rows("select pg_terminate_backend(%s, 5000)", [pid])
    assert await asker.rows("select 1") == [(1,)]
    await asker.close()
    await other.close()


async def test_a_failure_inside_a_transaction_leaves_no_transaction(database: str) -> None:
    asker = Database(database)
    with pytest.raises(psycopg.errors.DivisionByZero):
        await asker.rows("begin; select 1/0; commit")
    assert await asker.rows("select 1; select 2; set local search_path = public") == [(2,)]
    await asker.close()


async def test_says_when_postgresql_is_away() -> None:
    asker = Database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(psycopg.OperationalError):
        await asker.rows("select 1")
