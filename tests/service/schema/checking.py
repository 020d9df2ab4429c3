"""What the generated document says, as a judge of messages."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema_rs

from service.schema import asyncapi, openapi
from service.schema.catalogue import REF, Schema, Several, Stream, name_of


@cache
def validator(model: str) -> jsonschema_rs.Validator:
    """Of a model, as the OpenAPI document has it. Formats count, and a field that the model does not know is none."""
    return of(json.dumps({"$ref": REF + model}))


@cache
def of(schema: str) -> jsonschema_rs.Validator:
    """Of a schema as JSON."""
    models = openapi.document()["components"]["schemas"]
    adds_fields = "allOf" in schema or "allOf" in models[name_of(json.loads(schema))]  # to another model
    if not adds_fields:
        models = {name: {"additionalProperties": "properties" not in model, **model} for name, model in models.items()}
    root = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": {"schemas": models},
        **json.loads(schema),
    }
    return jsonschema_rs.validator_for(root, validate_formats=True)


def check_event(stream: Stream | Several, event: Mapping[str, str]) -> None:
    """Whether an event is one of the stream's, and the JSON in its data a message of that type.

    Raises :class:`jsonschema_rs.ValidationError`, or ValueError where the data is no JSON.
    """
    name = f"{stream.model}StreamEvent"
    validator(name).validate(dict(event))
    schema = openapi.document()["components"]["schemas"][name]
    kinds = [each for each in schema.get("oneOf", [schema]) if is_of(each, event)]
    [content] = [kind["properties"]["data"]["contentSchema"] for kind in kinds]
    of(json.dumps(content)).validate(json.loads(event["data"]))


def check_told(message: Mapping[str, Any]) -> None:
    """Whether the WebSocket may tell this: one of the AsyncAPI document's messages of its type.

    Raises :class:`jsonschema_rs.ValidationError`.
    """
    document = asyncapi.document()
    names = ["error", "refused"] if message["type"] == "error" else [message["type"]]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": document["components"],
        "anyOf": [document["components"]["messages"][name]["payload"] for name in names],
    }
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(dict(message))


def is_of(kind: Schema, event: Mapping[str, str]) -> bool:
    name = kind["properties"]["event"].get("const")
    return name is None or name == event["event"]
