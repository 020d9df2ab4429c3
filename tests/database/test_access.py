"""Who may do what: every table and function of ours, as the catalog lists them, so that a new one needs a decision."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from psycopg import errors, sql

from .conftest import Connection, acting_as, new_bom, new_event, new_project, new_ticket, new_user, one

ROLES = ("anon", "authenticated", "service_role")
# What each of ROLES may do with a table, and which of them may call a function.
READ, WRITE, APPEND = "r", "arwd", "ar"  # as in an access control list: a insert, r select, w update, d delete

TABLES = {
    "public.organizations": ("", READ, WRITE),
    "public.projects": ("", READ, WRITE),
    "public.project_members": ("", READ, WRITE),
    "public.ingestion_sources": ("", READ, WRITE),
    "public.jobs": ("", "", WRITE),  # authenticated: by column, below
    "public.proposed_nodes": ("", READ, WRITE),
    "public.boms": ("", READ, WRITE),
    "public.bom_line_items": ("", READ, WRITE),
    "public.enrichment_events": ("", READ, APPEND),
    "public.enrichment_config": ("", "", WRITE),
    "public.stream_tickets": ("", "", WRITE),
    "public.feed_changes": ("", "", READ),
    "rowcast.feeds": ("", "", ""),
    "rowcast.claims": ("", "", ""),
    "rowcast.job_transitions": ("", "", ""),
    "rowcast.tracked": ("", "", ""),
    "rowcast.revision_seq": ("", "", ""),
}
FUNCTIONS = {
    "public.is_member": (False, True, True),
    "public.feed_since": (False, False, True),
    "public.feed_heads": (False, False, True),
    "public.project_snapshot": (False, False, True),
    "public.enrichment_snapshot": (False, False, True),
    "public.prune_feed_changes": (False, False, True),
    "public.job_heartbeat": (False, False, True),
    "public.claim_job": (False, False, True),
    "public.end_job": (False, False, True),
    "public.write_batch": (False, False, True),
    "public.create_bom": (False, False, True),
    "public.start_enrichment": (False, False, True),
    "public.control_enrichment": (False, False, True),
    "public.enrichment_history": (False, False, True),
    "public.stall_jobs": (False, False, True),
    "public.cancel_job": (False, False, True),
    "public.retry_job": (False, False, True),
    "public.decide_proposal": (False, False, True),
    "public.rowcast_diagnosis": (False, False, True),
    "public.rowcast_probe": (False, False, True),
}
OURS = "relnamespace in ('public'::regnamespace, 'rowcast'::regnamespace)"


def test_every_table_grants_what_was_decided_and_no_more(sandbox: Connection) -> None:
    granted: dict[str, list[str]] = {}
    letters = {"INSERT": "a", "SELECT": "r", "UPDATE": "w", "DELETE": "d"}
    for name, grants in sandbox.execute(
        "select nspname || '.' || relname, array(select r.role || ' ' || a.privilege_type from aclexplode(relacl) a "
        "  join (select oid, rolname as role from pg_roles union select 0, 'public') r on r.oid = "
        "a.grantee where r.role <> 'postgres') "
        f"from pg_class join pg_namespace n on n.oid = relnamespace where {OURS} and relkind in ('r', "
        "'p', 'v', 'm', 'S', 'f')"
    ):
        kinds = [grant.split() for grant in grants]
        assert {role for role, _ in kinds} <= {*ROLES}, name
        granted[name] = [
            "".join(sorted(letters.get(kind, kind) for owner, kind in kinds if owner == role)) for role in ROLES
        ]
    assert granted == {table: ["".join(sorted(g)) for g in grants] for table, grants in TABLES.items()}


def test_only_what_is_between_a_job_and_its_workers_is_kept_from_members(sandbox: Connection) -> None:
    columns = sandbox.execute(
        "select attrelid::regclass::text, attname, has_column_privilege('authenticated', attrelid, attnum, 'select'), "
        "  has_column_privilege('authenticated', attrelid, attnum, 'insert, update, references'), "
        "  has_any_column_privilege('anon', attrelid, 'select, insert, update, references') "
        f"from pg_attribute join pg_class c on c.oid = attrelid where {OURS} and relkind = 'r' and "
        "attnum > 0 and not attisdropped"
    ).fetchall()
    hidden = {(table, column) for table, column, readable, _, _ in columns if not readable}
    whole = {
        table for table, _, _, _, _ in columns if all(t != table or not readable for t, _, readable, _, _ in columns)
    }
    workers = {("jobs", column) for column in ("payload", "checkpoint", "progress_number")}
    assert {pair for pair in hidden if pair[0] not in whole} == workers
    assert whole == {
        "enrichment_config",
        "stream_tickets",
        "feed_changes",
        "rowcast.feeds",
        "rowcast.claims",
        "rowcast.job_transitions",
    }
    assert not any(writable or anonymous for _, _, _, writable, anonymous in columns)


def test_every_function_can_be_called_by_whom_was_decided(sandbox: Connection) -> None:
    told = sandbox.execute(
        "select n.nspname || '.' || proname, array(select has_function_privilege(role, p.oid, "
        "'execute') from unnest(%s::text[]) role) "
        "from pg_proc p join pg_namespace n on n.oid = pronamespace where nspname in ('public', 'rowcast')",
        [list(ROLES)],
    ).fetchall()
    callable_ = {name: tuple(roles) for name, roles in told if any(roles)}
    assert callable_ == FUNCTIONS
    assert {name for name, _ in told if name.startswith("public.")} == set(FUNCTIONS)


def test_every_function_pins_its_search_path_and_every_table_has_row_level_security(sandbox: Connection) -> None:
    loose = sandbox.execute(
        "select oid::regprocedure from pg_proc where pronamespace in ('public'::regnamespace, 'rowcast'::regnamespace) "
        "and not coalesce(proconfig, '{}') @> '{\"search_path=\\\"\\\"\"}'"
    ).fetchall()
    assert loose == []
    unprotected = sandbox.execute(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in "
        "('r', 'p') and not relrowsecurity"
    ).fetchall()
    assert unprotected == []
    assert not any(one(sandbox, f"select has_schema_privilege('{role}', 'rowcast', 'usage, create')") for role in ROLES)


@dataclass(frozen=True)
class World:
    """Two projects: `mine` has a member, a customer's BOM and a staff BOM with all that hangs on them; `theirs` too."""

    db: Connection
    mine: UUID
    member: UUID
    stranger: UUID


