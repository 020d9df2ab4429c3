"""Schemas in words."""

import pytest

from service.schema.words import Field, fields, type_of


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#/components/schemas/Job"}, "Job"),
        ({"const": "live"}, '"live"'),
        ({"type": "string", "enum": ["a", "b"]}, '"a" or "b"'),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}], "minimum": 0, "maximum": 1}, "number or null, 0 to 1"),
        ({"type": "string", "format": "uuid"}, "UUID"),
        ({"type": "integer", "minimum": 0}, "whole number, 0 or more"),
        ({"type": "integer", "minimum": 0, "exclusiveMaximum": 2**53}, "whole number, below 2^53"),
        ({"type": "boolean"}, "true or false"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Job"}}, "list of Job"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "object of text"),
        ({"type": "object", "properties": {}}, "object"),
        ({"allOf": [{"$ref": "#/components/schemas/Job"}], "properties": {"bom_id": {}}}, "Job with bom_id"),
        ({}, "anything"),
    ],
)
def test_a_type(schema: dict[str, object], words: str) -> None:
    assert type_of(schema) == words


def test_the_fields_of_an_object_and_of_those_written_out_in_it() -> None:
    batch = {"type": "object", "properties": {"size": {"type": "integer"}}, "required": ["size"]}
    schema = {
        "properties": {"at": {"type": "string", "description": "When."}, "batch": batch},
        "required": ["at"],
    }
    assert list(fields(schema)) == [
        Field("at", "text", "When."),
        Field("batch", "object, may be missing", ""),
        Field("batch.size", "whole number", ""),
    ]
