"""What one tick brought: told in every step, or merged when it is a burst, and written once for each form."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from service.feeds.batch import UNMERGED_LIMIT, Batch, Written
from service.feeds.delivery import Delivery
from service.feeds.outbox import Told
from tests.service.tiny import AT, TinyFeed, make_change, make_delivery, told

LATER = "2026-11-21T12:00:01+00:00"


class Counting:
    """A writer that remembers how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def write(self, told: Sequence[Told]) -> Written:
        self.asked += 1
        return Written((), len(told), None)


def test_every_step_is_told_each_with_its_revision() -> None:
    batch = Batch(4, [make_delivery(revision) for revision in (5, 6)])
    assert (batch.after, batch.upto) == (4, 6)
    assert told(one for one, _ in batch.told) == ["changed a=5", "changed a=6"]
    assert [id_ for _, id_ in batch.told] == [5, 6]


def test_a_burst_is_merged() -> None:
    batch = Batch(0, [make_delivery(revision) for revision in range(1, UNMERGED_LIMIT + 2)])
    assert told(one for one, _ in batch.told) == [f"changed a={UNMERGED_LIMIT + 1}"]
    assert batch.told[-1][1] == batch.upto


def test_equal_writers_write_once() -> None:
    batch = Batch(0, [make_delivery(1)])
    one, another = Counting(), Counting()
    assert batch.written(one) is batch.written(one)
    batch.written(another)
    assert (one.asked, another.asked) == (1, 1)


def test_its_age_is_its_oldest_changes() -> None:
    older, newer = (replace(make_change(revision), committed_at=at) for revision, at in ((1, AT), (2, LATER)))
    batch = Batch(0, [Delivery(change, TinyFeed()) for change in (older, newer)])
    assert batch.committed_at == datetime.fromisoformat(AT).timestamp()