@pytest.fixture(scope="module")
def world(shared: Connection) -> Iterator[World]:
    with shared.transaction(force_rollback=True):
        mine, theirs = new_project(shared), new_project(shared)
        world = World(shared, mine, new_user(shared, mine), new_user(shared, theirs))
        for project in (mine, theirs):
            for source in ("customer", "staff"):
                bom = new_bom(shared, project, source)
                shared.execute(
                    "insert into bom_line_items (bom_id, project_id, line_number) values (%s, %s, 1)", [bom, project]
                )
                new_event(shared, bom)
                shared.execute(
                    "insert into jobs (project_id, kind, title, bom_id) values (%s, 'enrich', 'J', %s)", [project, bom]
                )
            shared.execute(
                "insert into ingestion_sources (project_id, source_name, source_type) values (%s, 'S', 'text')",
                [project],
            )
            shared.execute("insert into proposed_nodes (project_id, title) values (%s, 'N')", [project])
        new_ticket(shared, "repeat('a', 64)")
        yield world


PROJECT_TABLES = ("projects", "project_members", "ingestion_sources", "proposed_nodes")
BOM_TABLES = ("boms", "bom_line_items", "enrichment_events", "jobs")
CLOSED = ("enrichment_config", "stream_tickets", "feed_changes")


def count(db: Connection, table: str) -> object:
    column = "event_id" if table == "enrichment_events" else "id"
    return one(db, f"select count({column}) from {table}")


@pytest.mark.parametrize("table", PROJECT_TABLES + BOM_TABLES + ("organizations",))
def test_a_member_reads_what_is_in_the_project_and_a_stranger_nothing_of_it(world: World, table: str) -> None:
    key = {"projects": "id", "organizations": "(select organization_id from projects p where p.id = %s)"}.get(
        table, "project_id"
    )
    for user, expected in ((world.member, 1), (world.stranger, 0), (uuid4(), 0)):
        with acting_as(world.db, "authenticated", user):
            seen = (
                one(
                    world.db,
                    f"select count(*) from (select 1 from {table} t where t.id in (select "
                    "organization_id from projects where id = %s)) x",
                    world.mine,
                )
                if table == "organizations"
                else one(world.db, f"select count(*) from (select 1 from {table} where {key} = %s) x", world.mine)
            )
        assert seen == expected, "of two BOMs one is staff's"
    with acting_as(world.db, "authenticated", world.member):
        assert count(world.db, table) == 1, "and nothing else"


