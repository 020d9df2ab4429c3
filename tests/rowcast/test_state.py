import json
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast.errors import JobLost, RequestError
from rowcast.state import BATCH_ROWS, QUEUE_ROWS, Delivered, JobState, Operation, Refused, Unreachable

REFUSED = Refused(RequestError("no", status=409))
LOST = Unreachable("ConnectError")


def make_state(lease=60, interval=0.5, chance=lambda: 1.0, claim=None):
    job_id = uuid4()
    return JobState(job_id, {"id": str(job_id)}, interval=interval, lease=lease, chance=chance, claim=claim)


def started_state(**options):
    """A state whose row is written at 0 and whose first heartbeat is answered."""
    job = make_state(**options)
    job.settle(job.take(0), Delivered([{}]), 0)
    job.settle(job.take(0), Delivered({"status": "running", "cancel_requested": False}), 0)
    return job


def advance(job, n=1):
    job.pipeline.current.processed += n
    job.changed = True


def proposal(rows=1):
    return Operation("proposed_nodes", tuple(json.dumps({"id": str(uuid4())}) for _ in range(rows)))


def deliver(job, now):
    write = job.take(now)
    assert write is not None
    job.settle(write, Delivered([{}]), now)
    return write


def test_the_row_comes_first_then_the_lease():
    job = make_state()
    advance(job)
    job.put(proposal())
    assert [deliver(job, 0).path for _ in range(2)] == ["jobs", "rpc/job_heartbeat"]
    assert job.begun.done()


def test_the_first_progress_is_due_at_once_and_the_next_after_the_interval_with_the_newest_value():
    job = started_state()
    assert job.due() == 20  # the heartbeat
    advance(job)
    assert json.loads(deliver(job, 1).body)["progress_current"] == 1
    advance(job)
    advance(job)
    assert job.take(1.4) is None
    assert job.due() == 1.5
    assert json.loads(deliver(job, 1.5).body)["progress_current"] == 3
    assert job.due() == 20


def test_progress_that_comes_while_a_write_is_under_way_is_written_later():
    job = started_state()
    advance(job)
    write = job.take(0)
    advance(job)
    job.settle(write, Delivered([{}]), 0.1)
    assert json.loads(deliver(job, 0.5).body)["progress_current"] == 2


def test_the_pipeline_rides_on_the_progress_write():
    job = started_state()
    job.pipeline.begin("parsing", 4, 0)
    advance(job)
    told = json.loads(deliver(job, 2).body)["pipeline"]
    assert told["stages"]["parsing"]["progress_percent"] == 25
    assert told["timing"]["elapsed_ms"] == 2000


def test_a_claimed_job_s_last_progress_says_how_it_ends_and_comes_before_the_end():
    job = make_state(claim=uuid4())
    job.settle(job.take(0), Delivered({"status": "running", "cancel_requested": False}), 0)
    advance(job)
    deliver(job, 0)
    job.finish("completed", None, 30)
    writes = [deliver(job, 1) for _ in range(2)]
    assert [write.kind for write in writes] == ["progress", "end"]
    assert json.loads(writes[0].body)["pipeline"]["overall_progress_percent"] == 100


def test_progress_can_not_turn_back_a_job_that_ended():
    job = started_state()
    advance(job)
    assert job.take(0).params["status"] == "in.(running,paused,stalled)"


@pytest.mark.parametrize("first", [0, 1 << 32])
def test_progress_writes_only_above_its_number(first):
    row = {"id": str(uuid4()), "progress_number": first}
    job = JobState(uuid4(), row, interval=0, lease=60, chance=lambda: 1.0, claim=uuid4())
    job.settle(job.take(0), Delivered({"status": "running", "cancel_requested": False}), 0)
    for number in (first + 1, first + 2):
        advance(job)
        write = job.take(0)
        assert (write.params["progress_number"], json.loads(write.body)["progress_number"]) == (f"lt.{number}", number)
        job.settle(write, LOST, 0)
        job.flushed()


def test_what_a_job_writes_counts_for_its_own_attempt_alone():
    job = started_state()
    advance(job)
    assert job.take(0).params["attempt"] == "eq.1"
    row = {"id": str(uuid4()), "attempt": 3}
    job = JobState(uuid4(), row, interval=0.5, lease=60, chance=lambda: 0.5, claim=uuid4())
    job.settle(job.take(0), Delivered({"status": "running", "cancel_requested": False}), 0)
    advance(job)
    assert job.take(0).params["attempt"] == "eq.3"


