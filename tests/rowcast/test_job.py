"""A job's life in plain code, against a real server."""
# ruff: noqa: PT012, SIM117 - what raises is the end of the block under test

import time

import pytest

import rowcast
from rowcast.errors import DeliveryError, JobCancelled, NotRunningError, RequestError

PROJECT = "b1c7c8ab-5c0a-4a1e-9d3e-000000000001"


def a_job(client, title="A test"):
    return client.job(PROJECT, kind="test", title=title)


def refuse(constraint="proposed_nodes_source_id_fkey"):
    return (409, {"code": "23503", "message": f'violates foreign key constraint "{constraint}"'})


def test_a_job_runs_then_completes(server, connect):
    with connect() as client, a_job(client) as job:
        assert server.row("jobs", job.id)["status"] == "running"
        assert list(job.track("abc", stage="parsing")) == ["a", "b", "c"]
    row = server.row("jobs", job.id)
    assert (row["status"], row["progress_stage"], row["progress_current"], row["progress_total"]) == (
        "completed", "complete", 3, 3,
    )  # fmt: skip
    assert server.updates("status") == ["completed"]


def test_an_exception_marks_the_job_failed_and_goes_on(server, connect):
    with pytest.raises(ValueError, match="page 8"), connect() as client, a_job(client) as job:
        job.stage("parsing", 10)
        job.advance(7)
        raise ValueError("page 8 can't be read")
    row = server.row("jobs", job.id)
    assert (row["status"], row["error_message"]) == ("failed", "ValueError: page 8 can't be read")
    assert (row["progress_stage"], row["progress_current"]) == ("parsing", 7)


def test_a_job_that_ends_early_leaves_no_source_waiting(server, connect):
    with pytest.raises(LookupError), connect() as client, a_job(client) as job:
        done, under_way = job.source("a.md", "markdown"), job.source("b.md", "markdown")
        more = [job.source(f"{number}.md", "markdown") for number in range(150)]
        done.completed()
        under_way.processing()
        raise LookupError("page 8")
    assert server.row("ingestion_sources", done.id)["status"] == "completed"
    row = server.row("ingestion_sources", under_way.id)
    assert (row["status"], row["error_message"]) == (
        "failed", "The job ended before this was done: LookupError: page 8",
    )  # fmt: skip
    assert {server.row("ingestion_sources", each.id)["status"] for each in more} == {"failed"}
    assert len(server.updates("error_message", "ingestion_sources")) == 1 + 1 + 2  # two said, two of at most a hundred


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_and_system_exit_stop_the_job(server, connect, stop):
    with pytest.raises(stop), connect() as client, a_job(client) as job:
        raise stop
    row = server.row("jobs", job.id)
    assert (row["status"], row["error_message"]) == ("stopped", None)


def test_a_job_asked_to_stop_stops_before_its_next_item(server, connect):
    done = []
    with pytest.raises(JobCancelled), connect(lease=3) as client, a_job(client) as job:
        for item in job.track(range(1000), stage="parsing"):
            done.append(item)
            if item == 2:
                server.row("jobs", job.id)["cancel_requested_at"] = "now"
                seen = sum(path == "rpc/job_heartbeat" for _, path, _ in server.writes)
                server.wait(lambda seen=seen: sum(p == "rpc/job_heartbeat" for _, p, _ in server.writes) >= seen + 2)
    assert done == [0, 1, 2]
    assert job.cancelled
    assert server.row("jobs", job.id)["status"] == "stopped"


@pytest.mark.parametrize("how", ["looked", "checked"])
def test_a_job_whose_code_has_seen_that_it_is_to_stop_has_not_completed(server, connect, how):
    with connect() as client, a_job(client) as job:
        server.row("jobs", job.id)["cancel_requested_at"] = "now"
        job.log("the answer to this tells")
        while not job._state.cancel_requested:
            time.sleep(0.002)
        if how == "looked":
            assert job.cancelled
        else:
            with pytest.raises(JobCancelled):
                job.check()
    assert server.row("jobs", job.id)["status"] == "stopped"


def test_an_item_counts_when_its_loop_body_is_done(server, connect):
    with connect() as client, a_job(client) as job:
        with pytest.raises(LookupError):
            for item in job.track([1, 2, 3], stage="parsing"):
                if item == 2:
                    raise LookupError
        assert job._state.pipeline.columns()["progress_current"] == 1


def test_a_generator_s_total_is_unknown_unless_told(server, connect):
    with connect() as client, a_job(client) as job:
        assert list(job.track((n for n in range(2)), stage="parsing"))
        assert job._state.pipeline.columns()["progress_total"] is None
        assert list(job.track((n for n in range(2)), stage="parsing", total=2))
        assert job._state.pipeline.columns()["progress_total"] == 2


def test_an_unknown_project_is_refused_on_entering(server, connect):
    server.faults.append(refuse("jobs_project_id_fkey"))
    with connect() as client:
        with (
            pytest.raises(RequestError, match=r"the job was refused with HTTP 409.*jobs_project_id_fkey") as caught,
            a_job(client),
        ):
            pytest.fail("the block must not run")
        assert caught.value.code == "23503"


def test_a_refused_key_says_so(server):
    with rowcast.connect(server.url, "sb_secret_other") as client:
        with pytest.raises(RequestError, match="is this the secret key of this project"), a_job(client):
            pytest.fail("the block must not run")


