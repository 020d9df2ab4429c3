"""What `rowcast doctor` asks a database: how it is set up, and a change that nobody listens to."""

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from .conftest import Connection, one


def diagnosis(db: Connection) -> dict[str, Any]:
    told = one(db, "select rowcast_diagnosis()")
    assert isinstance(told, dict)
    return told


def test_a_database_with_all_migrations_is_well(db: Connection) -> None:
    told = diagnosis(db)
    assert told["publication"] == {"all_tables": False, "inserts": True}
    assert told["oldest_change"] is None
    assert told["tables"]["jobs"] == {
        "feed": "project",
        "disabled": False,
        "published": True,
        "rls": True,
        "read_by": [],
    }  # fmt: skip - members may read a job but for its payload, column by column
    assert told["tables"]["proposed_nodes"]["read_by"] == ["authenticated"]
    assert told["tables"]["feed_changes"] == {
        "feed": None, "disabled": False, "published": True, "rls": True, "read_by": []
    }  # fmt: skip


@pytest.mark.parametrize(
    ("harm", "table", "field", "seen"),
    [
        ("select rowcast.untrack('jobs')", "jobs", "feed", None),
        ("alter table jobs disable trigger all", "jobs", "disabled", True),
        ("alter table boms disable row level security", "boms", "rls", False),
        ("alter publication supabase_realtime drop table feed_changes", "feed_changes", "published", False),
        ("grant select on feed_changes to anon", "feed_changes", "read_by", ["anon"]),
    ],
)
def test_it_sees_what_is_not_well(sandbox: Connection, harm: str, table: str, field: str, seen: object) -> None:
    sandbox.execute(harm)  # type: ignore[arg-type]
    assert diagnosis(sandbox)["tables"][table][field] == seen


def test_it_sees_that_there_is_no_publication(sandbox: Connection) -> None:
    sandbox.execute("drop publication supabase_realtime")
    assert diagnosis(sandbox)["publication"] is None


def test_a_probe_is_one_change_of_a_feed_of_its_own_and_the_next_one_takes_its_place(db: Connection) -> None:
    for key in (uuid4(), uuid4()):
        db.execute("select rowcast_probe(%s)", [key])
        assert db.execute("select feed, key from feed_changes").fetchall() == [("doctor", key)]
    assert diagnosis(db)["oldest_change"] is None


def test_a_probe_needs_a_key(sandbox: Connection) -> None:
    with pytest.raises(psycopg.errors.NullValueNotAllowed, match="key: must not be NULL"):
        sandbox.execute("select rowcast_probe(null)")


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize("call", ["rowcast_diagnosis()", "rowcast_probe(gen_random_uuid())"])
def test_both_are_the_services_alone(sandbox: Connection, role: str, call: str) -> None:
    sandbox.execute(f"set local role {role}")  # type: ignore[arg-type]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        sandbox.execute(f"select {call}")  # type: ignore[arg-type]
