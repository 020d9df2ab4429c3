"""The tables' own rules: values, times, deletions, what is published, what Studio shows."""

import tomllib
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from devstack.postgres import Postgres

from .conftest import Connection, new_bom, new_event, new_project, new_ticket, new_user, one

ROOT = Path(__file__).parents[2]
SUPABASE = ROOT / "supabase"
BOOTSTRAP = ROOT / "devstack" / "bootstrap.sql"


@pytest.mark.parametrize(
    ("table", "column", "bad"),
    [
        ("organizations", "name", "' '"),
        ("projects", "name", "''"),
        ("ingestion_sources", "source_name", "' '"),
        ("ingestion_sources", "source_type", "''"),
        ("ingestion_sources", "status", "'done'"),
        ("jobs", "status", "'done'"),
        ("jobs", "kind", "''"),
        ("jobs", "title", "' '"),
        ("jobs", "progress_stage", "''"),
        ("jobs", "progress_current", "-1"),
        ("jobs", "progress_total", "-1"),
        ("jobs", "pipeline", "'[]'"),
        ("jobs", "priority", "0"),
        ("jobs", "priority", "10"),
        ("jobs", "attempt", "-1"),
        ("jobs", "max_attempts", "0"),
        ("proposed_nodes", "title", "''"),
        ("proposed_nodes", "confidence", "1.01"),
        ("proposed_nodes", "confidence", "-0.1"),
        ("proposed_nodes", "confidence", "'NaN'"),
        ("proposed_nodes", "status", "'done'"),
        ("project_members", "role", "'admin'"),
        ("boms", "status", "'done'"),
        ("boms", "filename", "''"),
        ("boms", "total_items", "-1"),
        ("boms", "not_found_items", "-1"),
        ("boms", "enriched_items", "6"),
        ("boms", "failed_items", "-1"),
        ("boms", "current_batch", "-1"),
        ("bom_line_items", "line_number", "0"),
        ("bom_line_items", "status", "'done'"),
        ("bom_line_items", "quantity", "-1"),
        ("enrichment_config", "batch_size", "0"),
        ("enrichment_config", "max_parallel", "0"),
    ],
)
def test_a_value_out_of_range_is_refused(filled: Connection, table: str, column: str, bad: str) -> None:
    with pytest.raises(errors.CheckViolation) as caught:
        filled.execute(f"update {table} set {column} = {bad}")
    assert column in str(caught.value.diag.constraint_name), "its name says what is wrong"


@pytest.fixture
def filled(sandbox: Connection) -> Connection:
    """A row in every table that people work on, in a transaction that is rolled back."""
    project = new_project(sandbox)
    new_user(sandbox, project)
    sandbox.execute(
        "insert into ingestion_sources (project_id, source_name, source_type) values (%s, 'S', 'text')", [project]
    )
    sandbox.execute("insert into jobs (project_id, kind, title) values (%s, 'k', 'J')", [project])
    sandbox.execute("insert into proposed_nodes (project_id, title, confidence) values (%s, 'N', 1)", [project])
    new_bom(sandbox, project)
    sandbox.execute("insert into bom_line_items (bom_id, project_id, line_number) select id, project_id, 1 from boms")
    return sandbox


@pytest.mark.parametrize("bad", ["repeat('A', 64)", "repeat('a', 63)", "''"])
def test_a_ticket_is_kept_by_its_hash(sandbox: Connection, bad: str) -> None:
    new_ticket(sandbox, "repeat('0', 64)")
    with pytest.raises(errors.CheckViolation):
        new_ticket(sandbox, bad)


@pytest.mark.parametrize(
    "bad", ["'{}'", "array[null::uuid]", "array(select gen_random_uuid() from generate_series(1, 21))"]
)
def test_a_ticket_opens_one_to_twenty_projects(sandbox: Connection, bad: str) -> None:
    with pytest.raises(errors.CheckViolation):
        new_ticket(sandbox, "repeat('0', 64)", bad)


def test_updated_at_is_the_databases_and_moves_with_real_changes_only(db: Connection) -> None:
    project = new_project(db)
    written = one(db, "select updated_at from projects")
    db.execute("update projects set name = name, updated_at = '2000-01-01'")
    assert one(db, "select updated_at from projects") == written
    db.execute("update projects set name = 'New', updated_at = '2000-01-01' where id = %s", [project])
    assert one(db, "select updated_at > %s from projects", written) is True


def times(db: Connection) -> tuple[bool, ...]:
    """Which of a job's times are the last transaction's: updated_at, progress_updated_at, started_at, finished_at."""
    row = db.execute("select updated_at, progress_updated_at, started_at, finished_at from jobs").fetchone()
    assert row is not None
    newest = max(time for time in row if time is not None)
    return tuple(time == newest for time in row)