def test_progress_waits_while_a_call_carries_it():
    job = started_state()
    advance(job)
    assert job.hold(1)["stages"]["work"]["processed"] == 1
    advance(job)
    assert job.take(1) is None
    assert job.due() == 20  # the heartbeat
    job.release(3)
    assert job.due() == 3.5, "as if it had been written"
    assert json.loads(deliver(job, 3.5).body)["progress_current"] == 2


def test_while_it_is_paused_heartbeats_come_often_and_tell_when_it_is_resumed():
    job = started_state()
    advance(job)
    job.settle(job.take(1), Delivered([{"status": "paused", "cancel_requested_at": None}]), 1)
    paused = job.resumed
    assert job.due() == 6
    job.settle(job.take(6), Delivered({"status": "paused", "cancel_requested": False}), 6)
    assert job.resumed is paused
    assert job.due() == 11
    job.settle(job.take(11), Delivered({"status": "running", "cancel_requested": False}), 11)
    assert paused.done()
    assert job.resumed is None
    assert job.due() == 31


@pytest.mark.parametrize("status", ["stopped", "lost"])
def test_what_is_ended_or_lost_is_over(status):
    job = started_state()
    job.checkpoint("7")
    waiting = job.flushed()
    job.settle(job.take(20), Delivered({"status": status, "cancel_requested": False}), 20)
    assert "could not be written" in str(waiting[0].exception())
    advance(job)
    assert job.due() == 40  # heartbeats, and no progress
    done = job.finish("completed", None, 60)
    assert deliver(job, 20).path == "rpc/job_heartbeat"
    with pytest.raises(RequestError, match="could not be written: "):
        done.result(0)


def test_a_job_whose_row_was_deleted_is_over():
    job = started_state()
    job.settle(job.take(20), Refused(RequestError("there is no job", status=404, code="PT404")), 20)
    assert job.ended_as == "deleted"
    assert job.told_otherwise()


def test_a_heartbeat_every_third_of_the_lease_though_nothing_advances():
    job = started_state(lease=30)
    assert job.take(9.9) is None
    write = deliver(job, 10)
    assert json.loads(write.body) == {"job_id": str(job.job_id), "lease_seconds": 30}
    assert job.due() == 20


def test_a_heartbeat_s_answer_tells_that_the_job_was_asked_to_stop():
    job = started_state()
    write = job.take(20)
    job.settle(write, Delivered({"status": "running", "cancel_requested": True}), 20)
    assert job.cancel_requested


def test_a_job_whose_row_is_gone_is_told_to_the_next_caller():
    job = started_state()
    job.settle(job.take(20), Delivered(None), 20)
    assert "its row is gone" in str(job.take_refusal())
    assert job.take_refusal() is None


def test_rows_that_wait_go_out_together_in_their_order_but_not_across_tables():
    job = started_state()
    some, source, more = [proposal() for _ in range(3)], Operation("ingestion_sources", ("{}",)), proposal()
    for operation in (*some, source, more):
        job.put(operation)
    writes = [deliver(job, 0) for _ in range(3)]
    assert [write.operations for write in writes] == [tuple(some), (source,), (more,)]
    assert job.take(0) is None


def test_an_insert_may_be_repeated_and_holds_at_most_a_hundred_rows():
    job = started_state()
    for _ in range(30):
        job.put(proposal(9))
    writes = [deliver(job, 0) for _ in range(3)]
    assert [len(json.loads(write.body)) for write in writes] == [99, 99, 72]
    assert all(write.params["on_conflict"] == "id" for write in writes)
    assert BATCH_ROWS == 100


def test_large_rows_go_out_in_smaller_inserts():
    job = started_state()
    for _ in range(4):
        job.put(Operation("proposed_nodes", (json.dumps({"body": "x" * 200_000}),)))
    assert [len(deliver(job, 0).operations) for _ in range(2)] == [2, 2]


def test_a_full_queue_makes_its_callers_wait_until_their_own_row_is_written():
    job = started_state()
    waits = [job.put(proposal()) for _ in range(QUEUE_ROWS + 1)]
    assert waits[:-1] == [None] * QUEUE_ROWS
    for _ in range(11):
        assert not waits[-1].done()
        deliver(job, 0)
    assert waits[-1].done()
    assert (job.rows, job.bytes) == (0, 0)


