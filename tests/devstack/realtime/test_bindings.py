"""A join's parameters become bindings, or an error in the real server's words."""

from typing import Any

import pytest

from devstack.realtime.bindings import Binding, BindingError, binding_id, parse
from devstack.realtime.filters import Filter


def test_missing_names_are_wildcards_and_public() -> None:
    assert (parse({"schema": "app"}).schema, parse({"schema": "app"}).table) == ("app", "*")
    assert (parse({"table": "jobs"}).schema, parse({"table": "jobs"}).table) == ("public", "jobs")


@pytest.mark.parametrize(
    ("event", "action"), [("insert", "INSERT"), ("DELETE", "DELETE"), ("FOO", "*"), ("*", "*"), (7, "*")]
)
def test_unknown_events_are_all_events(event: Any, action: str) -> None:
    assert parse({"event": event, "schema": "public", "table": "jobs"}).action == action


def test_the_id_depends_on_the_parameters_alone() -> None:
    one = {"event": "*", "schema": "public", "table": "jobs"}
    assert binding_id(one) == binding_id(dict(reversed(one.items()))) < 2**27
    assert binding_id(one) != binding_id(one | {"event": "INSERT"})


def test_error_texts_quote_the_binding() -> None:
    binding = Binding(1, "*", "public", "jobs", (Filter("a", "eq", 'x"', negate=True),), ("id",))
    assert binding.describe() == (
        'event: *, schema: public, table: jobs, filters: [{"a", "eq", "x\\"", true}], select: ["id"]'
    )


NO_PARAMS = "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, NO_PARAMS + "%{}"),
        (
            {"schema": "public", "table": "jobs", "filter": None},
            NO_PARAMS + '%{"filter" => nil, "schema" => "public", "table" => "jobs"}',
        ),
        ({"schema": "public", "table": {"a": "b"}}, NO_PARAMS + '%{"schema" => "public", "table" => %{"a" => "b"}}'),
        ({"table": "jobs", "filter": "id=eq.1"}, NO_PARAMS + '%{"filter" => "id=eq.1", "table" => "jobs"}'),
        ({"user_token": "secret"}, NO_PARAMS + "<redacted>"),
        ({"schema": "public", "table": "t", "filter": "undefined"}, 'Error parsing `filter` params: ["undefined"]'),
        (
            {"schema": "public", "table": "t", "select": "a"},
            'Error parsing `select` params: expected a list of column name strings, e.g. select: ["col1", "col2"]',
        ),
        (
            {"schema": "public", "select": ["a"]},
            "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name.",
        ),
    ],
)
def test_refuses_in_the_real_servers_words(params: dict[str, Any], message: str) -> None:
    with pytest.raises(BindingError) as error:
        parse(params)
    assert str(error.value) == message
