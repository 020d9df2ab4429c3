"""The question which rows a role with its claims sees now, as SQL (pure).

It is asked about each change of a table with row security, so its text is put together without ado: all but the keys is
made once for a table and claims.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

from psycopg import sql


def question(table: tuple[str, str], keys: Sequence[tuple[str, str, Sequence[str]]], claims_json: str) -> str:
    """Statements whose last gives (nth, snapshot): for each visible key its place from 1, and once 0.

    The settings that policies read are those of one transaction and put back at its end.

    Args:
        table: schema and name.
        keys: for each column of the primary key its name, its type in SQL, and its values as texts.
        claims_json: the claims; they have a role.
    """
    before, after = _around(table, tuple(name for name, _, _ in keys), claims_json)
    return before + ", ".join(f"{array(texts)}::{type_}[]" for _, type_, texts in keys) + after


def array(texts: Sequence[str]) -> str:
    """The SQL of an array, for a session with standard_conforming_strings."""
    quoted = ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts)
    return "'{" + quoted.replace("'", "''") + "}'"


@lru_cache(maxsize=1024)
def _around(table: tuple[str, str], key_columns: tuple[str, ...], claims_json: str) -> tuple[str, str]:
    """What comes before and after the arrays of keys."""
    claims = json.loads(claims_json)
    # What policies read the claims from: the whole as Realtime sets it, and singly for Supabase Lite's auth.uid().
    settings = {f"request.jwt.claim.{name}": str(claims[name]) for name in ("sub", "role") if name in claims}
    settings |= {"request.jwt.claims": claims_json, "transaction_read_only": "on", "role": str(claims["role"])}
    names = sql.SQL(", ").join(map(sql.Identifier, key_columns))
    # Two statements sent together are one transaction, at whose end the settings are put back.
    before = sql.SQL("select {settings}; select wanted.nth_::int, pg_current_snapshot()::text from unnest(").format(
        settings=sql.SQL(", ").join(
            sql.SQL("set_config({}, {}, true)").format(sql.Literal(name), sql.Literal(value))
            for name, value in settings.items()
        )
    )
    after = sql.SQL(
        ") with ordinality wanted({names}, nth_) join {table} using ({names})"
        " union all select 0, pg_current_snapshot()::text"
    ).format(names=names, table=sql.Identifier(*table))
    return before.as_string(), after.as_string()
