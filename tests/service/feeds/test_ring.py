"""Recent deliveries: whole for every cursor they cover, silent about any other."""

from hypothesis import given
from hypothesis import strategies as st

from service.feeds.ring import Ring
from tests.service.tiny import make_delivery


def revisions(ring: Ring, cursor: int) -> list[int] | None:
    items = ring.since(cursor)
    return None if items is None else [item.change.revision for item in items]


def test_an_empty_ring_covers_its_head_alone() -> None:
    ring = Ring(100)
    assert revisions(ring, 100) == []
    assert revisions(ring, 99) is None
    assert revisions(ring, 101) is None


def test_what_no_longer_fits_raises_the_floor() -> None:
    ring = Ring(100, max_items=2)
    for revision in (101, 105, 109):
        ring.append(make_delivery(revision))
    assert ring.floor == 101
    assert revisions(ring, 101) == [105, 109]
    assert revisions(ring, 100) is None


def test_bytes_bound_it_too() -> None:
    one = make_delivery(101).held
    ring = Ring(100, max_bytes=2 * one)
    for revision in (101, 102, 103):
        ring.append(make_delivery(revision))
    assert ring.floor == 101


def test_older_deliveries_can_be_put_before() -> None:
    ring = Ring(100)
    ring.append(make_delivery(101))
    ring.extend_back(90, [make_delivery(95), make_delivery(100)])
    assert revisions(ring, 90) == [95, 100, 101]
    assert revisions(ring, 97) == [100, 101]
    assert revisions(ring, 89) is None


def test_older_deliveries_that_do_not_fit_are_left_out_whole() -> None:
    ring = Ring(100, max_items=2)
    ring.append(make_delivery(101))
    ring.extend_back(90, [make_delivery(95), make_delivery(100)])
    assert ring.floor == 100
    assert revisions(ring, 100) == [101]


def test_a_restart_forgets_everything() -> None:
    ring = Ring(100)
    ring.append(make_delivery(101))
    ring.restart(200)
    assert revisions(ring, 200) == []
    assert revisions(ring, 101) is None


@given(st.lists(st.integers(1, 5), max_size=30), st.integers(1, 10), st.integers(0, 200))
def test_an_answer_is_exactly_what_came_after_the_cursor(steps: list[int], room: int, cursor: int) -> None:
    ring = Ring(100, max_items=room)
    log, revision = [], 100
    for step in steps:
        revision += step
        log.append(revision)
        ring.append(make_delivery(revision))
    answer = revisions(ring, cursor)
    if answer is None:
        assert not ring.floor <= cursor <= ring.head
    else:
        assert answer == [one for one in log if one > cursor]
