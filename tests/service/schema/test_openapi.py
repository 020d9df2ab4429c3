"""The document is OpenAPI 3.2, and what it refers to is in it."""

import re
from typing import Any

import schemathesis

from service.schema import openapi
from service.schema.catalogue import SEVERAL, STREAMS


def test_it_is_openapi_3_2() -> None:
    assert openapi.document()["openapi"] == "3.2.0"
    schemathesis.openapi.from_dict(openapi.document()).validate()


def found(document: Any, reference: str) -> Any:
    for name in reference.removeprefix("#/").split("/"):
        document = document[name]
    return document


def test_what_it_refers_to_is_there_and_nothing_else_is() -> None:
    document = openapi.document()
    references = set(re.findall(r"'(#/[^']+)'", str(document)))
    assert all(found(document, reference) for reference in references)
    components = {
        f"#/components/{kind}/{name}"
        for kind, members in document["components"].items()
        for name in members
        if kind != "securitySchemes"
    }
    assert components - references == set()


def test_each_stream_tells_what_each_of_its_events_is() -> None:
    items = {}
    for path, item in openapi.document()["paths"].items():
        content = item.get("get", {"responses": {}})["responses"].get("200", {}).get("content", {})
        if "text/event-stream" in content:
            items[path] = content["text/event-stream"]["itemSchema"]["$ref"].rpartition("/")[2]
    assert sorted(items.values()) == sorted(f"{stream.model}StreamEvent" for stream in (*STREAMS, *SEVERAL))


def test_unnamed_events_are_any_message_and_named_ones_that_of_their_name() -> None:
    schemas = openapi.document()["components"]["schemas"]
    project = schemas["ProjectStreamEvent"]
    assert project["required"] == ["data"]
    assert project["properties"]["data"]["contentSchema"] == {"$ref": "#/components/schemas/ProjectMessage"}
    enrichment = schemas["EnrichmentStreamEvent"]
    assert enrichment["required"] == ["event", "data"]
    kinds = {
        kind["properties"]["event"]["const"]: kind["properties"]["data"]["contentSchema"]["$ref"].rpartition("/")[2]
        for kind in enrichment["oneOf"]
    }
    assert kinds["connected"] == "EnrichmentConnected"
    assert kinds["enrichment.progress"] == "EnrichmentEvent"


def test_refusals_that_pass_say_when_to_come_back() -> None:
    responses = openapi.document()["components"]["responses"]
    assert [name for name, response in responses.items() if "Retry-After" in response.get("headers", {})] == [
        "Problem429", "Problem503",
    ]  # fmt: skip


def test_streams_may_be_opened_with_a_ticket_and_the_rest_not() -> None:
    for item in openapi.document()["paths"].values():
        for operation in item.values():
            is_stream = "text/event-stream" in str(operation["responses"])
            assert ({"ticket": []} in operation["security"]) == is_stream
