"""What a page may send back as where it was."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.feeds.cursor import LIMIT, BadCursor, join, parse, parse_each


@given(st.integers(0, LIMIT - 1))
def test_every_revision_reads_back(revision: int) -> None:
    assert parse(str(revision)) == revision


@pytest.mark.parametrize(
    "text", ["", " 1", "-1", "+1", "1.0", "1e3", "0x1", "1_000", "٣", "²", "1\n", str(LIMIT), "9" * 400, "abc"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadCursor, match="whole number below 2\\^53"):
        parse(text)


@given(st.text())
def test_no_text_gives_another_error_or_a_number_out_of_range(text: str) -> None:
    with contextlib.suppress(BadCursor):
        assert 0 <= parse(text) < LIMIT


@given(st.lists(st.integers(0, LIMIT - 1), min_size=1, max_size=20))
def test_the_revisions_of_several_keys_read_back_in_their_order(revisions: list[int]) -> None:
    assert parse_each(join(revisions), len(revisions)) == tuple(revisions)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1", "3 ids joined by '.', in the order asked; this has 1"),
        ("1.2", "this has 2"),
        ("1.2.3.4", "this has 4"),
        ("", "this has 1"),
        ("1..3", "whole number below 2\\^53"),
        ("1.2.-3", "whole number below 2\\^53"),
        ("1.2.3\n", "whole number below 2\\^53"),
        ("1,2,3", "this has 1"),
    ],
)
def test_a_cursor_of_several_has_one_of_each(text: str, says: str) -> None:
    with pytest.raises(BadCursor, match=says):
        parse_each(text, 3)


@given(st.text("0123456789.x", max_size=40), st.integers(1, 20))
def test_no_text_gives_another_error_or_a_cursor_of_other_length(text: str, count: int) -> None:
    with contextlib.suppress(BadCursor):
        assert len(parse_each(text, count)) == count
