"""Each thing's newest, at most once in an interval, and never without the last."""

import math
from collections import defaultdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from service.feeds.throttle import Throttle

INTERVAL = 0.5
steps = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.floats(0, 0.4)), max_size=40)


def test_the_first_is_due_at_once_and_the_next_an_interval_later() -> None:
    throttle: Throttle[str, int] = Throttle(INTERVAL)
    assert throttle.due_at() == math.inf
    throttle.put("a", 1)
    assert throttle.take(10.0) == [1]
    throttle.put("a", 2)
    throttle.put("a", 3)
    throttle.put("b", 9)
    assert throttle.take(10.2) == [9]
    assert throttle.due_at() == 10.5
    assert throttle.take(10.5) == [3]
    assert throttle.due_at() == math.inf


def test_what_is_said_already_is_not_said_again() -> None:
    throttle: Throttle[str, int] = Throttle(INTERVAL)
    throttle.put("a", 1)
    throttle.take(10.0)
    throttle.put("a", 2)
    throttle.put("a", 1)  # as it was: nothing is left to be said
    assert throttle.due_at() == math.inf


def test_the_end_hands_out_what_waits_and_forgets_the_thing() -> None:
    throttle: Throttle[str, int] = Throttle(INTERVAL)
    throttle.put("a", 1)
    throttle.take(10.0)
    assert throttle.end("a") is None
    throttle.put("a", 1)
    assert throttle.end("a") == 1
    assert throttle.take(11.0) == []


@given(steps)
def test_whatever_is_put_when_the_newest_is_told_and_never_too_often(given_steps: list[tuple[str, int, float]]) -> None:
    throttle: Throttle[str, tuple[str, int]] = Throttle(INTERVAL)
    now = 0.0
    newest: dict[str, int] = {}
    told: dict[str, list[tuple[float, int]]] = defaultdict(list)

    def take() -> None:
        for key, value in throttle.take(now):
            told[key].append((now, value))

    for key, value, pause in given_steps:
        throttle.put(key, (key, value))
        newest[key] = value
        take()
        now += pause
    while (due := throttle.due_at()) < math.inf:
        now = max(now, due)
        take()
    assert {key: values[-1][1] for key, values in told.items()} == newest
    for values in told.values():
        assert all(later >= earlier + INTERVAL for (earlier, _), (later, _) in pairwise(values))
