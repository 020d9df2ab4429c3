"""Looking at a real database's catalog, and a migration that is written for what is found there."""

import tomllib
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from devstack.postgres import Postgres
from service import catalog
from service.adoption import findings, migration
from service.catalog import look, shipped
from service.changes.change import from_record
from service.errors import CatalogError
from service.events.project import JobUpdate, ProjectFeed
from service.findings import Level
from service.tables import STANDARD, mapped
from tests.service.handmade import OTHER_NAMES, handmade_database


@pytest.fixture
def old(postgres: Postgres) -> Iterator[str]:
    """The URL of a database made by hand."""
    with handmade_database(postgres) as url:
        yield url


def test_what_is_there_is_seen(old: str) -> None:
    facts = look(old, STANDARD)
    assert (facts.has_publication, facts.has_log, facts.has_tickets, facts.has_users) == (True, False, False, True)
    assert sorted(facts.relations) == ["ingestion_sources", "jobs", "proposed_nodes"]
    jobs = facts.relations["jobs"]
    assert (jobs.kind, jobs.primary_key, jobs.rls, jobs.published, jobs.indexed) == ("r", ["id"], True, True, ["id"])
    assert jobs.columns["id"] == "bigint"
    assert jobs.has_policy
    assert jobs.columns["project_id"] == "uuid"


def test_a_database_that_has_all_has_a_log(database: str) -> None:
    facts = look(database, STANDARD)
    assert facts.has_log
    assert facts.has_tickets
    assert sorted(facts.relations) == ["ingestion_sources", "jobs", "project_members", "projects", "proposed_nodes"]


def test_a_database_that_cannot_be_looked_at_is_told_in_a_line(old: str) -> None:
    with pytest.raises(CatalogError, match=r"^DATABASE_URL: .*does not exist") as raised:
        look(old + "x", STANDARD)
    assert "\n" not in str(raised.value)


def test_a_migration_of_rowcasts_own_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shipped("change_log").startswith("-- The change log")
    monkeypatch.setattr(catalog, "SHIPPED", ())
    with pytest.raises(CatalogError, match="change_log is not where it should be"):
        shipped("change_log")


@pytest.fixture
def adopted(old: str) -> psycopg.Connection[tuple[object, ...]]:
    """A connection to a database with the migration that is written for it."""
    facts = look(old, STANDARD)
    assert Level.FAIL not in {finding.level for finding in findings(facts, STANDARD)}
    connection = psycopg.connect(old, autocommit=True)
    connection.execute(migration(facts, STANDARD, shipped("change_log"), shipped("doctor")).encode())
    return connection


PROJECT = "11111111-1111-4111-8111-111111111111"
ANNE, BEN = "aaaaaaaa-1111-4111-8111-111111111111", "bbbbbbbb-1111-4111-8111-111111111111"


def may_listen(database: psycopg.Connection[tuple[object, ...]], user: str) -> bool:
    """Whether the view shows the project to a signed-in user."""
    with database.transaction(force_rollback=True):
        database.execute("set local role authenticated")
        database.execute(
            "select set_config('request.jwt.claims', json_build_object('sub', %s::text)::text, true)", [user]
        )
        return database.execute("select from projects where id = %s", [PROJECT]).fetchone() is not None


def test_the_migration_applies_and_logs_what_happens(adopted: psycopg.Connection[tuple[object, ...]]) -> None:
    insert = "insert into jobs (project_id, title, owner) values (%s, 'A', %s) returning id"
    adopted.execute(insert, [PROJECT, ANNE])
    [row] = adopted.execute("select table_name, row_id, op, row from feed_changes").fetchall()
    assert row[:3] == ("jobs", "1", "I")
    assert isinstance(row[3], dict)
    assert "owner" not in row[3]  # pages are told nothing of it
    snapshot = adopted.execute("select project_snapshot(%s)", [PROJECT]).fetchone()
    assert snapshot is not None
    assert isinstance(snapshot[0], dict)
    assert [job["title"] for job in snapshot[0]["rows"]["jobs"]] == ["A"]
    adopted.close()


