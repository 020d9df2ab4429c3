"""Filters: what is accepted, and that those evaluated here agree with PostgreSQL."""

import asyncio
from itertools import product

import pytest

from devstack.realtime import filters
from devstack.realtime.catalog import Question
from devstack.realtime.database import Database
from devstack.realtime.filters import Filter, FilterError, compile_filter, inspect, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("   ", []),
        ("id=eq.1", [Filter("id", "eq", "1")]),
        ("id=gt.0, id=lt.100", [Filter("id", "gt", "0"), Filter("id", "lt", "100")]),
        ("title=not.like.a%", [Filter("title", "like", "a%", negate=True)]),
        ("id=in.(1,2)", [Filter("id", "in", "{1,2}")]),
        ('t=in.("a,b",c)', [Filter("t", "in", '{"a,b",c}')]),
        ('t=eq."a, b"', [Filter("t", "eq", "a, b")]),
        (r't=eq."say \"hi\", you"', [Filter("t", "eq", 'say "hi", you')]),
        ('t=eq.a"b', [Filter("t", "eq", 'a"b')]),
        ('t=eq."half', [Filter("t", "eq", '"half')]),
        ("t=eq.", [Filter("t", "eq", "")]),
        ("t=eq.a=b.c", [Filter("t", "eq", "a=b.c")]),
        ("Project Id=is.null", [Filter("Project Id", "is", "null")]),
    ],
)
def test_parses(text: str, expected: list[Filter]) -> None:
    assert list(parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("undefined", '["undefined"]'),
        ("id", '["id"]'),
        ("id=1", '["1"]'),
        ("subject=foo.hey", '["foo", "hey"]'),
        ("title=eq.a, b", '["b"]'),
        ("id=in.a", "`in` filter value must be wrapped by parentheses"),
        ("id=eq.1,,id=eq.2", "filter must not contain empty segments (check for extra commas)"),
    ],
)
def test_refuses_in_the_real_servers_words(text: str, message: str) -> None:
    with pytest.raises(FilterError) as error:
        parse(text)
    assert str(error.value) == message


def test_prints_values_as_elixir_does() -> None:
    value = {"b": None, "a": [True, 1, 'say "hi"\n#{x}']}
    assert inspect(value) == '%{"a" => [true, 1, "say \\"hi\\"\\n\\#{x}"], "b" => nil}'


U1, U2 = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
# By type: values of columns, and values of filters.
SAMPLES: dict[str, tuple[list[str | None], list[str]]] = {
    "uuid": ([U1, U2, None], [U1, U2.upper(), "{" + U1 + "}"]),
    "int4": (["1", "2", "-10", None], ["1", " 2", "-10", "0x10"]),
    "int8": (["9223372036854775807", "10", "9", None], ["9223372036854775807", "9", "10"]),
    "bool": (["t", "f", None], ["true", "f", "yes"]),
    "text": (["a", "A", "", "é", None], ["a", "", "é", "b"]),
    "timestamptz": (["2026-01-02 01:04:05+00", "infinity", None], ["2026-01-02T03:04:05+02:00", "infinity"]),
    "date": (["2026-01-02", None], ["2026-01-02", "2 Jan 2026"]),
}


@pytest.mark.parametrize("type_name", SAMPLES)
def test_agrees_with_postgresql(database: str, type_name: str) -> None:
    columns, wanted = SAMPLES[type_name]

    async def compare() -> int:
        connection = Database(database)
        compared = 0
        for op, value, negate in product(filters.OPERATORS, wanted, (False, True)):
            filter_ = Filter("c", op, "{" + f'"{value}"' + "}" if op == "in" else value, negate)
            if op in {"is", "like", "ilike", "match", "imatch"}:
                continue
            [[canonical]] = await connection.rows(f"select format('%%s', %s::text::{type_name})", [value])
            test = compile_filter(filter_, type_name, [canonical])
            for text in columns if test is not None else ():
                assert test is not None
                question = Question(filters.sql(filter_, type_name), (text, filter_.value))
                [[answer]] = await connection.rows(f"select {question.expression}", question.parameters)
                assert test(text) == (answer is True), (filter_, text)
                compared += 1
        for keyword, negate in product(filters.IS_KEYWORDS if type_name == "bool" else ("null",), (False, True)):
            filter_ = Filter("c", "is", keyword, negate)
            test = compile_filter(filter_, type_name, [keyword])
            assert test is not None
            for text in columns:
                [[answer]] = await connection.rows(f"select {filters.sql(filter_, type_name)}", [text])
                assert test(text) == answer, (filter_, text)
        await connection.close()
        return compared

    assert asyncio.run(compare()) > 0


@pytest.mark.parametrize(("op", "type_name"), [("like", "text"), ("lt", "text"), ("eq", "numeric"), ("match", "text")])
def test_leaves_to_postgresql_what_only_that_knows(op: str, type_name: str) -> None:
    assert compile_filter(Filter("c", op, "1"), type_name, ["1"]) is None
