"""A schema in words, for people: the same in Markdown and HTML."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from service.schema.catalogue import Schema, name_of

FORMATS = {"uuid": "UUID", "date-time": "time (RFC 3339, UTC, milliseconds)", "binary": "file"}


class Field(NamedTuple):
    """A property: its name with those of the objects around it, its type in words, and what it means."""

    name: str
    type: str
    meaning: str


def type_of(schema: Schema) -> str:
    """What a value is: `whole number, 0 or more`, `Progress or null`, …"""
    if "$ref" in schema:
        return name_of(schema)
    if "allOf" in schema:
        return f"{' and '.join(map(type_of, schema['allOf']))} with {', '.join(schema['properties'])}"
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return " or ".join(f'"{value}"' for value in schema["enum"])
    if "anyOf" in schema:
        told = " or ".join(map(type_of, schema["anyOf"]))
        return told + _bounds(schema)
    match schema.get("type"):
        case "string":
            return FORMATS.get(schema.get("format", ""), "text")
        case "integer":
            return "whole number" + _bounds(schema)
        case "number":
            return "number" + _bounds(schema)
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case "array":
            return f"list of {type_of(schema['items'])}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"object of {type_of(schema['additionalProperties'])}"
        case "object":
            return "object"
        case _:
            return "anything"


def _bounds(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if most == 2**53 - 1 or "exclusiveMaximum" in schema:
        return ", below 2^53"
    if least is not None and most is not None:
        return f", {least} to {most}"
    return "" if least is None else f", {least} or more"


def fields(schema: Schema, within: str = "") -> Iterator[Field]:
    """The properties of an object, and those of objects that are written out in it."""
    required = schema.get("required", ())
    properties: Mapping[str, Schema] = schema.get("properties", {})
    for name, member in properties.items():
        is_optional = name not in required
        meaning = member.get("description", "")
        yield Field(within + name, type_of(member) + (", may be missing" if is_optional else ""), meaning)
        yield from fields(member, f"{within}{name}.")
