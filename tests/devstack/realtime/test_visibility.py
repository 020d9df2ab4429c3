"""The question's text; what it finds is in test_catalog.py."""

import json

import psycopg
import pytest

from devstack.realtime.database import conninfo
from devstack.realtime.visibility import array, question

KEYS = [("a", "integer", ["1", "2"]), ('odd "name"', "text", ["x", "y"])]


@pytest.mark.parametrize("text", ["", "plain", "it's", 'a "quoted" one', "back\\slash", "{1,2}", "NULL", "%s", "é\n"])
def test_arrays_hold_any_text(database: str, text: str) -> None:
    with psycopg.connect(conninfo(database)) as connection:
        assert connection.execute(f"select {array([text, 'b'])}::text[]".encode()).fetchone() == ([text, "b"],)


def test_the_role_and_the_claims_are_set_for_one_transaction() -> None:
    claims = json.dumps({"role": "authenticated", "sub": "it's me"})
    asked = question(("public", "jobs"), KEYS, claims)
    settings, rows = asked.split("; ")
    assert "set_config('role', 'authenticated', true)" in settings
    assert "set_config('transaction_read_only', 'on', true)" in settings
    assert "set_config('request.jwt.claim.sub', 'it''s me', true)" in settings
    assert settings.count("set_config(") == settings.count(", true)") == 5
    assert """unnest('{"1","2"}'::integer[], '{"x","y"}'::text[])""" in rows
    assert """wanted("a", "odd ""name\""", nth_) join "public"."jobs" using ("a", "odd ""name\""")""" in rows
