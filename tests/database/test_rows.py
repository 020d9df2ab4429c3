"""What each kind of change leaves in the log."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from psycopg import errors

from .conftest import Connection, Judge, acting_as, new_project, new_user, one

Entry = tuple[str, list[str] | None, dict[str, object] | None]


def log(db: Connection, key: object = None) -> list[Entry]:
    """(op, changed, row) of the log's changes, oldest first."""
    return db.execute(
        "select op, changed, row from feed_changes where %(key)s::uuid is null or key = %(key)s order by revision",
        {"key": key},
    ).fetchall()


@pytest.fixture
def row(things: Connection) -> tuple[UUID, UUID]:
    """The id and key of a row of `things`, logged."""
    row, key = uuid4(), uuid4()
    things.execute("insert into things (id, project_id, note, secret) values (%s, %s, 'a', 's')", [row, key])
    return row, key


def test_an_insert_carries_the_row_without_excepted_columns(things: Connection, row: tuple[UUID, UUID]) -> None:
    assert log(things) == [("I", None, {"id": str(row[0]), "project_id": str(row[1]), "n": 0, "note": "a"})]
    told = things.execute("select feed, key, prev, table_name, row_id, committed_at from feed_changes").fetchone()
    assert told is not None
    assert told[:5] == ("project", row[1], 0, "things", str(row[0]))
    assert abs((datetime.now(UTC) - told[5]).total_seconds()) < 60


def test_an_update_names_what_changed(things: Connection, row: tuple[UUID, UUID]) -> None:
    things.execute("update things set n = 1, note = null, secret = 'other'")
    op, changed, image = log(things)[-1]
    assert (op, sorted(changed or [])) == ("U", ["n", "note"])
    assert image == {"id": str(row[0]), "project_id": str(row[1]), "n": 1, "note": None}


@pytest.mark.parametrize("assignment", ["n = n", "secret = 'other'", "secret = null, note = 'a'"])
def test_an_update_of_nothing_or_of_excepted_columns_leaves_no_trace(
    things: Connection, row: tuple[UUID, UUID], assignment: str
) -> None:
    things.execute(f"update things set {assignment}")
    assert len(log(things)) == 1


def test_a_delete_carries_no_row(things: Connection, row: tuple[UUID, UUID]) -> None:
    things.execute("delete from things")
    assert log(things)[1:] == [("D", None, None)]


def test_a_row_that_moves_is_deleted_under_the_old_key_and_inserted_under_the_new(
    things: Connection, row: tuple[UUID, UUID]
) -> None:
    key = uuid4()
    things.execute("update things set project_id = %s, n = 5", [key])
    assert [entry[0] for entry in log(things, row[1])] == ["I", "D"]
    assert log(things, key) == [("I", None, {"id": str(row[0]), "project_id": str(key), "n": 5, "note": "a"})]


def test_a_row_without_a_key_is_in_no_log_until_it_has_one(things: Connection, row: tuple[UUID, UUID]) -> None:
    things.execute("update things set project_id = null")
    things.execute("update things set n = 7")
    things.execute("update things set project_id = %s", [row[1]])
    assert [entry[0] for entry in log(things, row[1])] == ["I", "D", "I"]
    things.execute("insert into things (project_id) values (null)")
    things.execute("delete from things where project_id is null")
    assert len(log(things)) == 3


def test_a_row_whose_primary_key_changes_is_another_row(things: Connection, row: tuple[UUID, UUID]) -> None:
    things.execute("update things set id = gen_random_uuid()")
    assert [entry[0] for entry in log(things)] == ["I", "D", "I"]


def test_several_changes_of_a_row_in_one_transaction_are_each_told(things: Connection, judge: Judge) -> None:
    with things.transaction():
        things.execute("insert into things (project_id) values (%s)", [uuid4()])
        things.execute("update things set n = 1")
        things.execute("update things set n = 2")
        things.execute("delete from things")
    assert [change.op for change in judge.rule()[0].logged] == ["I", "U", "U", "D"]


def test_an_upsert_is_an_insert_or_an_update(things: Connection, row: tuple[UUID, UUID]) -> None:
    things.execute(
        "insert into things (id, project_id) values (%s, %s), (gen_random_uuid(), %s) on conflict "
        "(id) do update set n = 9",
        [*row, row[1]],
    )
    assert [entry[0] for entry in log(things)] == ["I", "U", "I"]
    things.execute("insert into things (id) values (%s) on conflict do nothing", [row[0]])
    assert len(log(things)) == 3


def test_what_is_rolled_back_leaves_no_trace(things: Connection, judge: Judge) -> None:
    with things.transaction(force_rollback=True):
        things.execute("insert into things (project_id) values (%s)", [uuid4()])
    with things.transaction():
        things.execute("insert into things (project_id) values (%s)", [uuid4()])
        with contextlib.suppress(errors.DivisionByZero), things.transaction():
            things.execute("insert into things (project_id, n) values (%s, 1)", [uuid4()])
            things.execute("select 1 / 0")
    judge.rule()
    assert len(log(things)) == 1


