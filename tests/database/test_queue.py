"""The queue of jobs: claims, leases, and what a worker that lost its job can no longer do."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import errors

from .conftest import Connection, new_project, one


def queue(db: Connection, project: UUID, title: str = "J", **columns: object) -> UUID:
    names = ", ".join(["project_id", "kind", "title", *columns])
    holes = ", ".join(["%s"] * (3 + len(columns)))
    job = one(db, f"insert into jobs ({names}) values ({holes}) returning id", project, "k", title, *columns.values())
    assert isinstance(job, UUID)
    return job


def claim(db: Connection, kind: str = "k", lease: int = 60) -> Any:
    return one(db, "select claim_job(kinds => %s, lease_seconds => %s)", [kind], lease)


def beat(db: Connection, held: Any) -> Any:
    return one(db, "select job_heartbeat(job_id => %s, claim => %s)", held["job"]["id"], held["claim"])


def end(db: Connection, held: Any, status: str, error: str | None = None) -> object:
    told = one(db, "select end_job(%s, %s, %s, %s)", held["job"]["id"], held["claim"], status, error)
    assert isinstance(told, dict)
    return told["status"]


def column(db: Connection, name: str, job: UUID) -> object:
    return one(db, f"select {name} from jobs where id = %s", job)


def expire(db: Connection, seconds: int = 1) -> None:
    """The lease of every job ran out so long ago."""
    db.execute(
        "update jobs set heartbeat_at = heartbeat_at - lease_until + ago, lease_until = ago "
        "from (select now() - make_interval(secs => %s) as ago) then_ where lease_until is not null",
        [seconds],
    )


def test_the_queue_gives_the_highest_priority_first_and_then_the_oldest(db: Connection, project: UUID) -> None:
    for title, priority in (("first", 5), ("second", 5), ("urgent", 9), ("later", 1)):
        queue(db, project, title, priority=priority)
    queue(db, project, "mine is running", status="running")
    taken = [claim(db)["job"]["title"] for _ in range(4)]
    assert taken == ["urgent", "first", "second", "later"]
    assert claim(db) is None
    assert claim(db, "another kind") is None


def test_a_worker_may_want_one_job_and_no_other(db: Connection, project: UUID) -> None:
    queue(db, project, priority=9)
    mine = queue(db, project)
    claim_mine = "select claim_job(kinds => array['k'], job_id => %s)"
    assert one(db, claim_mine, mine)["job"]["id"] == str(mine)  # type: ignore[index]
    assert one(db, claim_mine, mine) is None
    expire(db)
    assert one(db, claim_mine, mine)["job"]["attempt"] == 2  # type: ignore[index]


def test_a_claim_runs_the_job_and_tells_what_it_is_asked_to_do(db: Connection, project: UUID) -> None:
    job = queue(db, project, payload='{"pages": 3}')
    held = claim(db, lease=90)
    assert held["job"] | {"id": str(job), "status": "running", "attempt": 1, "payload": {"pages": 3}} == held["job"]
    assert column(db, "lease_until - heartbeat_at = interval '90 s' and started_at is not null", job) is True


def test_workers_that_claim_at_once_get_different_jobs(
    db: Connection, connect: Callable[[], Connection], project: UUID
) -> None:
    jobs = [str(queue(db, project, priority=priority)) for priority in (9, 7, 5)]
    db.execute("update jobs set kind = 'other' where priority = 7")
    workers = [connect() for _ in range(4)]  # none of them commits before all have claimed
    taken: list[Any] = [one(worker, "select claim_job('{k,other}')") for worker in workers]
    assert [held and held["job"]["id"] for held in taken] == [*jobs, None]


def test_a_claim_does_not_read_the_whole_queue(sandbox: Connection) -> None:
    read = "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relid = 'jobs'::regclass"
    sandbox.execute(
        "insert into jobs (project_id, kind, title) select %s, 'k' || n %% 2, 'J' from generate_series(1, 2000) n",
        [new_project(sandbox)],
    )
    before: Any = one(sandbox, read)
    assert one(sandbox, "select claim_job('{k0,k1}')") is not None
    after: Any = one(sandbox, read)
    assert after - before < 100


def test_a_job_whose_worker_is_lost_is_taken_over_and_the_old_worker_shut_out(db: Connection, project: UUID) -> None:
    job = queue(db, project)
    old = claim(db)
    assert claim(db) is None, "its lease holds"
    expire(db)
    new = claim(db)
    assert (new["job"]["id"], new["job"]["attempt"]) == (str(job), 2)
    lease = column(db, "lease_until", job)
    assert beat(db, old) == {"status": "lost", "cancel_requested": False}
    assert end(db, old, "completed") == "lost"
    assert column(db, "lease_until", job) == lease
    assert column(db, "status", job) == "running"
    assert beat(db, new) == {"status": "running", "cancel_requested": False}
    assert end(db, new, "completed") == "completed"
    assert column(db, "progress_stage", job) == "complete"


def test_a_heartbeat_keeps_the_job(db: Connection, project: UUID) -> None:
    queue(db, project)
    held = claim(db, lease=1)
    expire(db)
    assert beat(db, held)["status"] == "running"
    assert claim(db) is None


def test_a_job_that_stalled_is_taken_over_too(db: Connection, project: UUID) -> None:
    job = queue(db, project)
    claim(db)
    expire(db)
    db.execute("update jobs set status = 'stalled'")
    assert claim(db)["job"]["id"] == str(job)


def test_each_claim_counts_its_progress_above_the_one_before(db: Connection, project: UUID) -> None:
    job = queue(db, project)
    numbers = []
    for _ in range(3):
        held = claim(db)
        db.execute("update jobs set progress_number = progress_number + 5")
        numbers.append((held["job"]["progress_number"], column(db, "progress_number", job)))
        end(db, held, "queued")
    assert numbers == [(n << 32, (n << 32) + 5) for n in (1, 2, 3)]


def test_a_job_that_loses_every_worker_fails(db: Connection, project: UUID) -> None:
    job = queue(db, project, max_attempts=2)
    for attempt in (1, 2):
        assert claim(db)["job"]["attempt"] == attempt
        expire(db)
    assert claim(db) is None
    assert column(db, "status", job) == "running", "its worker may still come back"
    expire(db, seconds=61)
    assert claim(db) is None
    assert column(db, "status", job) == "failed"
    assert column(db, "error_message", job) == "Its worker was lost, at attempt 2 of 2."


def test_a_job_that_was_cancelled_before_anyone_began_is_stopped(db: Connection, project: UUID) -> None:
    cancelled, other = queue(db, project, cancel_requested_at="now"), queue(db, project)
    assert claim(db)["job"]["id"] == str(other)
    assert column(db, "status", cancelled) == "stopped"


def test_a_job_given_back_is_the_next_workers_without_another_attempt(db: Connection, project: UUID) -> None:
    job = queue(db, project)
    held = claim(db)
    assert end(db, held, "queued") == "queued"
    assert column(db, "lease_until", job) is None
    assert beat(db, held)["status"] == "lost"
    again = claim(db)
    assert (again["job"]["id"], again["job"]["attempt"]) == (str(job), 1)


@pytest.mark.parametrize(
    ("meanwhile", "asked", "becomes"),
    [
        ("paused", "queued", "paused"),
        ("paused", "failed", "failed"),
        ("queued", "queued", "queued"),
        ("queued", "completed", "completed"),
        ("stopped", "completed", "stopped"),
        ("stopped", "queued", "stopped"),
        ("completed", "failed", "completed"),
    ],
)
def test_what_happened_to_a_job_meanwhile_is_not_undone_by_its_workers_end(
    db: Connection, project: UUID, meanwhile: str, asked: str, becomes: str
) -> None:
    job = queue(db, project)
    held = claim(db)
    db.execute("update jobs set status = %s", [meanwhile])
    assert end(db, held, asked, "broken" if asked == "failed" else None) == becomes
    assert column(db, "error_message", job) == ("broken" if becomes == "failed" else None)


def test_claims_leave_no_trace_in_the_log_beside_the_status(db: Connection, project: UUID) -> None:
    queue(db, project)
    held = claim(db)
    beat(db, held)
    told = db.execute("select op::text, changed from feed_changes where table_name = 'jobs' order by revision")
    assert told.fetchall() == [("I", None), ("U", ["status", "started_at", "updated_at"])]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("claim_job('{}')", "kinds: must name"),
        ("claim_job('{k}', 0)", "lease_seconds: must be 1 to 3600, not 0"),
        ("job_heartbeat(gen_random_uuid(), null)", "lease_seconds: must be 1 to 3600, not NULL"),
        ("end_job(gen_random_uuid(), gen_random_uuid(), 'paused')", "status: must be queued, completed, failed"),
    ],
)
def test_a_bad_argument_is_named(sandbox: Connection, call: str, message: str) -> None:
    with pytest.raises((errors.InvalidParameterValue, errors.NullValueNotAllowed), match=message):
        sandbox.execute(f"select {call}")


def test_a_job_that_is_not_there_is_said_to_be_missing(sandbox: Connection) -> None:
    for call in ("job_heartbeat(%s)", "end_job(%s, gen_random_uuid(), 'failed')", "write_batch(%s, gen_random_uuid())"):
        with pytest.raises(errors.Error, match="there is no job") as caught, sandbox.transaction():
            sandbox.execute(f"select {call}", [uuid4()])
        assert caught.value.sqlstate == "PT404"
