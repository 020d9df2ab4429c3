import pytest

from rowcast.core import note_or_raise
from rowcast.errors import DeliveryError
from rowcast.report import total_of


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
