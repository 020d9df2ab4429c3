"""The writer thread against a real server that misbehaves."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

import rowcast
from rowcast.state import Delivered, JobState
from rowcast.writer import Writer

PROJECT = uuid4()


def a_job(client, **options):
    return client.job(PROJECT, kind="test", title="A test", **options)


def proposals(server):
    return [row["title"] for row in server.tables.get("proposed_nodes", {}).values()]


@pytest.mark.parametrize("fault", ["drop", "drop after", 500, 503, 429])
def test_a_fault_on_every_other_request_loses_nothing_and_doubles_nothing(server, connect, fault):
    server.faults.extend([fault, None] * 30)
    with connect() as client, a_job(client) as job:
        job.stage("counting", 40)
        for number in range(40):
            job.propose(f"n{number}", confidence=0.5)
            job.advance()
    assert proposals(server) == [f"n{number}" for number in range(40)]
    assert server.row("jobs", job.id)["status"] == "completed"
    assert len(server.tables["jobs"]) == 1


def test_progress_is_written_newest_wins_first_and_last_arrive(server, connect):
    with connect(interval=0.05) as client, a_job(client) as job:
        job.stage("counting", 1000)
        server.wait(lambda: server.updates("progress_stage") == ["counting"])
        for _ in range(1000):
            job.advance()
        server.wait(lambda: server.row("jobs", job.id).get("progress_current") == 1000)
    counts = server.updates("progress_current")
    assert counts == sorted(counts)
    assert len(counts) < 10
    assert server.updates("progress_stage")[-1] == "complete"
    assert server.updates("status") == ["completed"]


def test_the_server_dies_and_comes_back_while_the_work_goes_on(server, connect, caplog):
    caplog.set_level(logging.INFO, "rowcast")
    with connect() as client, a_job(client) as job:
        job.stage("counting", 3000)
        job.advance(1000)
        server.wait(lambda: server.row("jobs", job.id).get("progress_current") == 1000)
        server.die()
        for number in range(900):
            job.advance()
            job.propose(f"n{number}", confidence=0.5)
        server.start()
        server.wait(lambda: server.row("jobs", job.id)["progress_current"] == 1900)
        job.advance(1100)
    assert server.updates("progress_current")[-1] == 3000
    assert proposals(server) == [f"n{number}" for number in range(900)]
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "Can't write to the database",
        "Writing to the database again.",
    ]


def beats(server):
    return sum(path == "rpc/job_heartbeat" for _, path, _ in server.writes)


def test_a_server_that_asks_for_patience_is_asked_again_after_it(server, connect):
    server.headers["Retry-After"] = "1"
    with connect() as client, a_job(client) as job:
        server.wait(lambda: beats(server) == 1)
        server.faults.append(429)
        asked = server.requests
        job.advance()
        server.wait(lambda: server.requests == asked + 1)
        job.advance()
        server.wait(lambda: server.row("jobs", job.id).get("progress_current") == 2)
        assert server.requests == asked + 2


def test_until_then_it_hears_nothing_from_any_job_of_the_client(server, connect):
    def work():
        # the deadline is for entering too, on a busy machine
        with connect(deadline=3) as client, a_job(client) as job, a_job(client) as other:
            server.wait(lambda: beats(server) == 2)
            server.headers["Retry-After"] = "60"
            server.faults.append(429)
            asked.append(server.requests)
            job.advance()
            server.wait(lambda: server.requests == asked[0] + 1)
            other.advance()

    asked = []
    with pytest.raises(rowcast.DeliveryError):
        work()
    assert server.requests == asked[0] + 1


def test_a_request_that_hangs_holds_up_neither_work_nor_the_newest_state(server, connect):
    let_go = threading.Event()
    hanging = threading.Event()

    def hang():
        hanging.set()
        let_go.wait(20)

    with connect(interval=0) as client, a_job(client) as job:
        server.wait(lambda: beats(server) == 1)
        server.faults.append(hang)
        job.advance()
        assert hanging.wait(20)
        for _ in range(10_000):
            job.advance()
        let_go.set()
        server.wait(lambda: server.row("jobs", job.id).get("progress_current") == 10_001)
    assert server.updates("progress_current")[:2] == [1, 10_001]


def test_many_threads_may_report_on_one_job(server, connect):
    with connect() as client, a_job(client) as job, ThreadPoolExecutor(8) as pool:
        job.stage("counting", 8000)
        list(pool.map(lambda _: [job.advance() for _ in range(1000)], range(8)))
    assert server.row("jobs", job.id)["progress_current"] == 8000


def test_a_signal_handler_may_report_in_the_middle_of_a_report(server, connect):
    with connect() as client, a_job(client) as job:
        with job._writer.lock:  # where a signal may find the thread
            job.advance()
        assert job._state.pipeline.columns()["progress_current"] == 1


def test_jobs_of_one_client_take_turns_and_one_job_s_trouble_is_its_own(server, connect):
    with connect() as client, a_job(client) as healthy:
        server.always["proposed_nodes"] = 500
        with pytest.raises(rowcast.DeliveryError), connect(deadline=2) as other, a_job(other) as poisoned:
            poisoned.propose("x", confidence=1)
        sick = a_job(client)
        with sick:
            sick.propose("y", confidence=1)
            healthy.advance(5)
            server.wait(lambda: server.row("jobs", healthy.id).get("progress_current") == 5)
            server.always.clear()
    assert server.row("jobs", sick.id)["status"] == "completed"


def test_a_fault_of_the_thread_itself_is_told_to_everyone_who_waits(caplog):
    class Broken:
        def send(self, _):
            raise ZeroDivisionError("a bug")

        def close(self): ...

    writer = Writer(Broken)
    job = JobState(uuid4(), {}, interval=0.5, lease=60, chance=lambda: 0.5)
    writer.add(job)
    writer.start()
    with pytest.raises(rowcast.RowcastError, match="the writer thread failed: ZeroDivisionError: a bug"):
        job.begun.result(20)
    with pytest.raises(rowcast.RowcastError, match="the writer thread failed"):
        writer.add(JobState(uuid4(), {}, interval=0.5, lease=60, chance=lambda: 0.5))
    assert "The writer thread failed" in caplog.text


def test_a_closed_writer_ends_its_thread_and_its_transport():
    closed = threading.Event()

    class Idle:
        def send(self, _):
            return Delivered([])

        def close(self):
            closed.set()

    writer = Writer(Idle)
    writer.start()
    writer.close(rowcast.RowcastError("over"))
    writer.join(20)
    assert closed.is_set()
