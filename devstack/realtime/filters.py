"""Filters of postgres_changes bindings: parsing, and evaluating those that need no PostgreSQL (pure).

Syntax (Realtime 2.129): `column=op.value` with op one of OPERATORS, `not.` before it negates, commas join with AND;
a value in double quotes may hold commas; `in.(a,b)` has an array's elements. Each comparison is typed: in the real
server PostgreSQL evaluates `record_value::type op (filter_value::type)`. Here the filter's value is made canonical by
PostgreSQL once, at subscription; then equality on the types in CANONICAL, and order on integers and uuids, is
comparing text or numbers. `compile_filter` returns None for the rest: PostgreSQL is asked, change by change.

Filters fail closed: NULL, and a column that is not in the change, never pass (`is.null` and `isdistinct` know NULL).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

OPERATORS: Final = (
    "eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is", "match", "imatch", "isdistinct",
)  # fmt: skip

IS_KEYWORDS: Final = ("null", "true", "false", "unknown")

# Types of which two values are equal exactly when their text, written in UTC and ISO style, is equal.
CANONICAL: Final = frozenset(
    {"bool", "int2", "int4", "int8", "oid", "text", "varchar", "uuid", "timestamptz", "timestamp", "date", "time"}
)
# Of these the order is known without PostgreSQL's collations and calendars.
_ORDERED: Final[Mapping[str, Callable[[str], int | str]]] = {
    "int2": int,
    "int4": int,
    "int8": int,
    "oid": int,
    "uuid": str,
}
_ORDER: Final[Mapping[str, Callable[[int | str, int | str], bool]]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
_SQL_OPERATORS: Final = {
    "eq": "=", "neq": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=",
    "like": "LIKE", "ilike": "ILIKE", "match": "~", "imatch": "~*",
}  # fmt: skip

Test = Callable[[str | None], bool]
"""Whether a column's text (None for NULL) passes."""


class FilterError(ValueError):
    """The filter can't be parsed; the message is what the real server says after "Error parsing `filter` params: "."""


@dataclass(frozen=True, slots=True)
class Filter:
    column: str
    op: str
    value: str
    """For `in` an array literal, `{…}`."""
    negate: bool = False


def parse(text: str) -> tuple[Filter, ...]:
    """Parse a binding's `filter`; empty or blank is no filter.

    Raises:
        FilterError: in the real server's words.
    """
    if not text.strip():
        return ()
    return tuple(_parse_one(segment) for segment in _split(text.strip()))


def _split(text: str) -> list[str]:
    """Split at commas outside quotes and parentheses. A quote opens only at the start of a value or an element."""
    segments: list[str] = []
    current: list[str] = []
    depth, quoted, previous = 0, False, ""
    characters = iter(text)
    for character in characters:
        if quoted:
            current.append(character)
            if character == "\\":
                current.append(next(characters, ""))
            quoted = character != '"'
        elif character == "," and depth == 0:
            segments.append("".join(current))
            current, previous = [], ""
            continue
        else:
            current.append(character)
            if character == '"' and previous in {".", "(", ","}:
                quoted = True
            elif character == "(":
                depth += 1
            elif character == ")":
                depth = max(0, depth - 1)
        previous = character
    segments.append("".join(current))
    return segments


def _parse_one(segment: str) -> Filter:
    segment = segment.strip()
    if not segment:
        raise FilterError("filter must not contain empty segments (check for extra commas)")
    column, equals, condition = segment.partition("=")
    if not equals:
        raise FilterError(_elixir_list(segment))
    negate = condition.startswith("not.")
    op, dot, value = condition.removeprefix("not.").partition(".")
    if not dot:
        raise FilterError(_elixir_list(op))
    if op not in OPERATORS:
        raise FilterError(_elixir_list(op, value))
    if op == "in":
        if len(value) < 2 or value[0] != "(" or value[-1] != ")":
            raise FilterError("`in` filter value must be wrapped by parentheses")
        return Filter(column, op, "{" + value[1:-1] + "}", negate)
    return Filter(column, op, _unquote(value), negate)


def _unquote(value: str) -> str:
    """The text inside double quotes, backslash escapes undone; anything not quoted as a whole stays as it is."""
    if not value.startswith('"'):
        return value
    inside: list[str] = []
    characters = iter(value[1:])
    for character in characters:
        if character == "\\":
            escaped = next(characters, None)
            if escaped is None:
                return value
            inside.append(escaped)
        elif character == '"':
            return value if next(characters, None) is not None else "".join(inside)
        else:
            inside.append(character)
    return value


def inspect(value: object) -> str:
    """A JSON value as Elixir's `inspect` prints it: error texts quote the client's parameters this way."""
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
            return '"' + escaped.replace("#{", "\\#{") + '"'
        case Mapping():
            pairs = ", ".join(f"{inspect(key)} => {inspect(value[key])}" for key in sorted(value))
            return "%{" + pairs + "}"
        case Sequence():
            return "[" + ", ".join(map(inspect, value)) + "]"
        case _:
            return str(value)


def _elixir_list(*parts: str) -> str:
    return inspect(parts)


def compile_filter(filter_: Filter, type_name: str, canonical: Sequence[str | None]) -> Test | None:
    """A test for one filter on a column of a type, or None if only PostgreSQL can tell.

    Args:
        type_name: pg_type.typname.
        canonical: the filter's value as PostgreSQL writes it in that type; for `in`, each element's.
    """
    op, negate = filter_.op, filter_.negate
    if op == "is":
        return _is_test(filter_.value, negate, boolean=type_name == "bool")
    if op in {"eq", "neq", "in"} and type_name in CANONICAL:
        wanted = frozenset(canonical)
        if None in wanted:
            return None
        positive = (op != "neq") is not negate
        return lambda text: text is not None and (text in wanted) is positive
    if op == "isdistinct" and type_name in CANONICAL:
        [value] = canonical
        return lambda text: (text != value) is not negate
    if op in _ORDER and type_name in _ORDERED:
        key, compare = _ORDERED[type_name], _ORDER[op]
        [limit] = canonical
        if limit is None:
            return None
        bound = key(limit)
        return lambda text: text is not None and compare(key(text), bound) is not negate
    return None


def _is_test(keyword: str, negate: bool, *, boolean: bool) -> Test | None:
    if keyword in {"null", "unknown"} and (keyword == "null" or boolean):
        return lambda text: (text is None) is not negate
    if boolean:
        wanted = "t" if keyword == "true" else "f"
        return lambda text: (text == wanted) is not negate
    return None


def sql(filter_: Filter, type_sql: str) -> str:
    """The real server's comparison as an SQL expression: %s is the column's text, then (except for `is`) the value.

    Args:
        type_sql: the column's type as `regtype` prints it.
    """
    left = f"%s::text::{type_sql}"
    if filter_.op == "is":
        return f"{left} is {'not ' if filter_.negate else ''}{filter_.value}"
    if filter_.op == "isdistinct":
        return f"{left} is {'not ' if filter_.negate else ''}distinct from %s::text::{type_sql}"
    if filter_.op == "in":
        comparison = f"{left} = any (%s::text::{type_sql}[])"
    else:
        comparison = f"{left} {_SQL_OPERATORS[filter_.op]} (%s::text::{type_sql})"
    return f"not ({comparison})" if filter_.negate else comparison
