"""What makes a fault, and what is said about what does not."""

from typing import Any

import pytest

from devstack.realtime.fault_spec import FIELDS, Fault, FaultError, parse


def fault(kind: str, **fields: Any) -> Fault:
    return parse({"fault": kind, **fields}, seed=5)


@pytest.mark.parametrize("kind", FIELDS)
def test_every_kind_can_be_asked_for_by_its_name_alone(kind: str) -> None:
    assert fault(kind).kind == kind


def test_fields_are_taken() -> None:
    asked = fault("delay", topic="realtime:project:*", event="*", delay=[0.1, 2], probability=0.2, count=3, seconds=9)
    assert asked == Fault(
        "delay", topic="project:*", event="*", delay=(0.1, 2.0), probability=0.2, count=3, seconds=9.0, seed=5
    )
    assert fault("delay", delay=1).delay == (1.0, 1.0)
    assert fault("drop", seed=7, count=None).seed == 7


def test_defaults_are_what_was_recorded() -> None:
    assert (fault("mute").seconds, fault("rate_limit").per_second, fault("rate_limit").window) == (58.0, 100.0, 60)
    assert (fault("kill").seconds, fault("kill").code, fault("close").code) == (5.0, 1006, 1012)
    assert fault("refuse_joins").delay == (0.0, 0.0)


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ([], "fault", "the body must be a JSON object"),
        ({}, "fault", "must be one of drop, delay, duplicate, reorder, refuse_joins"),
        ({"fault": ["drop"]}, "fault", "must be one of"),
        ({"fault": "Drop"}, "fault", "must be one of"),
        ({"fault": "drop", "propability": 1}, "propability", "drop does not take it; it takes topic, event, probab"),
        ({"fault": "mute", "topic": "a"}, "topic", "mute does not take it; it takes seconds"),
        ({"fault": "drop", "topic": ""}, "topic", "must be a text"),
        ({"fault": "drop", "topic": 1}, "topic", "must be a text"),
        ({"fault": "drop", "probability": 0}, "probability", "must be a number above 0 to 1"),
        ({"fault": "drop", "probability": 1.5}, "probability", "must be a number above 0 to 1"),
        ({"fault": "drop", "probability": True}, "probability", "must be a number above 0 to 1"),
        ({"fault": "drop", "probability": "0.5"}, "probability", "must be a number above 0 to 1"),
        ({"fault": "drop", "count": 0}, "count", "must be a whole number from 1 up"),
        ({"fault": "drop", "count": 1.5}, "count", "must be a whole number from 1 up"),
        ({"fault": "drop", "seconds": float("nan")}, "seconds", "must be a number above 0"),
        ({"fault": "drop", "seconds": float("inf")}, "seconds", "must be a number above 0"),
        ({"fault": "drop", "seconds": 10**400}, "seconds", "must be a number above 0"),
        ({"fault": "drop", "seed": -1}, "seed", "must be a whole number from 0 up"),
        ({"fault": "delay", "delay": [2, 1]}, "delay", "must be [least, most]"),
        ({"fault": "delay", "delay": [1, 2, 3]}, "delay", "must be a number from 0"),
        ({"fault": "delay", "delay": -1}, "delay", "must be a number from 0"),
        ({"fault": "duplicate", "copies": 1}, "copies", "must be a whole number from 2 to 100"),
        ({"fault": "reorder", "behind": 0}, "behind", "must be a whole number from 1 up"),
        ({"fault": "refuse_connections", "status": 200}, "status", "must be a whole number from 400 to 599"),
        ({"fault": "close", "code": 1005}, "code", "must be a close code: 1000 to 1003"),
        ({"fault": "close", "code": "1012"}, "code", "must be a close code"),
        ({"fault": "close", "code": [1012]}, "code", "must be a close code"),
        ({"fault": "rate_limit", "window": 0}, "window", "must be a whole number from 1 up"),
        ({"fault": "kill", "warm_up": None, "seconds": "5"}, "seconds", "must be a number above 0"),
    ],
)
def test_what_is_wrong_is_named(body: Any, field: str, message: str) -> None:
    with pytest.raises(FaultError) as error:
        parse(body, seed=0)
    assert error.value.field == field
    assert str(error.value).startswith(f"{field}: {message}")
