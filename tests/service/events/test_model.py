"""What all messages have in common: their names and times on the wire."""

from datetime import UTC, datetime, timedelta, timezone

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


def test_a_time_zone_of_its_own_becomes_utc() -> None:
    row = Row(happened_at=datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))))
    assert encode_model(row) == b'{"happenedAt":"2025-12-31T22:00:00.000Z"}'
    assert row.happened_at.astimezone(UTC).hour == 22


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Live(live=True, reason="").live = False  # type: ignore[misc]