def test_a_cascade_is_logged_row_by_row(db: Connection) -> None:
    project = new_project(db)
    new_user(db, project)
    source = one(
        db,
        "insert into ingestion_sources (project_id, source_name, source_type) values (%s, 'S', 'text') returning id",
        project,
    )
    db.execute(
        "insert into jobs (project_id, kind, title, source_id) values (%s, 'ingest', 'J', %s)", [project, source]
    )
    db.execute("insert into proposed_nodes (project_id, title) values (%s, 'N')", [project])
    before = len(log(db, project))
    db.execute("delete from projects where id = %s", [project])
    told = db.execute(
        "select table_name, op from feed_changes where key = %s order by revision offset %s", [project, before]
    ).fetchall()
    gone = {table for table, op in told if op == "D"}
    assert gone == {"ingestion_sources", "jobs", "proposed_nodes", "project_members"}


def test_a_row_that_loses_its_source_says_so(db: Connection, project: UUID) -> None:
    source = one(
        db,
        "insert into ingestion_sources (project_id, source_name, source_type) values (%s, 'S', 'text') returning id",
        project,
    )
    db.execute(
        "insert into jobs (project_id, kind, title, source_id) values (%s, 'ingest', 'J', %s)", [project, source]
    )
    db.execute("delete from ingestion_sources where id = %s", [source])
    told = db.execute("select table_name, op, changed from feed_changes order by revision desc limit 2").fetchall()
    assert ("ingestion_sources", "D", None) in told
    assert any(table == "jobs" and op == "U" and "source_id" in changed for table, op, changed in told)


def test_truncate_is_refused_and_says_what_to_do(things: Connection, row: tuple[UUID, UUID]) -> None:
    with pytest.raises(
        errors.FeatureNotSupported, match=r"TRUNCATE of public.things is refused: it is tracked in feed project"
    ) as caught:
        things.execute("truncate things")
    assert caught.value.diag.message_hint == (
        "Use DELETE, or rowcast.untrack('public.things') first and rowcast.track after it."
    )


def test_the_image_does_not_depend_on_the_writers_settings(
    things: Connection, connect: Callable[[], Connection]
) -> None:
    things.execute("alter table things add column seen timestamptz, add column size double precision")
    writer = connect()
    writer.execute("set timezone = 'Asia/Kathmandu'")
    writer.execute("set datestyle = 'German'")
    writer.execute("insert into things (project_id, seen, size) values (%s, '2026-01-02 03:04:05Z', 0.1)", [uuid4()])
    writer.commit()
    image = log(things)[0][2]
    assert image is not None
    assert (image["seen"], image["size"]) == ("2026-01-02T03:04:05+00:00", 0.1)


def test_columns_added_renamed_or_dropped_later_are_followed(things: Connection, row: tuple[UUID, UUID]) -> None:
    things.execute("alter table things add column extra int")
    things.execute("update things set extra = 1")
    things.execute("alter table things rename column extra to more")
    things.execute("update things set more = 2")
    things.execute("alter table things drop column n")
    things.execute("update things set more = 3")
    assert [entry[1] for entry in log(things)] == [None, ["extra"], ["more"], ["more"]]


def test_a_plain_writers_commit_is_logged_though_it_may_not_write_the_log(things: Connection) -> None:
    things.execute("grant insert on things to authenticated")
    with acting_as(things, "authenticated", uuid4()):
        things.execute("insert into things (project_id) values (%s)", [uuid4()])
    assert [entry[0] for entry in log(things)] == ["I"]


def test_a_heartbeat_is_no_reason_to_log(db: Connection, project: UUID) -> None:
    job = one(
        db, "insert into jobs (project_id, kind, title, status) values (%s, 'k', 'J', 'running') returning id", project
    )
    updated = one(db, "select updated_at from jobs")
    assert one(db, "select job_heartbeat(%s)", job) == {"status": "running", "cancel_requested": False}
    db.execute("update jobs set payload = '{}'")
    assert len(log(db, project)) == 1
    assert one(db, "select updated_at from jobs") == updated
    assert set(log(db, project)[0][2] or {}) & {"payload", "heartbeat_at", "lease_until"} == set()


def test_a_bom_is_in_the_log_under_its_own_id(db: Connection, project: UUID) -> None:
    bom = one(
        db,
        "insert into boms (project_id, organization_id, filename) "
        "select id, organization_id, 'b.csv' from projects where id = %s returning id",
        project,
    )
    db.execute(
        "insert into enrichment_events (event_type, routing_key, bom_id, tenant_id, project_id, source) "
        "select 'enrichment.started', 'customer.enrichment.started', id, organization_id, project_id, source from boms"
    )
    db.execute("update boms set status = 'enriching'")
    told = db.execute("select feed, key, table_name, op from feed_changes order by revision").fetchall()
    assert told == [
        ("enrichment", bom, "boms", "I"),
        ("enrichment", bom, "enrichment_events", "I"),
        ("enrichment", bom, "boms", "U"),
    ]
    db.execute("delete from boms")
    assert one(db, "select count(*) from feed_changes where key = %s and op = 'D'", bom) == 2
