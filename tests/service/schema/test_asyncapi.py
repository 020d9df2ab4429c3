"""The document is AsyncAPI 3, and tells all that the WebSocket says and hears."""

import json

import jsonschema_rs
import pytest

from service.schema import asyncapi, catalogue, examples
from service.streams import websocket
from tests.conftest import ROOT

SPECIFICATION = ROOT / "tests" / "node" / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
DOCUMENT = asyncapi.document()


def test_it_is_asyncapi_3() -> None:
    jsonschema_rs.validator_for(json.loads(SPECIFICATION.read_text())).validate(DOCUMENT)


def test_it_is_about_the_socket_that_there_is() -> None:
    [channel] = DOCUMENT["channels"].values()
    assert channel["address"] == websocket.PATH
    assert channel["bindings"]["ws"]["headers"]["properties"]["Sec-WebSocket-Protocol"] == {
        "type": "string", "const": websocket.SUBPROTOCOL,
    }  # fmt: skip


def test_it_tells_every_message_of_the_feed_and_every_one_of_its_own() -> None:
    feed = {type_ for type_, _ in catalogue.messages(catalogue.SOCKET_FEED)}
    own = {"auth", "subscribe", "unsubscribe", "authenticated", "unsubscribed", "keepalive", "refused"}
    assert set(DOCUMENT["components"]["messages"]) == feed | own
    told = {reference["$ref"].rpartition("/")[2] for reference in DOCUMENT["operations"]["tell"]["messages"]}
    assert told == feed | (own - {"auth", "subscribe", "unsubscribe"})


@pytest.mark.parametrize("name", DOCUMENT["components"]["messages"])
def test_each_has_an_example_that_is_one(name: str) -> None:
    message = DOCUMENT["components"]["messages"][name]
    root = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": DOCUMENT["components"],
        **message["payload"],
    }
    judge = jsonschema_rs.validator_for(root, validate_formats=True)
    for example in message["examples"]:
        judge.validate(example["payload"])
    assert not judge.is_valid({})


def test_the_examples_of_its_own_messages_are_the_golden_ones() -> None:
    for name, data in examples.socket().items():
        message = DOCUMENT["components"]["messages"]["refused" if name == "error" else name]
        assert json.loads(data) in [example["payload"] for example in message["examples"]]
