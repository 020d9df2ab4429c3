import pytest

from rowcast.core import note_or_raise
from rowcast.errors import DeliveryError, JobLost
from rowcast.report import total_of

PROJECT = "b1c7c8ab-5c0a-4a1e-9d3e-000000000001"


@pytest.mark.parametrize(
    ("items", "told", "total"),
    [([1, 2], None, 2), ([1, 2], 5, 5), (iter([1]), None, None), (range(3), 0, 0), ({}, None, 0)],
)
def test_the_total_is_what_is_told_else_the_length(items, told, total):
    assert total_of(items, told) == total


def test_trouble_never_masks_an_error_under_way():
    trouble = DeliveryError("late", unwritten=(), last_error=None)
    error = ValueError("mine")
    note_or_raise(error, trouble)
    assert "DeliveryError: late" in error.__notes__[0]
    with pytest.raises(DeliveryError):
        note_or_raise(None, trouble)


def test_a_call_whose_arguments_cannot_be_sent_holds_no_progress_back(server, connect):
    with connect() as client, client.job(PROJECT, kind="test", title="T") as job:
        with pytest.raises(ValueError, match="Out of range"):
            job.call("f", price=float("nan"))
        job.checkpoint(1)
        job.flush()  # until it is written, which progress carries
        assert server.row("jobs", job.id)["checkpoint"] == 1


def test_a_lost_job_takes_no_rows(connect):
    # the lock throughout: its heartbeat would hear otherwise
    with connect() as client, client.job(PROJECT, kind="test", title="T") as job, job._writer.lock:
        job._state._heard("lost", False, 0.0)
        with pytest.raises(JobLost):
            job.propose("T", confidence=0.5)
        job._state._heard("running", False, 0.0)