def test_a_jobs_times_are_the_databases(db: Connection, project: UUID) -> None:
    db.execute("insert into jobs (project_id, kind, title) values (%s, 'k', 'J')", [project])
    assert times(db) == (True, False, False, False)
    db.execute("update jobs set status = 'running'")
    assert times(db) == (True, False, True, False)
    started = one(db, "select started_at from jobs")
    db.execute("update jobs set progress_current = 1")
    assert times(db) == (True, True, False, False)
    db.execute("update jobs set heartbeat_at = now(), lease_until = now() - interval '1 day', payload = '{\"a\": 1}'")
    db.execute("update jobs set checkpoint = '[7]', progress_number = 7")
    assert one(db, "select updated_at < heartbeat_at from jobs") is True
    db.execute("update jobs set progress_message = 'now', progress_updated_at = '2100-01-01Z'")
    assert one(db, "select progress_updated_at = '2100-01-01Z' from jobs") is True, "a writer may tell it itself"
    db.execute("update jobs set progress_current = 2")
    for status in ("failed", "stopped"):
        db.execute("update jobs set status = %s", [status])
        assert times(db)[3]
        finished = one(db, "select finished_at from jobs")
        db.execute("update jobs set title = %s", [status])
        assert one(db, "select finished_at from jobs") == finished
        db.execute("update jobs set status = 'queued'")
        assert one(db, "select finished_at from jobs") is None
        db.execute("update jobs set status = 'running'")
        assert one(db, "select started_at from jobs") == started, "when it first ran"
    db.execute("update jobs set status = 'stalled'")
    assert one(db, "select finished_at from jobs") is None
    db.execute("update jobs set progress_stage = 'complete', status = 'completed'")
    assert times(db) == (True, True, False, True)


@pytest.mark.parametrize(
    ("values", "progressed"),
    [
        ("progress_stage = 'a'", True),
        ("progress_current = 1", True),
        ("progress_total = 0", True),
        ("progress_message = 'm'", True),
        ("title = 'x'", False),
    ],
)
def test_a_job_that_starts_with_progress_has_its_time(sandbox: Connection, values: str, progressed: bool) -> None:
    column, value = values.split(" = ")
    kinds = f"kind, {column}" if column == "title" else f"kind, title, {column}"
    rest = f"'k', {value}" if column == "title" else f"'k', 'J', {value}"
    known = one(
        sandbox,
        f"insert into jobs (project_id, {kinds}) values (%s, {rest}) returning progress_updated_at is not null",
        new_project(sandbox),
    )
    assert known is progressed


def test_a_heartbeat_holds_the_lease_and_tells_whether_to_go_on(sandbox: Connection) -> None:
    job = one(
        sandbox,
        "insert into jobs (project_id, kind, title, status) values (%s, 'k', 'J', 'running') returning id",
        new_project(sandbox),
    )
    assert one(sandbox, "select job_heartbeat(job_id => %s, lease_seconds => 90)", job) == {
        "status": "running",
        "cancel_requested": False,
    }
    assert (
        one(
            sandbox,
            "select lease_until - heartbeat_at = interval '90 s' and heartbeat_at = now() from jobs where id = %s",
            job,
        )
        is True
    )
    sandbox.execute("update jobs set cancel_requested_at = now()")
    assert one(sandbox, "select job_heartbeat(%s)", job) == {"status": "running", "cancel_requested": True}


def test_events_are_append_only_and_go_with_their_bom(db: Connection, project: UUID) -> None:
    boms = [new_bom(db, project), new_bom(db, project)]
    for bom in boms:
        new_event(db, bom)
    for attempt in ("update enrichment_events set payload = '{\"a\": 1}'", "delete from enrichment_events"):
        with pytest.raises(errors.RestrictViolation, match="is refused: it is append only"):
            db.execute(attempt)
    db.execute("delete from boms where id = %s", [boms[0]])
    assert one(db, "select count(*) from enrichment_events") == 1
    db.execute("delete from projects")
    assert one(db, "select count(*) from enrichment_events") == 0


def test_a_job_of_a_staff_bom_is_staffs_and_stays_so(sandbox: Connection) -> None:
    project = new_project(sandbox)
    staff, customer = new_bom(sandbox, project, "staff"), new_bom(sandbox, project)
    insert = "insert into jobs (project_id, kind, title, bom_id, staff) values (%s, 'k', 'J', %s, %s) returning staff"
    assert one(sandbox, insert, project, staff, False) is True
    assert one(sandbox, insert, project, customer, True) is False
    sandbox.execute("delete from boms where id = %s", [staff])
    assert one(sandbox, "select staff from jobs where bom_id is null") is True
    with pytest.raises(errors.RestrictViolation, match="source: can't become staff once it is customer"):
        sandbox.execute("update boms set source = 'staff'")