def test_nobody_there_is_told_within_the_deadline(server, connect):
    server.die()
    with connect(deadline=0.2) as client:
        with pytest.raises(DeliveryError, match=r"1 row of jobs .*last error: ConnectError") as caught, a_job(client):
            pytest.fail("the block must not run")
        assert caught.value.unwritten == ("1 row of jobs",)
    server.start()


def test_an_end_that_could_not_be_delivered_is_said_plainly(server, connect):
    with pytest.raises(DeliveryError) as caught, connect(deadline=2) as client, a_job(client) as job:
        job.propose("a", confidence=1)
        job.flush()
        server.die()
        job.propose("b", confidence=1)
    assert caught.value.unwritten == ("1 row of proposed_nodes", "the job's end (completed)")
    assert caught.value.last_error is not None
    server.start()


def test_an_undelivered_end_is_a_note_on_the_exception_already_under_way(server, connect):
    with pytest.raises(ValueError, match="mine") as caught, connect(deadline=2) as client, a_job(client):
        server.die()
        raise ValueError("mine")
    assert "could not deliver the job's end. DeliveryError" in caught.value.__notes__[0]
    server.start()


def test_a_refused_row_is_told_by_flush_and_the_job_fails(server, connect):
    server.always["proposed_nodes"] = refuse()
    with connect() as client:
        with pytest.raises(RequestError, match="source_id_fkey"), a_job(client) as job:
            job.propose("a", confidence=1, source_id=PROJECT)
            job.flush()
        row = server.row("jobs", job.id)
        assert row["status"] == "failed"
        assert "source_id_fkey" in row["error_message"]


def test_a_refused_row_is_told_at_the_latest_at_the_end(server, connect):
    server.always["proposed_nodes"] = refuse()
    with connect() as client:
        with pytest.raises(RequestError, match="source_id_fkey"), a_job(client) as job:
            job.propose("a", confidence=1, source_id=PROJECT)
        assert server.row("jobs", job.id)["status"] == "failed"


def test_a_caller_who_handles_the_refusal_may_go_on(server, connect):
    server.always["proposed_nodes"] = refuse()
    with connect() as client, a_job(client) as job:
        job.propose("a", confidence=1, source_id=PROJECT)
        with pytest.raises(RequestError):
            job.flush()
        server.always.clear()
        job.propose("b", confidence=1)
    assert server.row("jobs", job.id)["status"] == "completed"
    assert [row["title"] for row in server.tables["proposed_nodes"].values()] == ["b"]


def test_many_proposals_go_out_a_hundred_to_an_insert_in_order(server, connect):
    with connect() as client, a_job(client) as job:
        ids = job.propose_many(rowcast.Proposal(f"n{number}", 0.5, "body") for number in range(250))
    inserts = [body for _, table, body in server.writes if table == "proposed_nodes"]
    assert [len(body) for body in inserts] == [100, 100, 50]
    assert [row["id"] for body in inserts for row in body] == [str(each) for each in ids]
    assert all(row["job_id"] == str(job.id) and row["project_id"] == PROJECT for body in inserts for row in body)


def test_large_proposals_go_out_in_smaller_inserts(server, connect):
    with connect() as client, a_job(client) as job:
        job.propose_many(rowcast.Proposal(f"n{number}", 0.5, "x" * 200_000) for number in range(5))
    inserts = [body for _, table, body in server.writes if table == "proposed_nodes"]
    assert [len(body) for body in inserts] == [2, 2, 1]


def test_a_bad_proposal_is_refused_where_it_is_made(server, connect):
    with connect() as client, a_job(client) as job:
        with pytest.raises(ValueError, match="confidence must be from 0 to 1, not 7"):
            job.propose("a", confidence=7)
    assert "proposed_nodes" not in server.tables


def test_a_failing_source_is_marked_and_stops_nothing(server, connect):
    def read(name):
        if name == "bad.md":
            raise ValueError("no text in it")

    with connect() as client, a_job(client) as job:
        for name in ("good.md", "bad.md"):
            source = job.source(name, "markdown", uri=f"file:{name}")
            try:
                with source:
                    read(name)
            except ValueError:
                continue
    told = {
        row["source_name"]: (row["status"], row["error_message"]) for row in server.tables["ingestion_sources"].values()
    }
    assert told == {"good.md": ("completed", None), "bad.md": ("failed", "ValueError: no text in it")}
    assert server.updates("status", "ingestion_sources") == ["processing", "completed", "processing", "failed"]


def test_a_job_is_used_inside_its_block_only(server, connect):
    with connect() as client:
        job = a_job(client)
        with pytest.raises(NotRunningError):
            job.advance()
        with job:
            pass
        with pytest.raises(NotRunningError):
            job.advance()
        with pytest.raises(NotRunningError):
            job.propose("a", confidence=1)
        with pytest.raises(NotRunningError, match="a job runs once"), job:
            pass


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda job: job.advance(-1), "n must be 0 or more"),
        (lambda job: job.stage(""), "stage must not be empty"),
        (lambda job: job.stage("complete"), "stage must not be 'complete'"),
        (lambda job: job.stage("parsing", -3), "total must be a whole number"),
        (lambda job: next(job.track([1], "complete")), "stage must not be 'complete'"),
    ],
)
def test_a_bad_argument_is_refused_by_name(server, connect, call, told):
    with connect() as client, a_job(client) as job, pytest.raises(ValueError, match=told):
        call(job)
