"""The SDK against the real thing: PostgreSQL with our migrations, behind Supabase's REST."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

import rowcast
from devstack.lite import Keys, Lite
from devstack.postgres import Postgres
from devstack.stack import BOOTSTRAP, run_script
from rowcast.config import Config
from rowcast.state import Delivered, JobState
from rowcast.transport import Rest

ROOT = Path(__file__).parents[2]
INSERT_PROJECT = """with o as (insert into organizations (name) values ('SDK') returning id)
    insert into projects (organization_id, name) select id, 'SDK' from o returning id"""


@pytest.fixture
def database_connection(stack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
def project(database_connection) -> UUID:
    return database_connection.execute(INSERT_PROJECT).fetchone()["id"]


@pytest.fixture
def connect(stack):
    return lambda **options: rowcast.connect(stack.supabase_url, stack.secret_key, **options)


@pytest.fixture
def row(database_connection):
    def read(job_id: UUID) -> dict:
        return database_connection.execute("select * from jobs where id = %s", [job_id]).fetchone()

    return read


@pytest.fixture
def changes(database_connection):
    """The logged images of a row, oldest first."""

    def read(row_id: UUID) -> list[dict]:
        sql = "select row from feed_changes where row_id = %s order by revision"
        return [each["row"] for each in database_connection.execute(sql, [str(row_id)])]

    return read


async def test_a_job_s_life_as_the_change_log_tells_it(connect, project, row, changes):
    async with connect() as client, client.job(project, kind="test", title="Life") as job:
        began = row(job.id)
        assert began["status"] == "running"
        assert began["started_at"] is not None
        async for _ in job.track(range(3), stage="parsing"):
            pass
    ended = row(job.id)
    assert ended["status"] == "completed"
    assert ended["finished_at"] >= ended["started_at"]
    assert ended["lease_until"] > ended["heartbeat_at"]
    images = changes(job.id)
    assert images[0]["status"] == "running"
    last = images[-1]
    assert (last["status"], last["progress_stage"], last["progress_current"], last["progress_total"]) == (
        "completed", "complete", 3, 3,
    )  # fmt: skip
    assert last["pipeline"]["stages"]["parsing"]["processed"] == 3
    assert last["pipeline"]["overall_progress_percent"] == 100
    assert all(image["status"] == "running" for image in images[:-1])


def test_a_failure_its_message_and_its_last_progress(connect, project, row):
    def work():
        with connect() as client, client.job(project, kind="test", title="Failure") as job:
            ids.append(job.id)
            job.stage("parsing", 10)
            job.advance(7, message="page\x008")
            raise ValueError("page 8 can't be read")

    ids = []
    with pytest.raises(ValueError, match="page 8"):
        work()
    ended = row(ids[0])
    assert (ended["status"], ended["error_message"]) == ("failed", "ValueError: page 8 can't be read")
    assert (ended["progress_stage"], ended["progress_current"], ended["progress_total"]) == ("parsing", 7, 10)
    assert ended["progress_message"] == "page\N{REPLACEMENT CHARACTER}8"


async def test_a_job_asked_to_stop_ends_stopped(connect, project, row, database_connection):
    async def work(job):
        async with job:
            database_connection.execute("update jobs set cancel_requested_at = now() where id = %s", [job.id])
            async for _ in job.track(iter(int, 1), stage="forever"):
                await asyncio.sleep(0.01)

    async with connect(lease=3) as client:
        job = client.job(project, kind="test", title="Stop")
        with pytest.raises(rowcast.JobCancelled):
            await work(job)
    assert row(job.id)["status"] == "stopped"


async def test_a_cancelled_task_ends_stopped(connect, project, row):
    async def work():
        async with client.job(project, kind="test", title="Cancel") as job:
            entered.set_result(job.id)
            await asyncio.Event().wait()

    entered = asyncio.get_running_loop().create_future()
    async with connect() as client:
        task = asyncio.create_task(work())
        job_id = await entered
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert row(job_id)["status"] == "stopped"


def test_an_unknown_project_is_refused_with_the_database_s_own_word(connect):
    with (
        connect() as client,
        pytest.raises(rowcast.RequestError, match="is not present in table") as caught,
        client.job(uuid4(), kind="test", title="Nowhere"),
    ):
        pytest.fail("the block must not run")
    assert caught.value.code == "23503"


def test_a_source_that_does_not_exist_is_refused_and_fails_the_job(connect, project, row):
    def work():
        with connect() as client, client.job(project, kind="test", title="Refused") as job:
            ids.append(job.id)
            job.propose("a", confidence=1, source_id=uuid4())

    ids = []
    with pytest.raises(rowcast.RequestError, match="source_id"):
        work()
    assert row(ids[0])["status"] == "failed"


def test_a_key_of_another_project_is_refused(stack, project):
    with (
        rowcast.connect(stack.supabase_url, "sb_secret_of_another_project") as client,
        pytest.raises(rowcast.RequestError, match="is this the secret key of this project"),
        client.job(project, kind="test", title="Refused"),
    ):
        pytest.fail("the block must not run")


def test_a_job_that_was_deleted_meanwhile_is_told(connect, project, database_connection):
    def work():
        with connect() as client, client.job(project, kind="test", title="Deleted") as job:
            database_connection.execute("delete from jobs where id = %s", [job.id])

    with pytest.raises(rowcast.RequestError, match=r"its row is gone|there is no job"):
        work()


def test_a_database_that_answers_nobody_for_a_while_holds_up_no_work(connect, project, row, stack, database_connection):
    jobs_locked = threading.Event()
    unlock = threading.Event()

    def hold_the_table():
        with psycopg.connect(stack.database_url) as other:
            other.execute("lock table jobs in access exclusive mode")
            jobs_locked.set()
            assert unlock.wait(60)

    with connect() as client, client.job(project, kind="test", title="Locked") as job, ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold_the_table)
        assert jobs_locked.wait(20)
        job.stage("counting", 500)
        for number in range(500):
            job.advance()
            job.propose(f"n{number}", confidence=0.5)
        unlock.set()
        holding.result(20)
    assert row(job.id)["progress_current"] == 500
    sql = "select title from proposed_nodes where job_id = %s"
    titles = [each["title"] for each in database_connection.execute(sql, [job.id])]
    assert sorted(titles) == sorted(f"n{number}" for number in range(500))


def test_sources_and_proposals_as_rows(connect, project, database_connection):
    with connect() as client, client.job(project, kind="test", title="Rows") as job:
        with job.source("a.md", "markdown", uri="file:///a.md") as source:
            job.propose("Lease", confidence=0.75, body="how long", source_id=source.id)
        job.source("b.md", "markdown").failed("no text in it")
    sources = database_connection.execute(
        "select source_name, source_type, uri, status, error_message from ingestion_sources where project_id = %s"
        " order by source_name", [project],
    ).fetchall()  # fmt: skip
    assert [tuple(each.values()) for each in sources] == [
        ("a.md", "markdown", "file:///a.md", "completed", None),
        ("b.md", "markdown", None, "failed", "no text in it"),
    ]
    nodes = database_connection.execute("select * from proposed_nodes where project_id = %s", [project]).fetchall()
    assert [(n["title"], n["body"], n["confidence"], n["status"], n["job_id"], n["source_id"]) for n in nodes] == [
        ("Lease", "how long", 0.75, "proposed", job.id, source.id)
    ]


@pytest.fixture
def queued(database_connection, project):
    """Queues a job of a kind of its own, that no other test's worker takes; gives that kind and the job's id."""

    def queue(**columns) -> tuple[str, UUID]:
        kind = f"kind-{uuid4()}"
        columns = {"project_id": project, "kind": kind, "title": "Queued", **columns}
        sql = f"insert into jobs ({', '.join(columns)}) values ({', '.join(['%s'] * len(columns))}) returning id"
        return kind, database_connection.execute(sql, list(columns.values())).fetchone()["id"]

    return queue


async def test_a_claimed_job_runs_and_ends_like_any_other(connect, queued, row):
    kind, job_id = queued(payload='{"pages": 3}')
    async with connect(interval=0) as client:
        job = await client.claim("another kind", kind)
        assert await client.claim(kind) is None
        async with job:
            assert (job.id, job.row["payload"], row(job_id)["status"]) == (job_id, {"pages": 3}, "running")
            async for _ in job.track(range(3), stage="printing"):
                pass
            await job.propose("A page", confidence=1)
    ended = row(job_id)
    assert (ended["status"], ended["progress_stage"], ended["progress_current"], ended["progress_total"]) == (
        "completed", "complete", 3, 3,
    )  # fmt: skip


def test_so_it_does_in_plain_code_and_one_that_fails_says_why(connect, queued, row):
    kind, job_id = queued()
    with connect() as client, pytest.raises(OSError, match="out of paper"), client.claim(kind):
        raise OSError("out of paper")
    assert (row(job_id)["status"], row(job_id)["error_message"]) == ("failed", "OSError: out of paper")


async def test_a_worker_that_is_stopped_gives_its_job_back(connect, queued, row):
    kind, job_id = queued()

    async def work():
        async with await client.claim(kind):
            working.set()
            await asyncio.Event().wait()

    working = asyncio.Event()
    async with connect() as client:
        task = asyncio.create_task(work())
        await working.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (row(job_id)["status"], row(job_id)["attempt"]) == ("queued", 1)
        assert (await client.claim(kind)).id == job_id


async def test_a_worker_that_lost_its_job_hears_of_it_and_ends_nothing(connect, queued, row, database_connection):
    kind, job_id = queued()
    async with connect(lease=3) as client:
        async with await client.claim(kind) as job:
            new = None
            while new is None:  # as if this worker had been silent for too long; a heartbeat may still come between
                expire = "update jobs set lease_until = now() - interval '1 s' where id = %s"
                database_connection.execute(expire, [job_id])
                new = await client.claim(kind)
            while not job.lost:
                await asyncio.sleep(0.05)
            with pytest.raises(rowcast.JobLost):
                await anext(job.track(range(3)))
        assert (row(job_id)["status"], row(job_id)["attempt"]) == ("running", 2)
        async with new:
            pass
    assert row(job_id)["status"] == "completed"


async def test_postgresql_stopped_and_started_again_loses_nothing(scratch):
    """On a PostgreSQL and a REST of its own, which may be stopped."""

    def unused_port():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    def count():
        with psycopg.connect(postgres.url()) as connection:
            return connection.execute("select count(*) from proposed_nodes").fetchone()[0]

    directory = scratch / "outage"
    directory.mkdir()
    keys = Keys("sb_publishable_outage", "sb_secret_outage", "a secret of at least thirty-two characters")
    postgres = Postgres(directory, unused_port(), "password")
    postgres.start()
    run_script(postgres.url(), BOOTSTRAP)
    rest = Lite(directory, unused_port(), postgres.url(), keys, ROOT / "supabase" / "migrations")
    rest.configure()
    await rest.migrate()
    await rest.start()
    try:
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            project = connection.execute(INSERT_PROJECT).fetchone()[0]
        async with (
            rowcast.connect(rest.url, keys.secret) as client,
            client.job(project, kind="test", title="Outage") as job,
        ):
            job.stage("counting", 500)
            await rest.stop()  # Lite does not always survive its database
            await asyncio.to_thread(postgres.stop)
            for number in range(500):
                job.advance()
                await job.propose(f"n{number}", confidence=0.5)
            await asyncio.to_thread(postgres.start)
            await rest.start()
            await job.flush()
            assert count() == 500
        with psycopg.connect(postgres.url()) as connection:
            sql = "select status, progress_current from jobs where id = %s"
            assert connection.execute(sql, [job.id]).fetchone() == ("completed", 500)
    finally:
        await rest.stop()
        postgres.stop("immediate")


def test_a_worker_that_was_only_slow_goes_on_with_a_job_that_stalled(connect, project, row, database_connection):
    with connect(interval=0) as client, client.job(project, kind="test", title="Slow") as job:
        stalled = "update jobs set status = 'stalled' where id = %s"
        database_connection.execute(stalled, [job.id])
        for _ in job.track(range(3), stage="again"):
            pass
    assert (row(job.id)["status"], row(job.id)["attempt"]) == ("completed", 1)


def test_a_job_that_was_queued_for_another_attempt_is_not_its_makers_to_end(connect, project, row, database_connection):
    def work():
        with connect() as client, client.job(project, kind="test", title="Retried") as job:
            jobs.append(job.id)
            with database_connection.transaction():  # or its heartbeat comes between the two
                database_connection.execute("update jobs set status = 'stalled' where id = %s", [job.id])
                database_connection.execute("select retry_job(%s)", [job.id])

    jobs: list[UUID] = []
    with pytest.raises(rowcast.RequestError, match="another attempt's"):
        work()
    assert row(jobs[0])["status"] == "queued"


def test_a_status_that_can_not_follow_is_refused_at_once(connect, project, row, database_connection):
    def work():
        with connect() as client, client.job(project, kind="test", title="Stopped") as job:
            database_connection.execute("update jobs set status = 'stopped' where id = %s", [job.id])

    with pytest.raises(rowcast.RequestError, match="a stopped job can't become completed"):
        work()


def test_another_attempt_finds_the_checkpoint_and_a_pipeline_of_its_own(connect, queued, row, changes):
    kind, job_id = queued()
    with connect(interval=0.02) as client:
        with pytest.raises(OSError, match="torn"), client.claim(kind) as job:  # noqa: PT012 - the end of its block
            job.stage("reading", 10)
            job.advance(4)
            job.checkpoint({"page": 4})
            raise OSError("torn")
        assert row(job_id)["pipeline"]["stages"]["reading"]["status"] == "error"
        client.call("retry_job", job_id=job_id)
        with client.claim(kind) as job:
            assert (job.attempt, job.checkpointed) == (2, {"page": 4})
            job.stage("reading", 10, done=job.checkpointed["page"])
            job.advance(6)
    ended = row(job_id)
    assert (ended["status"], ended["pipeline"]["overall_progress_percent"]) == ("completed", 100)
    assert all("checkpoint" not in image for image in changes(job_id))


def test_progress_that_arrives_late_writes_nothing(stack, queued, row, database_connection):
    def write():
        """The worker's next progress, as it would be sent."""
        job.pipeline.current.processed += 1
        job.changed = True
        taken = job.take(0)
        job.settle(taken, Delivered([{}]), 0)
        return taken

    def claimed():
        sql = "select claim_job(array[%s], job_id => %s) as held"
        held = database_connection.execute(sql, [kind, job_id]).fetchone()["held"]
        job = JobState(job_id, held["job"], interval=0, lease=60, chance=lambda: 1, claim=UUID(held["claim"]))
        job.settle(job.take(0), Delivered({"status": "running", "cancel_requested": False}), 0)
        return job

    kind, job_id = queued()
    rest = Rest(Config(stack.supabase_url, stack.secret_key))
    try:
        job = claimed()
        given_up, later, much_later = write(), write(), write()
        assert rest.send(later).answer == [{"id": str(job_id), "status": "running", "cancel_requested_at": None}]
        assert rest.send(given_up).answer == []
        assert row(job_id)["progress_current"] == 2
        database_connection.execute("select end_job(%s, %s, 'queued')", [job_id, job.claim])
        job = claimed()  # by another worker, of the same attempt
        assert rest.send(write()).answer != []
        assert rest.send(much_later).answer == []
        assert row(job_id)["progress_current"] == 1
    finally:
        rest.close()


def test_a_job_that_somebody_pauses_waits_and_goes_on(connect, queued, row, database_connection):
    kind, job_id = queued()
    with connect(interval=0.02, lease=3) as client, client.claim(kind) as job:
        for number in job.track(range(3), "reading"):
            if number == 1:
                database_connection.execute("update jobs set status = 'paused' where id = %s", [job_id])
                job.log("a line, whose answer tells it")
                while not job.paused:
                    time.sleep(0.005)
                resume = "update jobs set status = 'running' where id = %s"
                threading.Timer(0.1, database_connection.execute, [resume, [job_id]]).start()
        assert not job.paused
    assert row(job_id)["status"] == "completed"
