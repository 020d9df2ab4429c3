"""What a page may send back as where it was."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.feeds.cursor import LIMIT, BadCursor, parse


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
