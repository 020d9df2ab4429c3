"""What a client asks for in `config.postgres_changes` of its join (pure).

Parsing, ids and error texts are those of Realtime 2.129. A binding's id is a hash of its parameters, the same for the
same parameters everywhere (the real hash is Erlang's phash2; clients only compare ids).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devstack.realtime import filters
from devstack.realtime.filters import Filter, FilterError, inspect

ACTIONS = ("INSERT", "UPDATE", "DELETE")


class BindingError(ValueError):
    """The parameters are refused; the message is that of the system frame."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One entry of a join's `postgres_changes`.

    Attributes:
        action: INSERT, UPDATE, DELETE, or * for all.
        schema: a name, a LIKE pattern, or * for every schema of the publication; table likewise.
        select: the columns wanted beside the primary key; None for all.
    """

    id: int
    action: str
    schema: str
    table: str
    filters: tuple[Filter, ...] = ()
    select: tuple[str, ...] | None = None

    def describe(self) -> str:
        """The binding as error texts quote it."""
        quoted = ", ".join(
            "{" + ", ".join(map(inspect, (f.column, f.op, f.value, f.negate))) + "}" for f in self.filters
        )
        return (
            f"event: {self.action}, schema: {self.schema}, table: {self.table}, filters: [{quoted}],"
            f" select: {inspect(self.select)}"
        )


def binding_id(params: Mapping[str, Any]) -> int:
    """A number below 2**27, as phash2's, that depends on the parameters alone."""
    return zlib.crc32(json.dumps(params, sort_keys=True, ensure_ascii=False).encode()) & 0x7FFFFFF


def parse(params: Mapping[str, Any]) -> Binding:
    """One binding from the client's parameters.

    Raises:
        BindingError: the parameters make no subscription.
    """
    select = _select(params)
    schema, table, filter_ = params.get("schema"), params.get("table"), params.get("filter")
    conditions: tuple[Filter, ...] = ()
    match schema, table:
        case str(), str() if isinstance(filter_, str):
            try:
                conditions = filters.parse(filter_)
            except FilterError as error:
                raise BindingError(f"Error parsing `filter` params: {error}") from None
        case _ if "filter" in params:
            raise _no_params(params)
        case str(), str():
            pass
        case str(), None if "table" not in params:
            table = "*"
        case None, str() if "schema" not in params:
            schema = "public"
        case _:
            raise _no_params(params)
    if select is not None and "*" in {schema, table}:
        raise BindingError(
            "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name."
        )
    return Binding(binding_id(params), _action(params.get("event")), str(schema), str(table), conditions, select)


def _no_params(params: Mapping[str, Any]) -> BindingError:
    shown = "<redacted>" if {"user_token", "auth_token"} & params.keys() else inspect(params)
    return BindingError(
        f"No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: {shown}"
    )


def _select(params: Mapping[str, Any]) -> tuple[str, ...] | None:
    select = params.get("select")
    if isinstance(select, str):
        raise BindingError(
            'Error parsing `select` params: expected a list of column name strings, e.g. select: ["col1", "col2"]'
        )
    if not isinstance(select, list):
        return None
    return tuple(sorted({column for column in select if isinstance(column, str)}))


def _action(event: object) -> str:
    action = event.upper() if isinstance(event, str) else "*"
    return action if action in ACTIONS else "*"
