"""Values' JSON agrees with PostgreSQL's own, or is left to it."""

import asyncio
import json

import pytest

from devstack.realtime.database import Database
from devstack.realtime.values import quote, record, to_json

SAMPLES = [
    ("int8", "9223372036854775807"),
    ("numeric", "12345678901234567890.1230"),
    ("bool", "t"),
    ("bool", "f"),
    ("text", 'say "hi"\n\\ 🙂'),
    ("text", "\x01\x7f"),
    ("uuid", "11111111-1111-4111-8111-111111111111"),
    ("float8", "1e+300"),
    ("float8", "1e-07"),
    ("float8", "-0"),
    ("float4", "1.1"),
    ("float4", "16777216"),
    ("timestamptz", "2026-01-02 01:04:05.678901+00"),
    ("timestamptz", "infinity"),
    ("timestamp", "2026-01-02 01:04:05"),
    ("timestamp", "-infinity"),
    ("date", "2026-01-02"),
    ("time", "12:34:56.789"),
    ("interval", "1 year 2 mons 3 days 04:05:06.789"),
    ("inet", "10.0.0.1/24"),
    ("jsonb", '{"a": [1, 2.50, {"b": null}]}'),
    ('"char"', "U"),
    ("_text", r'{a,"b c","d\"e\\f",NULL,"NULL","",é,"{x}","1,2"}'),
    ("_text", "{}"),
    ("_int4", "{1,-2,NULL}"),
    ("_numeric", "{1.50,NULL}"),
    ("_bool", "{t,f}"),
    ("_uuid", "{11111111-1111-4111-8111-111111111111}"),
    ("_timestamptz", '{"2026-01-02 01:04:05+00",infinity}'),
]


def test_agrees_with_postgresql(database: str) -> None:
    async def theirs() -> list[str]:
        connection = Database(database)
        answers = [
            (await connection.rows(f"select to_jsonb(%s::{name})::text", [text]))[0][0] for name, text in SAMPLES
        ]
        await connection.close()
        return answers

    for (name, text), answer in zip(SAMPLES, asyncio.run(theirs()), strict=True):
        ours = to_json(name.strip('"'), text)
        assert ours is not None, (name, text)
        # Compared with numbers as written; PostgreSQL and Python escape control characters differently.
        assert json.loads(ours, parse_float=str, parse_int=str) == json.loads(answer, parse_float=str, parse_int=str)


@pytest.mark.parametrize(
    ("name", "text", "json_"),
    [
        ("numeric", "NaN", "null"),
        ("float8", "-Infinity", "null"),
        ("bytea", "\\xdeadbeef", '"deadbeef"'),
        ("bpchar", "ch   ", '"c"'),
        ("bpchar", "     ", '""'),
    ],
)
def test_oddities_of_the_real_server(name: str, text: str, json_: str) -> None:
    assert to_json(name, text) == json_


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_text", "{{a,b},{c,d}}"),
        ("_int4", "[0:1]={1,2}"),
        ("_mood", "{a}"),
        ("mood", "happy"),
        ("json", '{"a":1,"a":2}'),
        ("timestamptz", "0044-03-15 00:00:00+00 BC"),
    ],
)
def test_leaves_to_postgresql_what_only_that_knows(name: str, text: str) -> None:
    assert to_json(name, text) is None


def test_an_object_has_shorter_keys_first() -> None:
    assert (
        record({"status": "1", "id": "2", "n": "null", "as": "true"}) == '{"n": null, "as": true, "id": 2, "status": 1}'
    )
    assert quote("é\n") == '"é\\n"'