def test_what_failed_to_arrive_is_due_again_after_growing_pauses():
    job = started_state()
    job.put(proposal())
    now, pauses = 0.0, []
    for _ in range(8):
        job.settle(job.take(now), LOST, now)
        pauses.append(job.due() - now)
        now = job.due()
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 10, 10]
    assert deliver(job, now).kind == "rows"
    assert not job.queue


def test_pauses_are_jittered_down_to_half():
    job = started_state(chance=lambda: 0.0)
    job.put(proposal())
    job.settle(job.take(0), LOST, 0)
    assert job.due() == 0.125


def test_a_server_that_names_a_time_is_left_alone_that_long():
    job = started_state()
    job.put(proposal())
    job.settle(job.take(0), Unreachable("HTTP 429", 7.0), 0)
    assert job.due() == 7


def test_lost_progress_is_written_though_nothing_advances_any_more():
    job = started_state()
    advance(job)
    job.settle(job.take(0), LOST, 0)
    assert json.loads(deliver(job, 0.75).body)["progress_current"] == 1


def test_after_a_success_the_pauses_begin_small_again():
    job = started_state()
    for _ in range(2):
        job.put(proposal())
        job.settle(job.take(0), LOST, 0)
        assert job.due() == 0.25
        deliver(job, 0.25)
        job._pause_until = 0


def test_lost_progress_is_written_later_with_the_newest_value():
    job = started_state()
    advance(job)
    job.settle(job.take(0), LOST, 0)
    advance(job)
    assert json.loads(deliver(job, 0.75).body)["progress_current"] == 2


def test_a_row_that_never_arrives_stops_neither_heartbeats_nor_progress():
    job = started_state()
    job.put(proposal())
    now, kinds = 0.0, []
    while now < 60:
        write = job.take(now)
        kinds.append(write.kind)
        job.settle(write, LOST if write.kind == "rows" else Delivered([{}]), now)
        advance(job)
        now = max(job.due(), now)
    assert kinds.count("heartbeat") >= 2
    assert kinds.count("progress") >= 5
    assert kinds.count("rows") < 20  # its pauses go on growing beside the others' success


@pytest.mark.parametrize("poison", ["heartbeat", "progress", "rows"])
def test_a_write_that_never_succeeds_lets_every_other_kind_through(poison):
    job = started_state(lease=3)
    now, arrived = 0.0, set()
    while now < 60:
        advance(job)
        if not job.queue:
            job.put(proposal())
        if (write := job.take(now)) is not None:
            arrived.add(write.kind)
            job.settle(write, LOST if write.kind == poison else Delivered([{}]), now)
        now = max(job.due(), now + 0.01)
    assert arrived == {"heartbeat", "progress", "rows"}
    job.finish("completed", None, now + 30)
    while not job.closed and now < 120:
        write = job.take(now)
        if write is not None:
            fails = write.kind == poison and poison != "rows"
            job.settle(write, LOST if fails else Delivered([{}]), now)
        now = max(job.due(), now)
    assert job.closed_by is None
    assert job.closed


def test_of_a_refused_batch_only_the_guilty_row_is_lost():
    job = started_state()
    innocent, guilty, other = proposal(), proposal(), proposal()
    for operation in (innocent, guilty, other):
        job.put(operation)
    job.settle(job.take(0), REFUSED, 0)
    while (write := job.take(0)) is not None:
        assert len(write.operations) == 1
        job.settle(write, REFUSED if write.operations == (guilty,) else Delivered([{}]), 0)
    assert job.take_refusal() is REFUSED.error
    assert not job.queue


def test_a_refusal_goes_to_whoever_waits_for_the_row():
    job = started_state()
    operation = proposal()
    done = operation.wait()
    job.put(operation)
    job.settle(job.take(0), REFUSED, 0)
    assert done.exception() is REFUSED.error
    assert job.take_refusal() is None


def test_a_refused_job_is_over():
    job = make_state()
    job.settle(job.take(0), REFUSED, 0)
    assert job.begun.exception() is REFUSED.error
    assert job.closed
    assert job.due() == float("inf")


