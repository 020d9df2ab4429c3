"""Places: no more than configured, and each given back."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access.limits import Limits, Place, Subject
from service.errors import LimitReached

MOST = {"user": 2, "project": 3, "organization": 4, "address": 5, "process": 6}
SOMEBODY: Sequence[Subject] = (("user", "u"), ("project", "p"), ("organization", "o"), ("address", "a"))


def somebody(**instead: str) -> list[Subject]:
    return [(limit, instead.get(limit, subject)) for limit, subject in SOMEBODY]


def refused(limits: Limits, subjects: Sequence[Subject]) -> LimitReached:
    with pytest.raises(LimitReached) as raised:
        limits.take(subjects)
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
        limits.take(nth(number))
    error = refused(limits, nth(99))
    assert (error.limit, error.code) == (limit, "too_many_streams")
    assert error.status == (503 if limit == "process" else 429)
    assert error.retry_after is not None
    assert error.retry_after > 0
    if limit != "process":
        limits.take(somebody(**{name: "another" for name, _ in SOMEBODY}))


def test_a_refusal_takes_nothing() -> None:
    limits = Limits({**MOST, "user": 1})
    limits.take(SOMEBODY)
    for _ in range(10):
        refused(limits, SOMEBODY)
    for number in range(2):
        limits.take(somebody(user=f"u{number}"))
    assert refused(limits, somebody(user="u9")).limit == "project"


def test_a_place_given_back_is_free() -> None:
    limits = Limits({**MOST, "user": 1})
    for _ in range(3):
        with limits.take(SOMEBODY):
            assert refused(limits, SOMEBODY).limit == "user"
    with pytest.raises(RuntimeError, match="the stream failed"), limits.take(SOMEBODY):
        raise RuntimeError("the stream failed")
    limits.take(SOMEBODY)


def test_zero_is_no_limit() -> None:
    limits = Limits(dict.fromkeys(MOST, 0))
    for _ in range(1000):
        limits.take(SOMEBODY)


def test_several_projects_are_counted_each() -> None:
    limits = Limits({**MOST, "project": 1})
    limits.take([("user", "u"), ("project", "p"), ("project", "q")])
    assert refused(limits, somebody(project="q")).limit == "project"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=60))
def test_whatever_happens_the_count_is_of_the_places_held(steps: list[tuple[bool, int]]) -> None:
    limits = Limits({**MOST, "user": 3})
    held: list[Place] = []
    for takes, which in steps:
        if takes and len(held) == 3:
            refused(limits, SOMEBODY)
        elif takes:
            held.append(limits.take(SOMEBODY))
        elif which < len(held):
            with held.pop(which):
                pass
    for place in held:
        with place:
            pass
    assert not limits._taken


def test_what_a_stream_takes_beside_its_place_counts_for_its_subject_alone() -> None:
    limits = Limits({**MOST, "process": 1})
    with limits.take([("address", "a")]):
        held = [limits.take_more([("project", "p")]) for _ in range(3)]
        with pytest.raises(LimitReached) as raised:
            limits.take_more([("project", "p")])
        assert raised.value.limit == "project"
        with held[0]:
            pass
        limits.take_more([("project", "p")])
        assert refused(limits, []).limit == "process"
