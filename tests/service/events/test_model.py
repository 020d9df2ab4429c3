"""What all messages have in common: their names and times on the wire."""

import pytest
from pydantic import ValidationError

from service.events.model import Live, Timestamp, WireModel
from service.events.wire import encode_model


class Row(WireModel):
    happened_at: Timestamp


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-11-21T12:04:34.8+00:00", "2026-11-21T12:04:34.800Z"),
        ("2026-11-21T12:04:34.876543+00:00", "2026-11-21T12:04:34.876Z"),
        ("2026-11-21T12:04:34+05:30", "2026-11-21T06:34:34.000Z"),
    ],
)
def test_times_are_utc_with_milliseconds(text: str, told: str) -> None:
    assert encode_model(Row.model_validate({"happened_at": text})) == f'{{"happenedAt":"{told}"}}'.encode()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("infinity", "9999-12-31T23:59:59.999Z"),
        ("-infinity", "0001-01-01T00:00:00.000Z"),
        ("20000-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999Z"),
        ("0044-03-15T00:00:00+00:00 BC", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_that_postgresql_knows_and_python_does_not_becomes_the_nearest(text: str, told: str) -> None:
    assert encode_model(Row.model_validate({"happened_at": text})) == f'{{"happenedAt":"{told}"}}'.encode()


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Live(live=True, reason="").live = False  # type: ignore[misc]
