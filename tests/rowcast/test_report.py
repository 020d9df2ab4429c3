"""What a job is told, and what it comes to in its row; against a real server."""
# ruff: noqa: PT012 - what raises is the end of the block under test

import threading
import time

import pytest

from rowcast.errors import JobCancelled, JobLost, NotRunningError
from rowcast.report import Run, total_of

PROJECT = "b1c7c8ab-5c0a-4a1e-9d3e-000000000001"


def a_job(client):
    return client.job(PROJECT, kind="test", title="A test")


@pytest.fixture
def job(connect):
    with connect() as client, a_job(client) as job:
        yield job


def told(job):
    """The pipeline as it would be written now."""
    with job._writer.lock:
        return job._state.pipeline.as_object(job._writer.clock())


def pause(server, job, status="paused"):
    """Somebody sets the job's status; it is known once a write has been answered."""
    server.row("jobs", job.id)["status"] = status
    job.log(f"now it is {status}")


def until(condition):
    """Waits until the answers to a job's writes have told it something; nothing says when."""
    while not condition():
        time.sleep(0.002)


def test_a_plan_s_stages_weigh_what_they_are_said_to(job):
    job.plan({"reading": 1, "writing": 3})
    assert list(job.track("ab", "reading")) == ["a", "b"]
    job.stage("writing", 3)
    job.advance()
    assert told(job)["overall_progress_percent"] == 50.0
    assert told(job)["stages"]["reading"]["is_complete"]


def test_a_generator_that_ends_ends_its_stage(job):
    assert list(job.track(iter("abc"), "reading")) == ["a", "b", "c"]
    assert told(job)["stages"]["reading"] | {"duration_ms": 0} == {
        "name": "reading", "status": "completed", "processed": 3, "total": 3, "in_flight": 0, "progress_percent": 100.0,
        "duration_ms": 0, "is_complete": True, "weight": 1.0, "position": 0,
    }  # fmt: skip


def test_what_an_earlier_attempt_did_counts(job):
    job.stage("reading", 10, done=4)
    job.advance()
    assert (told(job)["stages"]["reading"]["processed"], told(job)["overall_progress_percent"]) == (5, 50.0)


def test_a_loop_in_a_loop_is_a_part_of_its_item(job):
    for _ in job.track("ab", "files"):
        pages = list(job.track([1, 2], "pages"))
        for page in job.track([1, 2, 3, 4], "words"):
            if page == 3:
                assert told(job)["overall_progress_percent"] == 25.0  # half of the first of two files
                break
        break
    stages = told(job)["stages"]
    assert pages == [1, 2]
    assert (stages["pages"]["processed"], stages["pages"]["parent"]) == (2, "files")
    assert list(job.track("c", "more")) == ["c"]
    assert "parent" not in told(job)["stages"]["more"]  # the loop that was left is around nothing any more


def test_a_thread_without_the_context_is_in_no_loop(job):
    def work():
        assert job._place() is None

    for _ in job.track("a", "files"):
        assert job._place() is not None
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()


