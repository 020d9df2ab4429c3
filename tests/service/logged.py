"""What was logged, in a form that tests can compare."""

import logging

import pytest


def logged(
    caplog: pytest.LogCaptureFixture, name: str, level: int = logging.INFO
) -> list[tuple[str, str, dict[str, object]]]:
    """Level, message and fields of every line of one logger, from ``level`` up, with errors as text."""
    return [
        (
            record.levelname,
            record.getMessage(),
            {
                field: str(value) if isinstance(value, Exception) else value
                for field, value in fields_of(record).items()
            },
        )
        for record in caplog.records
        if record.name == name and record.levelno >= level
    ]


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = getattr(record, "fields", {})
    return found