def test_what_is_staffs_is_not_shown_to_members(world: World) -> None:
    with acting_as(world.db, "authenticated", world.member):
        assert one(world.db, "select array_agg(source) from boms") == ["customer"]
        assert one(world.db, "select array_agg(source) from enrichment_events") == ["customer"]
        assert one(world.db, "select array_agg(staff) from jobs") == [False]
    with acting_as(world.db, "service_role"):
        assert one(world.db, "select count(*) from jobs where staff and project_id = %s", world.mine) == 1
        assert one(world.db, "select count(*) from boms where project_id = %s", world.mine) == 2


@pytest.mark.parametrize("table", PROJECT_TABLES + BOM_TABLES + CLOSED + ("organizations",))
@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_nobody_but_the_service_role_writes(world: World, role: str, table: str) -> None:
    name, column = sql.Identifier(table), sql.Identifier("row" if table == "feed_changes" else "created_at")
    attempts = ["insert into {} default values", "update {} set {} = default", "delete from {}", "truncate {}"]
    if role == "anon" or table in CLOSED:
        attempts.append("select from {}")
    for attempt in attempts:
        with pytest.raises(errors.InsufficientPrivilege), acting_as(world.db, role, world.member):
            world.db.execute(sql.SQL(attempt).format(name, column))


@pytest.mark.parametrize("column", ["payload", "checkpoint", "progress_number"])
def test_what_a_worker_is_told_and_leaves_is_refused_to_members(world: World, column: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege), acting_as(world.db, "authenticated", world.member):
        world.db.execute(sql.SQL("select {} from jobs").format(sql.Identifier(column)))


@pytest.mark.parametrize(
    "call",
    [
        "public.feed_since('project', gen_random_uuid(), 0)",
        "public.feed_heads('project', '{}')",
        "public.project_snapshot(gen_random_uuid())",
        "public.enrichment_snapshot(gen_random_uuid())",
        "public.prune_feed_changes()",
        "public.claim_job('{none}')",
        "public.enrichment_history(gen_random_uuid())",
    ],
)
def test_the_services_functions_are_the_services(world: World, call: str) -> None:
    for role in ("anon", "authenticated"):
        with pytest.raises(errors.InsufficientPrivilege), acting_as(world.db, role, world.member):
            world.db.execute(f"select {call}")
    with acting_as(world.db, "service_role"):
        world.db.execute(f"select {call}")


@pytest.mark.parametrize(
    "call",
    [
        "rowcast.restart('project')",
        "rowcast.track('jobs', 'project', 'project_id')",
        "rowcast.untrack('jobs')",
        "rowcast.lock_noted()",
        "nextval('rowcast.revision_seq')",
        "setval('rowcast.revision_seq', 1)",
    ],
)
@pytest.mark.parametrize("role", ROLES)
def test_the_change_logs_machinery_is_nobodys_through_the_api(world: World, role: str, call: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege), acting_as(world.db, role, world.member):
        world.db.execute(f"select {call}")


def test_even_the_service_role_does_not_write_the_log(world: World) -> None:
    for attempt in (
        "insert into feed_changes default values",
        "update feed_changes set prev = 0",
        "delete from feed_changes",
        "truncate feed_changes",
    ):
        with pytest.raises(errors.InsufficientPrivilege), acting_as(world.db, "service_role"):
            world.db.execute(attempt)


def test_the_service_role_works_through_row_level_security(world: World) -> None:
    with acting_as(world.db, "service_role"):
        world.db.execute("update projects set name = 'Q' where id = %s", [world.mine])
        world.db.execute("update jobs set status = 'running' where project_id = %s", [world.mine])
        assert one(world.db, "select count(*) from jobs where status = 'running'") == 2
        one(world.db, "delete from stream_tickets where token_hash = repeat('a', 64) returning user_id")


def test_membership_is_asked_for_oneself_alone(world: World) -> None:
    for user, expected in ((world.member, True), (world.stranger, False), (None, False)):
        with acting_as(world.db, "authenticated", user):
            assert one(world.db, "select is_member(%s)", world.mine) is expected
