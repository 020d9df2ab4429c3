"""What the service asks: changes after a cursor, heads, snapshots; and when a cursor is good for nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import Error

from .conftest import Connection, one

NO_CURSOR = "A reader that has no cursor yet takes a snapshot, whose head is one."


def since(db: Connection, key: object, cursor: object, limit: int = 1000, feed: str = "project") -> dict[str, Any]:
    told = one(db, 'select feed_since(feed => %s, key => %s, since => %s, "limit" => %s)', feed, key, cursor, limit)
    assert isinstance(told, dict)
    assert set(told) == {"head", "reset", "changes", "more"}
    return told


def write(db: Connection, key: object, count: int = 1) -> list[int]:
    """Inserts rows of `things`, one transaction each, and gives their revisions."""
    for _ in range(count):
        db.execute("insert into things (project_id) values (%s)", [key])
    told = db.execute("select revision from feed_changes where key = %s order by 1 desc limit %s", [key, count])
    return sorted(revision for (revision,) in told)


def floor(db: Connection, feed: str = "project") -> int:
    told = one(db, "select floor from rowcast.feeds where feed = %s", feed)
    assert isinstance(told, int)
    return told


def test_changes_are_told_in_pages(things: Connection) -> None:
    key = uuid4()
    start = since(things, key, floor(things))["head"]
    revisions = write(things, key, 5)
    write(things, uuid4(), 2)
    seen, cursor, pages = [], start, 0
    while True:
        page = since(things, key, cursor, limit=2)
        assert (page["reset"], page["head"]) == (False, revisions[-1])
        seen += [change["revision"] for change in page["changes"]]
        pages += 1
        if not page["more"]:
            break
        cursor = seen[-1]
    assert (seen, pages) == (revisions, 3)
    assert since(things, key, start, limit=5)["more"] is False


def test_a_change_has_all_its_fields(things: Connection) -> None:
    key = uuid4()
    start = floor(things)
    things.execute("insert into things (project_id, note) values (%s, 'a')", [key])
    things.execute("update things set n = 3")
    things.execute("delete from things")
    first, second, third = since(things, key, start)["changes"]
    row = {"id": first["row_id"], "project_id": str(key), "n": 0, "note": "a"}
    assert first["committed_at"].endswith("+00:00")
    for change in (first, second, third):
        del change["committed_at"]
    assert first == {
        "revision": first["revision"],
        "prev": 0,
        "table": "things",
        "row_id": row["id"],
        "op": "I",
        "changed": None,
        "row": row,
    }
    assert (second["prev"], second["op"], second["changed"], second["row"]) == (
        first["revision"],
        "U",
        ["n"],
        {**row, "n": 3},
    )
    assert (third["prev"], third["op"], third["changed"], third["row"]) == (second["revision"], "D", None, None)


def test_an_empty_key_has_a_cursor_to_come_back_with(things: Connection) -> None:
    key = uuid4()
    head = one(things, "select feed_heads('project', array[%s::uuid])", key)[str(key)]
    assert since(things, key, head) == {"head": head, "reset": False, "changes": [], "more": False}
    revisions = write(things, key)
    assert [change["revision"] for change in since(things, key, head)["changes"]] == revisions
    assert since(things, key, revisions[0])["changes"] == []


def test_cursors_of_another_time_or_database_are_told_to_reset(things: Connection) -> None:
    key = uuid4()
    (revision,) = write(things, key)
    newest = one(things, "select last_value from rowcast.revision_seq")
    assert isinstance(newest, int)
    for cursor in (0, -1, floor(things) - 1, newest + 1, 2**53):
        assert since(things, key, cursor) == {"head": revision, "reset": True, "changes": [], "more": False}
    other = write(things, uuid4())
    assert since(things, key, other[0])["reset"] is False, (
        "ahead of its key, but not of the database: another key's revision"
    )


def test_a_rebuilt_database_is_ahead_of_old_cursors(db: Connection) -> None:
    assert one(
        db,
        "select last_value between (extract(epoch from now())::bigint - 3600) << 20 and (1::bigint "
        "<< 53) from rowcast.revision_seq",
    )


def test_heads_of_many_keys_come_in_one_answer(things: Connection) -> None:
    keys = [uuid4() for _ in range(3)]
    heads = {str(key): write(things, key, 2)[-1] for key in keys[:2]}
    heads[str(keys[2])] = floor(things)
    assert one(things, "select feed_heads('project', %s)", [*keys, keys[0]]) == heads
    assert one(things, "select feed_heads('project', '{}')") == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("feed_since('nope', gen_random_uuid(), 0)", "feed: there is no feed 'nope' | Feeds: enrichment, project."),
        ("feed_since(null, gen_random_uuid(), 0)", "feed: there is no feed NULL | Feeds: enrichment, project."),
        ("feed_since('project', null, 0)", f"key: must not be NULL | {NO_CURSOR}"),
        ("feed_since('project', gen_random_uuid(), null)", f"since: must not be NULL | {NO_CURSOR}"),
        ("feed_since('project', gen_random_uuid(), 0, 0)", "limit: must be 1 to 10000, not 0"),
        ("feed_since('project', gen_random_uuid(), 0, 10001)", "limit: must be 1 to 10000, not 10001"),
        ("feed_since('project', gen_random_uuid(), 0, null)", f"limit: must not be NULL | {NO_CURSOR}"),
        ("feed_heads('nope', '{}')", "feed: there is no feed 'nope' | Feeds: enrichment, project."),
        ("feed_heads('project', null)", "keys: must not be NULL"),
        ("prune_feed_changes('-1 day')", "retain: must be an interval of 0 or more, not -1 days"),
        ("prune_feed_changes(null)", "retain: must be an interval of 0 or more, not NULL"),
        ("prune_feed_changes('1 day', 0)", "batch: must be 1 or more, not 0"),
        ("job_heartbeat(null)", "job_id: must not be NULL"),
        ("job_heartbeat(gen_random_uuid(), 0)", "lease_seconds: must be 1 to 3600, not 0"),
        (
            "job_heartbeat('00000000-0000-4000-8000-00000000000a')",
            (
                "there is no job 00000000-0000-4000-8000-00000000000a | "
                "It was deleted, or its project was. Its worker should stop."
            ),
        ),
    ],
)
def test_a_bad_argument_is_named(sandbox: Connection, call: str, message: str) -> None:
    with pytest.raises(Error) as caught:
        sandbox.execute(f"select {call}")
    hint = caught.value.diag.message_hint
    assert f"{caught.value.diag.message_primary}{f' | {hint}' if hint else ''}" == message


def test_snapshots_are_of_one_moment_with_their_head(
    things: Connection, project: UUID, connect: Callable[[], Connection]
) -> None:
    # Beside a writer that counts in every row of the project, each snapshot must equal the log up to its head.
    things.execute(
        "insert into jobs (project_id, kind, title) select %s, 'k', 'J' from generate_series(1, 3)", [project]
    )

    def write_on() -> None:
        writer = connect()
        for _ in range(60):
            writer.execute("update jobs set progress_current = progress_current + 1")
            writer.commit()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_on)
        snapshots = []
        while not writing.done():
            snapshots.append(one(things, "select project_snapshot(%s)", project))
        writing.result()
    told = {
        revision: (row["id"], row["progress_current"])
        for revision, row in things.execute(
            "select revision, row from feed_changes where table_name = 'jobs' order by 1"
        )
    }
    for snapshot in snapshots:
        assert isinstance(snapshot, dict)
        state = dict(change for revision, change in told.items() if revision <= snapshot["head"])
        assert {job["id"]: job["progress_current"] for job in snapshot["rows"]["jobs"]} == state
        assert len(set(state.values())) == 1


def test_a_snapshots_rows_are_the_images_of_the_log(
    db: Connection, project: UUID, connect: Callable[[], Connection]
) -> None:
    for n in range(3):
        db.execute("insert into jobs (project_id, kind, title, payload) values (%s, 'k', %s, '{}')", [project, str(n)])
        db.execute(
            "insert into ingestion_sources (project_id, source_name, source_type) values (%s, %s, 't')",
            [project, str(n)],
        )
        db.execute(
            "insert into proposed_nodes (project_id, title, confidence) values (%s, %s, 0.25)", [project, str(n)]
        )
    reader = connect()
    reader.execute("set timezone = 'Asia/Tokyo'")
    snapshot = one(reader, "select project_snapshot(project_id => %s)", project)
    logged: dict[str, list[object]] = {"ingestion_sources": [], "jobs": [], "proposed_nodes": []}
    for table, row in db.execute(
        "select table_name, row from feed_changes where key = %s order by revision", [project]
    ):
        logged[table].append(row)
    assert snapshot == {"head": one(db, "select max(revision) from feed_changes"), "rows": logged}
    nobody = one(db, "select project_snapshot(gen_random_uuid())")
    assert nobody == {"head": floor(db), "rows": {"ingestion_sources": [], "jobs": [], "proposed_nodes": []}}


def age(db: Connection, revision: int, interval: str = "8 days") -> None:
    """Makes a change and all before it look older."""
    db.execute(
        "update feed_changes set committed_at = committed_at - %s::interval where revision <= %s", [interval, revision]
    )


def prune(db: Connection, batch: int = 10000, retain: str = "7 days") -> int:
    total = 0
    while gone := one(db, "select prune_feed_changes(%s, %s)", retain, batch):
        assert isinstance(gone, int)
        total += gone
    return total


@pytest.mark.parametrize("batch", [1, 3, 10000])
def test_pruning_takes_old_changes_and_leaves_each_keys_newest(things: Connection, batch: int) -> None:
    keys = [uuid4() for _ in range(4)]
    old = [revision for key in keys for revision in write(things, key, 5)]
    age(things, old[-1])
    new = write(things, keys[0], 2)
    assert prune(things, batch) == 16
    kept = [revision for (revision,) in things.execute("select revision from feed_changes order by 1")]
    assert kept == [old[4], old[9], old[14], old[19], *new]
    assert prune(things, batch) == 0


def test_after_pruning_a_cursor_is_good_exactly_while_nothing_after_it_is_gone(things: Connection) -> None:
    key, quiet = uuid4(), uuid4()
    (head,) = write(things, quiet)
    start = floor(things)
    revisions = write(things, key, 6)
    age(things, revisions[3])
    assert prune(things) == 3
    for cursor in [start, *revisions[:2]]:
        assert since(things, key, cursor)["reset"], "changes after it are gone"
    for n in range(2, 6):
        page = since(things, key, revisions[n])
        assert (page["reset"], [change["revision"] for change in page["changes"]]) == (False, revisions[n + 1 :])
    # A page on a quiet project has missed nothing, however old its cursor is.
    assert since(things, quiet, head) == {"head": head, "reset": False, "changes": [], "more": False}
    assert since(things, uuid4(), start)["reset"] is False
    (later,) = write(things, quiet)
    assert [change["revision"] for change in since(things, quiet, head)["changes"]] == [later]


def test_a_change_that_does_not_know_its_predecessor_makes_old_cursors_reset_once_pruned(
    things: Connection, connect: Callable[[], Connection]
) -> None:
    key = uuid4()
    start = floor(things)
    (first,) = write(things, key)
    writer = connect()
    writer.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    writer.execute("insert into things (project_id) values (%s)", [key])
    writer.commit()
    second = one(things, "select max(revision) from feed_changes")
    assert isinstance(second, int)
    assert since(things, key, first)["reset"] is False
    assert one(things, "select prev from feed_changes where revision = %s", second) == -1
    write(things, key)
    age(things, second)
    assert prune(things) == 1
    assert since(things, key, first)["reset"] is False
    assert since(things, key, start)["reset"] is True


def test_a_quiet_keys_old_head_goes_when_a_newer_change_grows_old(things: Connection) -> None:
    key = uuid4()
    (first,) = write(things, key)
    age(things, first, "20 days")
    assert prune(things) == 0
    (second,) = write(things, key)
    assert prune(things) == 0
    age(things, second, "8 days")
    assert prune(things) == 1
    assert [r for (r,) in things.execute("select revision from feed_changes where key = %s", [key])] == [second]


def test_a_clock_that_jumped_back_makes_no_hole(things: Connection) -> None:
    key = uuid4()
    revisions = write(things, key, 5)
    things.execute(
        "update feed_changes set committed_at = committed_at - interval '8 days' where revision = any(%s)",
        [revisions[2:4]],
    )
    prune(things)
    kept = [revision for (revision,) in things.execute("select revision from feed_changes order by 1")]
    assert kept == revisions[3:]
    assert since(things, key, revisions[3])["reset"] is False
    assert since(things, key, revisions[1])["reset"] is True


def test_two_do_not_prune_at_once(things: Connection, connect: Callable[[], Connection]) -> None:
    key = uuid4()
    age(things, write(things, key, 3)[-1])
    first = connect()
    assert one(first, "select prune_feed_changes()") == 2
    assert one(things, "select prune_feed_changes()") == 0
    write(things, key)
    first.rollback()
    assert one(things, "select prune_feed_changes()") == 2


def test_a_restart_tells_every_reader_of_the_feed_to_reset(things: Connection) -> None:
    key, bom = uuid4(), uuid4()
    (head,) = write(things, key)
    other = since(things, bom, floor(things, "enrichment"), feed="enrichment")["head"]
    things.execute("alter table things disable trigger user")
    things.execute("update things set n = 1")
    things.execute("alter table things enable trigger user")
    new = one(things, "select rowcast.restart('project')")
    assert since(things, key, head) == {"head": new, "reset": True, "changes": [], "more": False}
    assert one(things, "select feed_heads('project', array[%s::uuid])", key) == {str(key): new}, "so a listener notices"
    assert one(things, "select project_snapshot(%s) -> 'head'", key) == new
    assert since(things, key, new)["reset"] is False
    assert since(things, bom, other, feed="enrichment")["reset"] is False
    (revision,) = write(things, key)
    assert [(c["revision"], c["prev"]) for c in since(things, key, new)["changes"]] == [(revision, head)]


def test_a_restart_puts_a_restored_database_ahead_of_all_it_ever_told(things: Connection) -> None:
    lost = write(things, uuid4(), 3)[-1]
    things.execute("select setval('rowcast.revision_seq', %s)", [lost - 1000])  # as a backup from a while ago has it
    new = one(things, "select rowcast.restart('project')")
    assert isinstance(new, int)
    assert new > lost
