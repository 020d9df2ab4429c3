"""Places: no more than configured, each given back once, and none lost with a page that vanished."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access.limits import CLAIM_SECONDS, Limits, Place, Subject
from service.errors import LimitReached

MOST = {"user": 2, "project": 3, "organization": 4, "address": 5, "process": 6}
SOMEBODY: Sequence[Subject] = (("user", "u"), ("project", "p"), ("organization", "o"), ("address", "a"))


def somebody(**instead: str) -> list[Subject]:
    return [(limit, instead.get(limit, subject)) for limit, subject in SOMEBODY]


def refused(limits: Limits, subjects: Sequence[Subject], now: float = 0.0) -> LimitReached:
    with pytest.raises(LimitReached) as raised:
        limits.take(subjects, now)
    return raised.value


@pytest.mark.parametrize(
    ("limit", "others"),
    [
        ("user", ["project", "organization", "address"]),
        ("project", ["user", "organization", "address"]),
        ("organization", ["user", "project", "address"]),
        ("address", ["user", "project", "organization"]),
        ("process", ["user", "project", "organization", "address"]),
    ],
)
def test_each_limit_holds_alone(limit: str, others: list[str]) -> None:
    limits = Limits(MOST)

    def nth(number: int) -> list[Subject]:
        return somebody(**{other: f"{other} {number}" for other in others})

    for number in range(MOST[limit]):
        limits.take(nth(number), 0.0)
    error = refused(limits, nth(99))
    assert (error.limit, error.code) == (limit, "too_many_streams")
    assert error.status == (503 if limit == "process" else 429)
    assert error.retry_after is not None
    assert error.retry_after > 0
    if limit != "process":
        limits.take(somebody(**{name: "another" for name, _ in SOMEBODY}), 0.0)


def test_a_refusal_takes_nothing() -> None:
    limits = Limits({**MOST, "user": 1})
    limits.take(SOMEBODY, 0.0)
    for _ in range(10):
        refused(limits, SOMEBODY)
    for number in range(2):
        limits.take(somebody(user=f"u{number}"), 0.0)
    assert refused(limits, somebody(user="u9")).limit == "project"


def test_a_place_given_back_is_free() -> None:
    limits = Limits({**MOST, "user": 1})
    for _ in range(3):
        with limits.take(SOMEBODY, 0.0):
            assert refused(limits, SOMEBODY).limit == "user"
    with pytest.raises(RuntimeError, match="the stream failed"), limits.take(SOMEBODY, 0.0):
        raise RuntimeError("the stream failed")
    limits.take(SOMEBODY, 0.0)


def test_zero_is_no_limit() -> None:
    limits = Limits(dict.fromkeys(MOST, 0))
    for _ in range(1000):
        limits.take(SOMEBODY, 0.0)


def test_a_place_that_nobody_came_for_is_free_again() -> None:
    limits = Limits({**MOST, "user": 1})
    limits.take(SOMEBODY, 0.0)
    assert refused(limits, SOMEBODY, CLAIM_SECONDS - 0.1).limit == "user"
    limits.take(SOMEBODY, CLAIM_SECONDS)


def test_who_occupies_a_place_keeps_it() -> None:
    limits = Limits({**MOST, "user": 1})
    with limits.take(SOMEBODY, 0.0):
        assert refused(limits, SOMEBODY, 10 * CLAIM_SECONDS).limit == "user"


def test_who_comes_late_for_a_place_is_counted() -> None:
    limits = Limits({**MOST, "user": 1})
    late = limits.take(SOMEBODY, 0.0)
    second = limits.take(SOMEBODY, CLAIM_SECONDS)
    with late:
        with second:
            assert refused(limits, SOMEBODY, CLAIM_SECONDS).limit == "user"
        assert refused(limits, SOMEBODY, CLAIM_SECONDS).limit == "user"
    limits.take(SOMEBODY, CLAIM_SECONDS)


def test_several_projects_are_counted_each() -> None:
    limits = Limits({**MOST, "project": 1})
    limits.take([("user", "u"), ("project", "p"), ("project", "q")], 0.0)
    assert refused(limits, somebody(project="q")).limit == "project"


STEPS = st.lists(st.tuples(st.sampled_from(["take", "occupy", "end", "wait"]), st.integers(0, 3)), max_size=60)


@given(STEPS)
def test_whatever_happens_the_count_is_of_the_places_held(steps: list[tuple[str, int]]) -> None:
    limits = Limits({**MOST, "user": 3})
    claimed: list[tuple[float, Place]] = []
    occupied: list[Place] = []
    now = 0.0
    for step, which in steps:
        if step == "take":
            held = len(occupied) + sum(at + CLAIM_SECONDS > now for at, _ in claimed)
            if held >= 3:
                refused(limits, SOMEBODY, now)
            else:
                claimed.append((now, limits.take(SOMEBODY, now)))
        elif step == "occupy" and which < len(claimed):
            place = claimed.pop(which)[1]
            place.__enter__()
            occupied.append(place)
        elif step == "end" and which < len(occupied):
            occupied.pop(which).__exit__(None, None, None)
        elif step == "wait":
            now += CLAIM_SECONDS / 2
            claimed = [(at, place) for at, place in claimed if at + CLAIM_SECONDS > now]
    for place in occupied:
        place.__exit__(None, None, None)
    with limits.take(SOMEBODY, now + CLAIM_SECONDS):
        pass
    assert not limits._open
