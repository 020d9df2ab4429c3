"""What a client may ask for on a WebSocket. How what it must not ask for is answered: streams/test_connection.py."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.events.socket import Auth, BadOperation, Refused, Subscribe, Unsubscribe, read

ID = "00000000-0000-4000-8000-00000000000a"


@pytest.mark.parametrize(
    ("said", "operation"),
    [
        ({"op": "auth", "token": "t", "more": 1}, Auth(op="auth", token="t")),
        ({"op": "unsubscribe", "projectId": ID.upper()}, Unsubscribe(op="unsubscribe", project_id=ID)),
        ({"op": "subscribe", "projectId": ID}, Subscribe(op="subscribe", project_id=ID)),
        (
            {"op": "subscribe", "projectId": ID, "since": "7", "snapshot": True, "types": ["a", "b"], "token": "t"},
            Subscribe(op="subscribe", project_id=ID, since=7, snapshot=True, types=("a", "b"), token="t"),
        ),
        (
            {"op": "subscribe", "projectId": ID, "since": 2**53 - 1, "types": None},
            Subscribe(op="subscribe", project_id=ID, since=2**53 - 1),
        ),
    ],
)
def test_operations_are_read(said: object, operation: object) -> None:
    assert read(said) == operation


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (None, "a message must be a JSON object"),
        ({"op": "auth", "token": ""}, "token must be"),
        ({"op": "auth", "token": "\ud800"}, "token must be"),
        ({"op": "subscribe", "projectId": ID + "0"}, "projectId must be a UUID"),
        ({"op": "subscribe", "projectId": ID.replace("-", "")}, "projectId must be a UUID"),
        ({"op": "subscribe", "projectId": ID, "since": 1.0}, "since must be"),
        ({"op": "subscribe", "projectId": ID, "since": "٣"}, "since must be"),
        ({"op": "subscribe", "projectId": ID, "since": "9" * 17}, "since must be"),
        ({"op": "subscribe", "projectId": ID, "snapshot": 1}, "snapshot must be"),
        ({"op": "subscribe", "projectId": ID, "types": {"a": 1}}, "types must be"),
    ],
)
def test_what_is_none_is_named(said: object, says: str) -> None:
    with pytest.raises(BadOperation, match=says):
        read(said)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
fields = st.sampled_from(["op", "projectId", "since", "snapshot", "types", "token"])


@given(st.sampled_from(["auth", "subscribe", "unsubscribe"]), st.dictionaries(fields, json_values | st.just(ID)))
def test_no_operation_gives_another_error(op: str, said: dict[str, object]) -> None:
    try:
        read({"op": op, **said})
    except BadOperation as error:
        json.dumps(Refused(code="bad_request", message=str(error)).model_dump(mode="json")).encode()