def test_success_is_one_write_with_current_equal_to_total():
    job = started_state()
    job.pipeline.begin("parsing", 10, 0)
    advance(job, 7)
    done = job.finish("completed", None, 30)
    write = deliver(job, 0)
    body = json.loads(write.body)
    told = body.pop("pipeline")
    assert body == {
        "status": "completed", "error_message": None, "progress_stage": "complete", "progress_current": 10,
        "progress_total": 10, "progress_message": None,
    }  # fmt: skip
    assert (told["overall_progress_percent"], told["stages"]["parsing"]["status"]) == (100, "completed")
    assert done.done()
    assert job.closed


@pytest.mark.parametrize(("current", "total"), [(5, 5), (0, 0)])
def test_success_without_a_known_total_takes_what_was_counted(current, total):
    job = started_state()
    job.pipeline.current.processed = current
    job.finish("completed", None, 30)
    body = json.loads(deliver(job, 0).body)
    assert (body["progress_current"], body["progress_total"]) == (total, total)


def test_failure_keeps_the_last_progress_in_the_same_write():
    job = started_state()
    job.pipeline.begin("parsing", 10, 0)
    advance(job, 7)
    job.finish("failed", "ValueError: page 8", 30)
    body = json.loads(deliver(job, 0).body)
    assert (body["status"], body["error_message"]) == ("failed", "ValueError: page 8")
    assert (body["progress_stage"], body["progress_current"], body["progress_total"]) == ("parsing", 7, 10)


def test_the_end_waits_for_the_rows():
    job = started_state()
    job.put(proposal())
    job.finish("completed", None, 30)
    assert [deliver(job, 0).kind for _ in range(2)] == ["rows", "end"]


def test_a_job_does_not_succeed_with_a_refused_row_that_nobody_was_told_of():
    job = started_state()
    job.put(proposal())
    done = job.finish("completed", None, 30)
    job.settle(job.take(0), REFUSED, 0)
    assert json.loads(deliver(job, 0).body)["status"] == "failed"
    assert done.exception() is REFUSED.error


def test_the_end_of_a_job_whose_row_is_gone_is_an_error():
    job = started_state()
    done = job.finish("completed", None, 30)
    job.settle(job.take(0), Delivered([]), 0)
    assert "its row is gone" in str(done.exception())


def test_the_end_is_tried_at_once_though_a_pause_was_on_and_no_request_outlasts_the_deadline():
    job = started_state()
    job.put(proposal())
    job.settle(job.take(0), Unreachable("HTTP 503", 50.0), 0)
    job.finish("completed", None, 5)
    write = job.take(1)
    assert write.kind == "rows"
    assert write.patience == 4


def test_what_is_unwritten_is_named():
    job = make_state()
    job.put(proposal(2))
    job.put(Operation("ingestion_sources", ("{}",), where="eq.7"))
    advance(job)
    assert job.unwritten() == (
        "1 row of jobs", "2 rows of proposed_nodes", "1 row of ingestion_sources (status)", "its progress",
    )  # fmt: skip
    job.finish("stopped", None, 0)
    assert job.unwritten()[-1] == "the job's end (stopped)"