def test_whoever_sees_every_row_of_a_project_may_listen_and_nobody_else(
    adopted: psycopg.Connection[tuple[object, ...]],
) -> None:
    assert not may_listen(adopted, ANNE)  # there is nothing to see
    adopted.execute("insert into jobs (project_id, title) values (%s, 'All')", [PROJECT])
    assert may_listen(adopted, ANNE)
    assert may_listen(adopted, BEN)
    adopted.execute("insert into jobs (project_id, title, owner) values (%s, 'Hers', %s)", [PROJECT, ANNE])
    assert may_listen(adopted, ANNE)
    assert not may_listen(adopted, BEN)
    adopted.close()


@pytest.mark.parametrize("function", ["feed_heads('project', '{}')", "project_snapshot(gen_random_uuid())"])
def test_pages_call_none_of_it(adopted: psycopg.Connection[tuple[object, ...]], function: str) -> None:
    with adopted.transaction(force_rollback=True):
        adopted.execute("set local role authenticated")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            adopted.execute(f"select {function}")
    adopted.close()


def test_tables_with_other_names_are_logged_and_told_by_ours(old: str) -> None:
    tables = mapped(tomllib.loads(OTHER_NAMES))
    with psycopg.connect(old, autocommit=True, row_factory=dict_row) as database:
        text = migration(look(old, tables), tables, shipped("change_log"), shipped("doctor"))
        database.execute(text.encode())
        database.execute("insert into tasks (project, name) values (%s, 'A')", [PROJECT])
        database.execute("update tasks set state = 'completed'")
        records = database.execute("select * from feed_changes order by revision").fetchall()
        snapshot = database.execute("select project_snapshot(%s) as it", [PROJECT]).fetchone()
    feed = ProjectFeed()
    changes = [from_record({**record, "committed_at": str(record["committed_at"])}, tables) for record in records]
    told = [message for change in changes for message in feed.translate(change)]
    assert [(one.type, one.title, one.status) for one in told if isinstance(one, JobUpdate)] == [
        ("job_update", "A", "running"), ("job_update", "A", "completed"),
    ]  # fmt: skip
    assert snapshot is not None
    [job] = [tables.ours["jobs"].row(row) for row in snapshot["it"]["rows"]["jobs"]]
    assert (job["title"], job["status"], job["id"]) == ("A", "completed", changes[0].row_id)


def test_names_with_capitals_and_words_of_sql_can_be_tracked(old: str) -> None:
    columns = {"id": "Id", "project_id": "ProjectId", "title": "order", "created_at": "MadeAt", "status": "user"}
    tables = mapped({"jobs": {"table": "Tasks", "columns": columns}})
    with psycopg.connect(old, autocommit=True) as database:
        database.execute(
            """create table public."Tasks" ("Id" int primary key, "ProjectId" uuid, "order" text, "user" text,
            "MadeAt" timestamptz default now())"""
        )
        facts = look(old, tables)
        database.execute(migration(facts, tables, shipped("change_log"), shipped("doctor")).encode())
        database.execute("insert into \"Tasks\" values (1, %s, 'A')", [PROJECT])
        logged = database.execute("select table_name, row_id from feed_changes").fetchall()
        snapshot = database.execute("select project_snapshot(%s)", [PROJECT]).fetchone()
    assert logged == [("Tasks", "1")]
    assert snapshot is not None
    assert [job["order"] for job in snapshot[0]["rows"]["jobs"]] == ["A"]


def test_a_partition_is_seen_not_to_be_an_ordinary_table(old: str) -> None:
    with psycopg.connect(old, autocommit=True) as database:
        database.execute("create table public.parts (id int) partition by list (id)")
        database.execute("create table public.part partition of public.parts default")
    seen = [look(old, mapped({"jobs": {"table": name}})).relations[name] for name in ("parts", "part")]
    assert [(relation.kind, relation.has_policy) for relation in seen] == [("p", False), ("part", False)]
