"""Delays between attempts."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.backoff import delays


def test_delays_double_up_to_their_limit():
    assert list(islice(delays(lambda: 1.0, 0.2, 2.0), 6)) == pytest.approx([0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


def test_a_delay_is_half_of_its_measure_at_the_least():
    assert list(islice(delays(lambda: 0.0, 1.0, 4.0), 4)) == [0.5, 1.0, 2.0, 2.0]


def test_the_first_is_within_the_limit_too():
    assert next(delays(lambda: 1.0, 60.0, 30.0)) == 30.0


def test_each_delay_is_drawn_anew():
    numbers = iter([0.0, 1.0, 0.5])
    assert list(islice(delays(lambda: next(numbers), 1.0, 1.0), 3)) == [0.5, 1.0, 0.75]


@given(st.lists(st.floats(0, 1), min_size=50, max_size=50), st.floats(0.001, 10), st.floats(0.001, 60))
def test_delays_go_on_for_ever_within_their_bounds(numbers, first, limit):
    drawn = iter(numbers)
    for delay in islice(delays(lambda: next(drawn), first, limit), 50):
        assert min(first, limit) / 2 <= delay <= limit