def test_a_total_that_was_too_low_grows_with_the_count():
    job = started_state()
    job.pipeline.current.total = 3
    advance(job, 5)
    body = json.loads(deliver(job, 0).body)
    assert (body["progress_current"], body["progress_total"]) == (5, 5)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(0, 5)),
        st.tuples(st.just("propose"), st.integers(1, 150)),
        st.tuples(st.just("write"), st.sampled_from(["arrives", "lost", "answer lost"])),
        st.tuples(st.just("stage"), st.none() | st.integers(0, 50)),
        st.tuples(st.just("checkpoint"), st.none()),
        st.tuples(st.just("wait"), st.floats(0, 15)),
    ),
    max_size=60,
)


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_whatever_is_lost_in_between_every_row_arrives_once_in_order_and_the_end_last(steps):
    job, now = make_state(chance=lambda: 0.5), 0.0
    database, expected, current, row, last_progress, checkpoint = {}, [], 0, {}, -1.0, None

    def write(fate):
        nonlocal last_progress
        request = job.take(now)
        if request is None:
            return
        assert row.get("status") is None or request.kind != "progress"
        if request.kind == "progress":
            assert now >= last_progress + 0.5
            last_progress = now
        if fate != "lost":
            if request.kind == "rows":
                assert request.operations
                for each in json.loads(request.body):
                    database.setdefault(each["id"], each)
            elif request.kind in ("progress", "end"):
                percent = row.get("pipeline", {}).get("overall_progress_percent", 0)
                row.update(json.loads(request.body))
                assert row["pipeline"]["overall_progress_percent"] >= percent
                assert row.get("checkpoint", 0) <= len(database) - 1, "it says that rows are there which are not"
        answer = {"status": "running", "cancel_requested": False} if request.kind == "heartbeat" else [{}]
        job.settle(request, Delivered(answer) if fate == "arrives" else LOST, now)

    for step, value in steps:
        if step == "advance":
            advance(job, value)
            current += value
        elif step == "propose":
            operation = proposal(value)
            expected += [json.loads(text)["id"] for text in operation.objects]
            job.put(operation)
        elif step == "stage":
            job.pipeline.begin("reading", value, now)
            job.changed, current = True, 0
        elif step == "checkpoint":
            job.checkpoint(str(len(expected)))
            checkpoint = len(expected)
        elif step == "wait":
            now += value
        else:
            write(value)
        assert len(job.queue) <= len(steps) + 1

    done = job.finish("completed", None, now + 30)
    while not done.done():
        now = max(now, job.due())
        write("arrives")
    assert list(database)[1:] == expected
    assert row["status"] == "completed"
    assert row["progress_current"] == max(current, job.pipeline.columns()["progress_total"] or 0)
    assert row.get("checkpoint") == checkpoint


def test_a_claimed_job_has_its_row_and_names_its_claim():
    job = make_state(claim=uuid4())
    assert job.begun.done()
    heartbeat = job.take(0)
    assert heartbeat.path == "rpc/job_heartbeat"
    assert json.loads(heartbeat.body)["claim"] == str(job.claim)
    job.settle(heartbeat, Delivered({"status": "running", "cancel_requested": False}), 0)
    assert not job.lost
    advance(job, 3)
    job.put(proposal())
    job.finish("queued", None, 30)
    rows, progress, end = [deliver(job, 1) for _ in range(3)]
    assert json.loads(progress.body)["progress_current"] == 3
    assert rows.path == "proposed_nodes"
    assert end.path == "rpc/end_job"
    told = {"job_id": str(job.job_id), "claim": str(job.claim), "status": "queued", "error_message": None}
    assert json.loads(end.body) == told
    assert job.closed
    assert job.end.done.result() is None


def test_a_claim_that_is_lost_is_heard_of_with_the_next_heartbeat():
    job = make_state(claim=uuid4())
    job.settle(job.take(0), Delivered({"status": "lost", "cancel_requested": False}), 0)
    assert job.lost


def test_a_job_that_is_lost_writes_no_more_rows():
    job = make_state(claim=uuid4())
    operation = proposal()
    done = operation.wait()
    job.put(operation)
    job.settle(job.take(0), Delivered({"status": "lost", "cancel_requested": False}), 0)
    assert isinstance(done.exception(), JobLost)
    assert (list(job.queue), job.rows, job.bytes) == ([], 0, 0)


def test_its_maker_does_not_end_a_job_that_another_worker_has_claimed():
    job = started_state()
    advance(job)
    deliver(job, 0)
    job.finish("completed", None, 30)
    end = job.take(1)
    assert (end.kind, end.params["progress_number"]) == ("end", "lt.2")


def test_a_refused_row_that_nobody_waited_for_takes_the_checkpoints_behind_it_along():
    job = started_state()
    job.put(proposal())
    job.checkpoint("1")
    job.settle(job.take(0), REFUSED, 0)
    job.finish("completed", None, 30)
    assert "checkpoint" not in job.take(1).body


def test_whoever_is_told_of_it_and_goes_on_leaves_checkpoints_again():
    job = started_state()
    job.put(proposal())
    job.settle(job.take(0), REFUSED, 0)
    job.checkpoint("1")
    assert job.take_refusal() is REFUSED.error
    job.checkpoint("2")
    assert json.loads(job.take(1).body)["checkpoint"] == 2


def test_a_job_that_is_ended_twice_ends_once():
    job = started_state()
    assert job.finish("stopped", "first", 30) is job.finish("failed", "second", 30)
    assert job.end.status == "stopped"
