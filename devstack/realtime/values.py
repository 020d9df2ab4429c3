"""Column values as the real server writes them in JSON (pure).

In the real server a value goes through `to_jsonb(text::type)` in PostgreSQL, the type without its modifier, which
char(n) loses all but its first character by. `to_json` does the same for types where it is plain; for the rest it
returns None, and PostgreSQL is asked. Texts are those of a session in UTC with ISO dates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Final

_PLAIN: Final = frozenset(
    {"text", "varchar", "name", "char", "uuid", "inet", "cidr", "interval", "date", "time", "timetz"}
)
_NUMBERS: Final = frozenset({"int2", "int4", "int8", "oid", "numeric"})
_FLOATS: Final = frozenset({"float4", "float8"})
_TIMESTAMP: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(\+00)?")
_IN_ARRAYS: Final = _PLAIN | _NUMBERS | {"bool", "timestamptz", "timestamp"}
# An element is quoted, with backslashes before what would end it, or plain; other brackets make more dimensions.
_ELEMENT: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",{}\\]+)', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
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
    if type_name.startswith("_") and type_name[1:] in _IN_ARRAYS:
        return _array(type_name[1:], text)
    return None


def quote(text: str) -> str:
    """A JSON string; characters beyond ASCII as they are."""
    return encode_basestring(text)


def _array(element_type: str, text: str) -> str | None:
    """An array of one dimension that begins at 1, as almost all do."""
    if text == "{}":
        return "[]"
    if not text.startswith("{"):
        return None
    elements: list[str] = []
    at, end = 1, len(text) - 1
    while match := _ELEMENT.match(text, at, end):
        quoted, plain = match.groups()
        if plain == "NULL":
            elements.append("null")
        else:
            json = to_json(element_type, _ESCAPED.sub(r"\1", quoted) if plain is None else plain)
            if json is None or (plain in _NOT_FINITE and element_type in _NUMBERS):
                return None
            elements.append(json)
        at = match.end()
        if at == end:
            return f"[{', '.join(elements)}]"
        at += 1  # a comma
    return None


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
    return "{" + ", ".join([f"{key}{values[name]}" for name, key in _keys(tuple(values))]) + "}"


@lru_cache(maxsize=4096)
def _keys(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Names in the order of jsonb, each with its JSON and the colon."""
    ordered = sorted(names, key=lambda name: (len(name.encode()), name.encode()))
    return [(name, f"{quote(name)}: ") for name in ordered]