def test_an_organization_with_projects_stays_and_a_deleted_user_leaves_projects_behind(
    db: Connection, project: UUID
) -> None:
    with pytest.raises((errors.ForeignKeyViolation, errors.RestrictViolation)):
        db.execute("delete from organizations")
    user = new_user(db, project)
    db.execute("insert into jobs (project_id, kind, title, created_by) values (%s, 'k', 'J', %s)", [project, user])
    db.execute("delete from auth.users where id = %s", [user])
    assert one(db, "select count(*) from project_members") == 0
    assert one(db, "select created_by from jobs") is None


def test_there_is_one_default_enrichment_configuration(sandbox: Connection) -> None:
    told = sandbox.execute(
        "select batch_size, max_parallel from enrichment_config where organization_id is null"
    ).fetchall()
    assert told == [(10, 5)]
    with pytest.raises(errors.UniqueViolation):
        sandbox.execute("insert into enrichment_config (organization_id) values (null)")


def test_realtime_publishes_the_log_and_what_direct_mode_needs(sandbox: Connection) -> None:
    told = sandbox.execute(
        "select tablename from pg_publication_tables where pubname = 'supabase_realtime' order by 1"
    ).fetchall()
    assert [name for (name,) in told] == [
        "enrichment_events",
        "feed_changes",
        "ingestion_sources",
        "jobs",
        "proposed_nodes",
    ]


def test_every_foreign_key_has_an_index(sandbox: Connection) -> None:
    bare = sandbox.execute(
        "select conrelid::regclass::text, conname from pg_constraint k where contype = 'f' and "
        "connamespace = 'public'::regnamespace "
        "and not exists (select from pg_index i where indrelid = conrelid and indkey[0] = conkey[1] "
        "and indpred is null)"
    ).fetchall()
    assert bare == []


def test_every_table_column_and_function_is_explained(sandbox: Connection) -> None:
    silent = sandbox.execute(
        "select c.oid::regclass || '.' || attname from pg_class c join pg_attribute on attrelid = "
        "c.oid and attnum > 0 and not attisdropped "
        "where relnamespace = 'public'::regnamespace and relkind = 'r' and col_description(c.oid, attnum) is null "
        "union all select oid::regclass::text from pg_class where relkind = 'r' and "
        "obj_description(oid, 'pg_class') is null "
        "  and relnamespace in ('public'::regnamespace, 'rowcast'::regnamespace) "
        "union all select oid::regprocedure::text from pg_proc where pronamespace = "
        "'public'::regnamespace and obj_description(oid, 'pg_proc') is null"
    ).fetchall()
    assert silent == []


def test_the_seed_can_be_run_again_and_again(sandbox: Connection) -> None:
    for _ in range(2):
        sandbox.execute((SUPABASE / "seed.sql").read_bytes())
    told = sandbox.execute(
        "select o.name, p.id::text from projects p join organizations o on o.id = p.organization_id"
    ).fetchall()
    assert told == [("Rowcast demo", "00000000-0000-4000-8000-000000000002")]


def test_the_supabase_clis_configuration_is_that_of_this_project() -> None:
    config = tomllib.loads((SUPABASE / "config.toml").read_text())
    assert config["project_id"] == "rowcast"
    assert "rowcast" not in config["api"]["schemas"], "the change log's machinery is not exposed"
    assert config["db"]["seed"]["sql_paths"] == ["./seed.sql"]
    assert (SUPABASE / config["db"]["seed"]["sql_paths"][0]).is_file()
    assert not (SUPABASE / "__init__.py").exists(), "it would shadow the library supabase"


def test_the_migrations_need_no_superuser(postgres: Postgres) -> None:
    # On hosted Supabase they are run by a role that is none; what is granted here is what that role has there.
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("create role plain_owner nosuperuser")
        admin.execute("create database plain owner plain_owner")
        with psycopg.connect(postgres.url("plain"), autocommit=True) as db:
            db.execute(BOOTSTRAP.read_bytes())
            db.execute("create table auth.users (id uuid primary key)")
            db.execute("create function auth.uid() returns uuid language sql stable as 'select null::uuid'")
            db.execute("grant all on auth.users to plain_owner")
            db.execute("grant usage on schema auth to plain_owner")
            db.execute("alter publication supabase_realtime owner to plain_owner")
            db.execute("set session authorization plain_owner")
            for migration in sorted((SUPABASE / "migrations").glob("*.sql")):
                db.execute(migration.read_bytes())
            db.execute((SUPABASE / "seed.sql").read_bytes())
            db.execute("insert into jobs (project_id, kind, title) select id, 'k', 'J' from projects")
            assert one(db, "select count(*) from feed_changes") == 1
            assert one(db, "select prune_feed_changes('0')") == 0
        admin.execute("drop database plain")
        admin.execute("drop role plain_owner")