def test_counters_lines_and_facts(job):
    job.count("entities_total", 3)
    job.count("pages_read")
    job.log("All is well.")
    job.log("x" * 600, level="warning")
    job.describe(document_name="Manual", total_chunks=7)
    pipeline = told(job)
    assert (pipeline["metrics"]["entities_total"], pipeline["metrics"]["pages_read"]) == (3, 1)
    assert [(line["level"], len(line["message"])) for line in pipeline["log"]] == [("info", 12), ("warning", 500)]
    assert (pipeline["document_name"], pipeline["total_chunks"], pipeline["document_id"]) == ("Manual", 7, None)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda job: job.plan({"a": 0}), ValueError, "weight of stage 'a' must be over 0, not 0"),
        (lambda job: job.plan({"a": "1"}), TypeError, "weight must be a number, not str"),
        (lambda job: job.plan({"complete": 1}), ValueError, "stage must not be 'complete'"),
        (lambda job: job.stage("a", weight=-1), ValueError, "weight must be over 0, not -1"),
        (lambda job: job.stage("a", 3, done=-1), ValueError, "done must be a whole number from 0"),
        (lambda job: next(job.track([], total=-1)), ValueError, "total must be a whole number from 0"),
        (lambda job: job.count(""), ValueError, "metric must not be empty"),
        (lambda job: job.count("a", float("nan")), ValueError, "n must be a finite number, not nan"),
        (lambda job: job.count("a", True), TypeError, "n must be a number, not bool"),
        (lambda job: job.log("a", level="loud"), ValueError, "level must be one of debug, info, warning, error"),
        (lambda job: job.describe(total_chunks=1.5), ValueError, "total_chunks must be a whole number"),
        (lambda job: job.describe(document_id=7), TypeError, "document_id must be text, not int"),
        (lambda job: job.checkpoint({1, 2}), TypeError, "a checkpoint must be what JSON can say"),
        (lambda job: job.pool(0), ValueError, "size must be a whole number from 1 to 1000, not 0"),
    ],
)
def test_a_mistake_is_told_where_it_is_made(job, call, error, match):
    with pytest.raises(error, match=match):
        call(job)
    assert told(job)["stages"] == {}


def test_outside_its_block_a_job_takes_nothing(connect):
    with connect() as client:
        job = a_job(client)
        with pytest.raises(NotRunningError):
            job.count("a")
        with pytest.raises(NotRunningError):
            job.check()


def test_a_paused_job_waits_between_items_until_it_is_resumed(server, connect):
    with connect(lease=3) as client, a_job(client) as job:
        pause(server, job)
        until(lambda: job.paused)
        beats = sum(path == "rpc/job_heartbeat" for _, path, _ in server.writes)

        def resume():
            # heartbeats go on, and progress is written
            server.wait(lambda: sum(path == "rpc/job_heartbeat" for _, path, _ in server.writes) > beats)
            server.row("jobs", job.id)["status"] = "running"

        somebody = threading.Thread(target=resume)
        somebody.start()
        assert list(job.track("ab", "reading")) == ["a", "b"]
        assert not job.paused
        somebody.join()


def test_a_job_that_is_stopped_while_paused_ends(server, connect):
    ended = pytest.raises(JobCancelled, match="was ended by somebody: stopped")
    with ended, connect(lease=3) as client, a_job(client) as job:
        pause(server, job)
        until(lambda: job.paused)
        server.row("jobs", job.id)["status"] = "stopped"
        list(job.track("ab", "reading"))
    assert server.row("jobs", job.id)["status"] == "stopped"
    assert job.cancelled


def test_a_job_that_is_another_worker_s_writes_no_end(server, connect):
    def lost():
        return (200, {"status": "lost", "cancel_requested": False})

    with pytest.raises(JobLost, match="is another worker's now"), connect(lease=3) as client, a_job(client) as job:
        server.always["rpc/job_heartbeat"] = lost()
        server.row("jobs", job.id)["status"] = "queued"
        job.log("nobody reads this")
        until(lambda: job.lost)
        job.check()
    assert server.row("jobs", job.id)["status"] == "queued"


def test_a_checkpoint_is_written_after_the_rows_before_it(server, connect):
    with connect() as client, a_job(client) as job:
        assert job.checkpointed is None
        node = job.propose("a", confidence=0.5)
        job.checkpoint({"page": 1})
        job.flush()
        assert server.row("jobs", job.id)["checkpoint"] == {"page": 1}
        assert server.row("proposed_nodes", node)
        job.checkpoint({"page": 2})
    assert server.row("jobs", job.id)["checkpoint"] == {"page": 2}


def test_a_run_may_be_told_another_total_and_be_closed_twice(job):
    run = Run(job, "bar", None)
    run.step(3)
    run.retotal(6)
    run.say("half of it")
    assert (told(job)["stages"]["bar"]["total"], job._state.pipeline.message) == (6, "half of it")
    run.close()
    run.close()


@pytest.mark.parametrize(("items", "total", "expected"), [([1], None, 1), (iter([1]), None, None), ([1], 5, 5)])
def test_a_total_is_the_length_unless_told(items, total, expected):
    assert total_of(items, total) == expected
