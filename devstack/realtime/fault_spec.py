"""A fault as a client asks for it: its kinds, their fields, and the check of a request's JSON (pure)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

ABORTED: Final = 1006
"""The code that clients see when a connection ends without a close frame."""
_LONGEST: Final = 1e9
"""Above any sensible number."""
CHANGES: Final = "postgres_changes"


class FaultError(ValueError):
    """A fault that makes no sense.

    Attributes:
        field: the JSON field at fault.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as asked for; which fields count depends on its kind (FIELDS). Times are in seconds."""

    kind: str
    topic: str = "*"
    """Shell pattern for the channel's name, without "realtime:"."""
    event: str = CHANGES
    """Shell pattern for the frame's event."""
    probability: float = 1.0
    count: int | None = None
    """Strikes after which it ends."""
    seconds: float | None = None
    """Time after which it ends."""
    seed: int = 0
    delay: tuple[float, float] = (0.2, 0.2)
    """Drawn evenly between the two."""
    copies: int = 2
    behind: int = 1
    """Frames of its channel that overtake a reordered one."""
    wait: float = 1.0
    """Time after which a reordered frame goes even if nothing has overtaken it."""
    reason: str = "ClientJoinRateLimitReached: Too many joins per second"
    code: int = 1012
    """A close frame's code, or ABORTED."""
    status: int | None = None
    """Of the HTTP answer; None resets the connection, as a dead server's machine does."""
    per_second: float = 100.0
    window: int = 60
    warm_up: float = 2.0
    """Time from a server's start until its changes flow."""


_STRIKES: Final = ("probability", "count", "seconds", "seed")
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "drop": ("topic", "event", *_STRIKES),
    "delay": ("topic", "event", "delay", *_STRIKES),
    "duplicate": ("topic", "event", "copies", *_STRIKES),
    "reorder": ("topic", "event", "behind", "wait", *_STRIKES),
    "refuse_joins": ("topic", "reason", "delay", *_STRIKES),
    "refuse_connections": ("status", *_STRIKES),
    "deaf": ("topic", "seconds"),
    "mute": ("seconds",),
    "rate_limit": ("per_second", "window", "seconds"),
    "close": ("topic", "code"),
    "restart": ("seconds",),
    "kill": ("seconds", "code", "warm_up"),
}
"""The kinds of fault and the fields that each takes."""
_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "refuse_joins": {"delay": (0.0, 0.0)},
    "mute": {"seconds": 58.0},
    "restart": {"seconds": 1.0},
    "kill": {"seconds": 5.0, "code": ABORTED},
}


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text")
    return value


def _whole(least: int, most: float = math.inf) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"must be a whole number {_between(least, most)}")
        return value

    return check


def _number(least: float, most: float = math.inf, *, above: bool = False) -> Callable[[object], float]:
    def check(value: object) -> float:
        match value:
            case bool():
                pass
            case int() | float() if least <= value <= min(most, _LONGEST) and not (above and value == least):
                return float(value)
        raise ValueError(f"must be a number {'above' if above else 'from'} {least:g}{_up_to(most)}")

    return check


def _up_to(most: float) -> str:
    return "" if most == math.inf else f" to {most:g}"


def _between(least: float, most: float) -> str:
    return f"from {least:g}{_up_to(most) or ' up'}"


def _range(value: object) -> tuple[float, float]:
    match value:
        case [low, high]:
            low, high = _number(0)(low), _number(0)(high)
            if low > high:
                raise ValueError("must be [least, most]")
            return low, high
        case _:
            seconds = _number(0)(value)
            return seconds, seconds


def _code(value: object) -> int:
    # What a server may send (RFC 6455, 7.4), and 1006, which can only be seen.
    match value:
        case int() if value == ABORTED or 1000 <= value <= 1003 or 1007 <= value <= 1014 or 3000 <= value <= 4999:
            return value
    raise ValueError("must be a close code: 1000 to 1003, 1007 to 1014, 3000 to 4999, or 1006 for no close frame")


_CHECKS: Final[Mapping[str, Callable[[object], Any]]] = {
    "topic": lambda value: _text(value).removeprefix("realtime:"),
    "event": _text,
    "probability": _number(0, 1, above=True),
    "count": _whole(1),
    "seconds": _number(0, above=True),
    "seed": _whole(0),
    "delay": _range,
    "copies": _whole(2, 100),
    "behind": _whole(1),
    "wait": _number(0, above=True),
    "reason": _text,
    "code": _code,
    "status": _whole(400, 599),
    "per_second": _number(0, above=True),
    "window": _whole(1),
    "warm_up": _number(0),
}


def parse(body: object, seed: int) -> Fault:
    """A fault from a client's JSON: {"fault": kind, …fields of FIELDS}.

    Args:
        seed: for a fault that names none.

    Raises:
        FaultError: an unknown kind or field, or a value that does not fit; names the field.
    """
    if not isinstance(body, dict):
        raise FaultError("fault", 'the body must be a JSON object such as {"fault": "drop", "probability": 0.2}')
    kind = body.get("fault")
    if not isinstance(kind, str) or kind not in FIELDS:
        raise FaultError("fault", f"must be one of {', '.join(FIELDS)}")
    values: dict[str, Any] = {"seed": seed} | dict(_DEFAULTS.get(kind, {}))
    for name, value in body.items():
        if name == "fault" or (value is None and name in FIELDS[kind]):
            continue
        if name not in FIELDS[kind]:
            raise FaultError(name, f"{kind} does not take it; it takes {', '.join(FIELDS[kind])}")
        try:
            values[name] = _CHECKS[name](value)
        except ValueError as error:
            raise FaultError(name, str(error)) from None
    return replace(Fault(kind), **values)
