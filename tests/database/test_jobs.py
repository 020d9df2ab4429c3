"""A job's life: which status may follow which, lost workers, and what people command."""

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors

from .conftest import Connection, new_bom, new_project, one
from .test_queue import beat, claim, column, end, expire, queue

DOCS = Path(__file__).parents[2] / "docs" / "database.md"
STATUSES = ("queued", "running", "paused", "completed", "failed", "stopped", "stalled")


@pytest.fixture
def db(sandbox: Connection) -> Connection:
    """Nothing here is about what happens at a commit, but where the test says so."""
    return sandbox


@pytest.fixture
def committing(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def command(db: Connection, name: str, job: UUID) -> Any:
    return one(db, f"select {name}_job(job_id => %s)", job)


def stall(db: Connection) -> object:
    return one(db, "select stall_jobs()")


def own_job(db: Connection, project: UUID, **columns: object) -> UUID:
    """A job that its worker made itself: it runs and has a lease, and was never claimed."""
    job = queue(db, project, status="running", **columns)
    one(db, "select job_heartbeat(%s)", job)
    return job


# Which status may follow which


def transitions(db: Connection) -> list[tuple[object, ...]]:
    return db.execute("select from_status, to_status, by from rowcast.job_transitions order by 1, 2").fetchall()


def test_the_documented_table_is_the_databases(db: Connection) -> None:
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (.+) \|$", DOCS.read_text(), re.MULTILINE)
    documented = [row for row in rows if row[0] in STATUSES and row[1] in STATUSES]
    assert sorted(documented) == transitions(db)


def test_every_status_may_become_what_the_table_says_and_nothing_else(db: Connection, project: UUID) -> None:
    allowed = {(was, to) for was, to, _ in transitions(db)} | {(status, status) for status in STATUSES}
    for was, to in product(STATUSES, STATUSES):
        job = queue(db, project, status=was)
        refused = pytest.raises(errors.CheckViolation, match=f"status: a {was} job can't become {to}")
        with nullcontext() if (was, to) in allowed else refused, db.transaction():
            db.execute("update jobs set status = %s where id = %s", [to, job])


def test_what_is_refused_is_told_what_would_be_right(db: Connection, project: UUID) -> None:
    queue(db, project, status="failed")
    with pytest.raises(errors.CheckViolation) as caught, db.transaction():
        db.execute("update jobs set status = 'completed'")
    assert caught.value.diag.message_hint == "It may become queued, running."
    db.execute("update jobs set status = 'running'")
    db.execute("update jobs set status = 'completed'")
    with pytest.raises(errors.CheckViolation) as caught:
        db.execute("update jobs set status = 'queued'")
    assert caught.value.diag.message_hint == "That is final; make another job."


# Lost workers


def test_a_job_whose_lease_has_run_out_is_stalled_and_the_next_workers(db: Connection, project: UUID) -> None:
    lost = queue(db, project)
    old = claim(db)
    expire(db)
    alive = own_job(db, project)
    assert [stall(db), stall(db)] == [1, 0]
    assert (column(db, "status", lost), column(db, "status", alive)) == ("stalled", "running")
    new = claim(db)
    assert (new["job"]["id"], new["job"]["attempt"], new["job"]["status"]) == (str(lost), 2, "running")
    assert beat(db, old)["status"] == "lost"


def test_a_job_that_nobody_claimed_stalls_too_and_can_be_taken_over(db: Connection, project: UUID) -> None:
    job = own_job(db, project)
    assert stall(db) == 0
    expire(db)
    assert stall(db) == 1
    assert claim(db)["job"]["attempt"] == 2
    beat_of_its_maker = one(db, "select job_heartbeat(%s)", job)
    assert beat_of_its_maker == {"status": "lost", "cancel_requested": False}


def test_a_job_without_a_lease_is_nobodys_to_stall(db: Connection, project: UUID) -> None:
    job = queue(db, project, status="running")
    assert stall(db) == 0
    assert column(db, "status", job) == "running"


@pytest.mark.parametrize("claimed", [True, False])
def test_a_worker_that_was_only_slow_goes_on_at_its_heartbeat(db: Connection, project: UUID, claimed: bool) -> None:
    job = queue(db, project) if claimed else own_job(db, project)
    held = claim(db) if claimed else {"job": {"id": str(job)}, "claim": None}
    expire(db)
    stall(db)
    assert beat(db, held) == {"status": "running", "cancel_requested": False}
    assert (column(db, "status", job), column(db, "attempt", job)) == ("running", 1)
    assert stall(db) == 0
    assert claim(db) is None


def test_a_worker_that_was_only_slow_goes_on_with_its_progress(db: Connection, project: UUID) -> None:
    job = own_job(db, project)
    one(db, "select job_heartbeat(%s, lease_seconds => 7)", job)
    expire(db)
    stall(db)
    db.execute("update jobs set progress_current = 3, progress_stage = 'reading'")
    assert column(db, "status", job) == "running"
    assert column(db, "lease_until - heartbeat_at = interval '7 s' and lease_until > now()", job) is True


def test_a_worker_that_was_only_slow_may_end_its_job(db: Connection, project: UUID) -> None:
    queue(db, project)
    held = claim(db)
    expire(db)
    stall(db)
    assert end(db, held, "completed") == "completed"


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_lost_workers_job_that_should_stop_is_stopped(db: Connection, project: UUID, status: str) -> None:
    job = own_job(db, project)
    db.execute("update jobs set status = %s", [status])
    command(db, "cancel", job)
    expire(db)
    assert [stall(db), stall(db)] == [1, 0]
    assert column(db, "array[status, lease_until::text]", job) == ["stopped", None]


def test_a_paused_job_waits_for_whoever_paused_it(db: Connection, project: UUID) -> None:
    job = own_job(db, project)
    db.execute("update jobs set status = 'paused'")
    expire(db)
    assert stall(db) == 0
    assert column(db, "status", job) == "paused"


def test_a_job_lost_at_its_last_attempt_fails_though_no_worker_asks_for_it(db: Connection, project: UUID) -> None:
    job = queue(db, project, max_attempts=1)
    old = claim(db, lease=30)
    expire(db)
    assert [stall(db), stall(db)] == [1, 0]
    assert column(db, "status", job) == "stalled", "its worker may still come back"
    assert claim(db) is None
    expire(db, seconds=31)
    assert [stall(db), stall(db)] == [1, 0]
    error = "Its worker was lost, at attempt 1 of 1."
    assert column(db, "array[status, error_message, lease_until::text]", job) == ["failed", error, None]
    assert [beat(db, old)["status"], end(db, old, "completed")] == ["lost", "lost"]
    assert command(db, "retry", job)["status"] == "queued"


def test_only_one_session_stalls_at_a_time(committing: Connection, connect: Callable[[], Connection]) -> None:
    project = new_project(committing)
    for _ in range(3):
        own_job(committing, project)
    expire(committing)
    first, second = connect(), connect()
    assert one(first, "select stall_jobs(2)") == 2
    assert stall(second) == 0, "the other one has not committed yet"
    first.commit()
    second.commit()
    assert stall(second) == 1


def test_a_bom_that_somebody_holds_keeps_no_other_job_from_being_found(
    committing: Connection, connect: Callable[[], Connection]
) -> None:
    project = new_project(committing)
    bom = new_bom(committing, project)
    run = UUID(one(committing, "select start_enrichment(%s)", bom)["run_id"])  # type: ignore[index]
    claim(committing, "bom_enrichment")
    other = own_job(committing, project)
    expire(committing)
    holder = connect()
    holder.execute("select from boms for update")
    assert [stall(committing), stall(committing)] == [1, 0]
    assert (column(committing, "status", run), column(committing, "status", other)) == ("running", "stalled")
    holder.commit()
    assert stall(committing) == 1


# Commands


@pytest.mark.parametrize("status", ["queued", "stalled", "running", "paused"])
def test_a_job_that_nobody_works_on_is_stopped_at_once(db: Connection, project: UUID, status: str) -> None:
    job = own_job(db, project)
    expire(db)
    db.execute("update jobs set status = %s", [status])
    told = command(db, "cancel", job)
    assert told == {"done": True, "status": "stopped", "attempt": 1, "cancel_requested": True}
    assert column(db, "finished_at is not null", job) is True


@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_worker_is_asked_to_stop_and_does(committing: Connection, status: str) -> None:
    db, project = committing, new_project(committing)
    job = queue(db, project)
    held = claim(db)
    db.execute("update jobs set status = %s", [status])
    told = command(db, "cancel", job)
    assert told == {"done": True, "status": status, "attempt": 1, "cancel_requested": True}
    asked = column(db, "cancel_requested_at", job)
    assert command(db, "cancel", job) == told
    assert column(db, "cancel_requested_at", job) == asked, "it was asked then"
    assert beat(db, held) == {"status": status, "cancel_requested": True}
    assert end(db, held, "stopped") == "stopped"


@pytest.mark.parametrize("status", ["completed", "failed", "stopped"])
def test_what_has_ended_can_not_be_cancelled(db: Connection, project: UUID, status: str) -> None:
    job = queue(db, project, status=status)
    assert command(db, "cancel", job) == {"done": False, "status": status, "attempt": 1, "cancel_requested": False}
    assert column(db, "cancel_requested_at", job) is None


@pytest.mark.parametrize("status", ["failed", "stalled", "stopped"])
def test_a_retry_queues_a_job_as_another_attempt(db: Connection, project: UUID, status: str) -> None:
    job = queue(db, project, max_attempts=1, pipeline="{}")
    held = claim(db)
    assert column(db, "pipeline", job) == {}
    db.execute("update jobs set status = %s, error_message = 'torn', cancel_requested_at = now()", [status])
    told = command(db, "retry", job)
    assert told == {"done": True, "status": "queued", "attempt": 2, "cancel_requested": False}
    assert column(db, "array[error_message, lease_until::text, finished_at::text, pipeline::text]", job) == [None] * 4
    assert column(db, "max_attempts", job) == 2
    assert beat(db, held)["status"] == "lost", "whoever was at it comes too late"
    assert claim(db)["job"]["attempt"] == 2


def test_the_maker_of_a_job_that_is_queued_again_has_lost_it(db: Connection, project: UUID) -> None:
    job = own_job(db, project)
    expire(db)
    stall(db)
    command(db, "retry", job)
    assert one(db, "select job_heartbeat(%s)", job) == {"status": "lost", "cancel_requested": False}
    assert column(db, "lease_until", job) is None


@pytest.mark.parametrize("status", ["queued", "running", "paused", "completed"])
def test_what_is_under_way_or_has_succeeded_can_not_be_retried(db: Connection, project: UUID, status: str) -> None:
    job = queue(db, project, status=status)
    told = command(db, "retry", job)
    assert told == {"done": False, "status": status, "attempt": 1, "cancel_requested": False}


def test_a_run_is_not_retried_beside_another_one_of_its_bom(db: Connection, project: UUID) -> None:
    bom = new_bom(db, project)
    runs = []
    for _ in range(2):
        runs.append(UUID(one(db, "select start_enrichment(%s)", bom)["run_id"]))  # type: ignore[index]
        db.execute("update jobs set status = 'stopped' where finished_at is null")
    assert command(db, "retry", runs[1])["done"] is True
    told = command(db, "retry", runs[0])
    assert told == {"done": False, "status": "stopped", "attempt": 1, "cancel_requested": False}


def events(db: Connection, bom: UUID) -> list[tuple[str, str]]:
    """What is told of a BOM: each event and the status in its state."""
    told = one(db, "select enrichment_history(%s)", bom)
    assert isinstance(told, list)
    return [(event["event_type"].removeprefix("enrichment."), event["state"]["status"]) for event in told]


def test_a_boms_story_follows_the_commands(db: Connection, project: UUID) -> None:
    bom = UUID(
        one(db, """select create_bom(%s, 'b.csv', '[{"line_number": 1}, {"line_number": 2}]')""", project)["bom_id"]  # type: ignore[index]
    )
    db.execute("insert into enrichment_config (organization_id, batch_size) select id, 1 from organizations")
    run = UUID(one(db, "select start_enrichment(%s)", bom)["run_id"])  # type: ignore[index]
    kind = "bom_enrichment"

    def write(held: Any, *results: str) -> Any:
        return one(db, "select write_batch(%s, %s, %s)", run, held["claim"], f"[{','.join(results)}]")

    assert command(db, "cancel", run)["status"] == "stopped", "nobody has begun"
    assert command(db, "retry", run)["status"] == "queued"
    assert events(db, bom) == [("started", "enriching"), ("progress", "stopped"), ("started", "enriching")]
    held = claim(db, kind)
    [item] = write(held)["items"]
    assert command(db, "cancel", run) == {"done": True, "status": "running", "attempt": 2, "cancel_requested": True}
    told = write(held, f'{{"id": "{item["id"]}", "status": "enriched"}}')
    assert (told["status"], told["items"]) == ("stopped", [])
    assert events(db, bom)[3:] == [("progress", "enriching"), ("progress", "stopped")]
    command(db, "retry", run)
    assert events(db, bom)[5:] == [("started", "enriching")]
    held = claim(db, kind)
    [item] = write(held)["items"]
    expire(db)
    stall(db)
    assert one(db, "select status from boms") == "enriching", "it is the next worker's, or this one's if it comes back"
    told = write(held, f'{{"id": "{item["id"]}", "status": "not_found"}}')
    assert told["status"] == "completed"
    assert events(db, bom)[6:] == [("progress", "enriching"), ("completed", "completed")]
    assert one(db, "select status from boms") == "completed"
    assert column(db, "attempt", run) == 3


def test_a_stalled_run_goes_on_with_the_next_batch_of_its_worker(db: Connection, project: UUID) -> None:
    items = '[{"line_number": 1}, {"line_number": 2}]'
    bom = one(db, "select create_bom(%s, 'b.csv', %s)", project, items)["bom_id"]  # type: ignore[index]
    one(db, "select start_enrichment(%s)", bom)
    held = claim(db, "bom_enrichment")
    expire(db)
    stall(db)
    told: Any = one(db, "select write_batch(%s, %s)", held["job"]["id"], held["claim"])
    assert (told["status"], len(told["items"])) == ("running", 2)
    assert stall(db) == 0


@pytest.mark.parametrize("status", ["accepted", "rejected", "proposed"])
def test_a_proposal_is_decided_on(db: Connection, project: UUID, status: str) -> None:
    proposal = one(db, "insert into proposed_nodes (project_id, title) values (%s, 'N') returning id", project)
    assert one(db, "select decide_proposal(%s, %s)", proposal, status) == {"status": status}
    assert one(db, "select status from proposed_nodes") == status


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("stall_jobs(0)", "batch: must be 1 or more, not 0"),
        ('write_batch(null, null, \'[{"status": "failed"}]\')', "results: each must have the id"),
        ("write_batch(null, null, pipeline => '[]')", "pipeline: must be a JSON object, not array"),
        ("decide_proposal(gen_random_uuid(), 'maybe')", "status: must be accepted, rejected or proposed, not maybe"),
        ("decide_proposal(gen_random_uuid(), null)", "status: must be .* not NULL"),
    ],
)
def test_a_bad_argument_is_named(sandbox: Connection, call: str, message: str) -> None:
    with pytest.raises(errors.InvalidParameterValue, match=message):
        sandbox.execute(f"select {call}")


@pytest.mark.parametrize("call", ["cancel_job(%s)", "retry_job(%s)", "decide_proposal(%s, 'accepted')"])
def test_what_is_not_there_is_said_to_be_missing(sandbox: Connection, call: str) -> None:
    with pytest.raises(errors.Error, match=r"there is no (job|proposal)") as caught:
        sandbox.execute(f"select {call}", [uuid4()])
    assert caught.value.sqlstate == "PT404"
