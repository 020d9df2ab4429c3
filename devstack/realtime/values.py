"""Column values as the real server writes them in JSON (pure).

In the real server a value goes through `to_jsonb(text::type)` in PostgreSQL, the type without its modifier, which
char(n) loses all but its first character by. `to_json` does the same for types where it is plain; for the rest it
returns None, and PostgreSQL is asked. Texts are those of a session in UTC with ISO dates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

_PLAIN: Final = frozenset({"text", "varchar", "name", "uuid", "inet", "cidr", "interval", "date", "time", "timetz"})
_NUMBERS: Final = frozenset({"int2", "int4", "int8", "oid", "numeric"})
_FLOATS: Final = frozenset({"float4", "float8"})
_TIMESTAMP: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(\+00)?")
_NOT_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})


def to_json(type_name: str, text: str) -> str | None:
    """The JSON of a value, or None if only PostgreSQL can tell.

    Args:
        type_name: pg_type.typname.
    """
    if type_name in _PLAIN:
        return quote(text)
    if type_name in _NUMBERS:
        return "null" if text in _NOT_FINITE else text
    if type_name == "bool":
        return "true" if text == "t" else "false"
    if type_name in {"timestamptz", "timestamp"}:
        return _timestamp(text)
    if type_name == "jsonb":
        return text
    if type_name == "bpchar":
        return quote(text[:1].rstrip(" "))
    if type_name in _FLOATS:
        return "null" if text in _NOT_FINITE else _float(text)
    if type_name == "bytea":
        return quote(text.removeprefix("\\x"))
    return None


def quote(text: str) -> str:
    """A JSON string; characters beyond ASCII as they are."""
    return json.dumps(text, ensure_ascii=False)


def _timestamp(text: str) -> str | None:
    if text in {"infinity", "-infinity"}:
        return f'"{text}"'
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    date, time, zone = match.groups()
    return f'"{date}T{time}{"+00:00" if zone else ""}"'


def _float(text: str) -> str:
    # jsonb holds numbers as numeric, which has no exponent and no negative zero.
    number = Decimal(text)
    return format(number, "f") if number else "0"


def record(values: Mapping[str, str]) -> str:
    """A JSON object of values that are JSON already, as jsonb prints it: shorter keys first, then by bytes."""
    ordered = sorted(values, key=lambda name: (len(name.encode()), name.encode()))
    return "{" + ", ".join(f"{quote(name)}: {values[name]}" for name in ordered) + "}"
