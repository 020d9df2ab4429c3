"""What the generated document says, as a judge of messages."""

import json
from collections.abc import Mapping
from functools import cache

import jsonschema_rs

from service.schema import openapi
from service.schema.catalogue import REF, Schema, Several, Stream


@cache
def validator(model: str) -> jsonschema_rs.Validator:
    """Of a model, as the OpenAPI document has it; formats count."""
    return of(json.dumps({"$ref": REF + model}))


@cache
def of(schema: str) -> jsonschema_rs.Validator:
    root = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": openapi.document()["components"],
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


def is_of(kind: Schema, event: Mapping[str, str]) -> bool:
    name = kind["properties"]["event"].get("const")
    return name is None or name == event["event"]
