"""The models as TypeScript: an interface each, unions that a ``type`` tells apart, and the types of each stream."""

import json
import re
from collections.abc import Iterator
from textwrap import indent

from service.schema import catalogue
from service.schema.catalogue import Schema, name_of

HEAD = "// Generated from the models in service/events by `make schema`; a test fails when it is stale.\n"


def source() -> str:
    """The whole file."""
    models = [_declaration(name, schema) for name, schema in catalogue.schemas().items()]
    return "\n".join(
        [HEAD, *models, *map(_of_stream, catalogue.STREAMS), *map(_of_several, catalogue.SEVERAL), _of_socket()]
    )


def _of_stream(stream: catalogue.Stream) -> str:
    """What a stream's events hold, by their names; and the names, for addEventListener."""
    name = stream.model
    messages = list(catalogue.messages(stream))
    members = "".join(f"  {_property(type_)}: {model};\n" for type_, model in messages)
    names = "".join(f"  {json.dumps(type_)},\n" for type_, _ in messages)
    return (
        f"/** {stream.title}: what its events hold, by their names. */\n"
        f"export interface {name}Events {{\n{members}}}\n\n"
        f"/** An event of it with its name. */\n"
        f"export type {name}StreamEvent = {{\n"
        f"  [Name in keyof {name}Events]: {{ event: Name; data: {name}Events[Name] }};\n"
        f"}}[keyof {name}Events];\n\n"
        f"export const {stream.name}EventNames = [\n{names}] as const satisfies readonly (keyof {name}Events)[];\n"
    )


def _of_several(several: catalogue.Several) -> str:
    """As those of one key's stream, and of which key each is."""
    name, one = several.model, several.stream
    events = f"{one.model}Events"
    return (
        f"/** {several.title}: of which a message is, unless it is the whole stream's. */\n"
        f"export interface Of{name} {{\n  {several.key}?: string;\n}}\n\n"
        f"export type {name}Message = {one.message.__name__} & Of{name};\n\n"
        f"export type {name}Events = {{\n  [Name in keyof {events}]: {events}[Name] & Of{name};\n}};\n"
    )


def _of_socket() -> str:
    told = "".join(f"\n  | {model.__name__}" for model in catalogue.SOCKET_TELLS)
    heard = "".join(f"\n  | {model.__name__}" for model in catalogue.SOCKET_HEARS)
    feed = catalogue.SOCKET_FEED.message.__name__
    return (
        "/** The WebSocket: whose a message is, and up to where the project has been told then. */\n"
        "export interface OfSocket {\n  projectId?: string;\n  revision?: number;\n}\n\n"
        f"export type SocketMessage =\n  | ({feed} & OfSocket){told};\n\n"
        f"/** What a client sends. */\nexport type SocketOperation ={heard};\n"
    )


def _declaration(name: str, schema: Schema) -> str:
    comment = _comment(schema)
    if (union := schema.get("oneOf") or schema.get("anyOf")) is not None:
        members = "".join(f"\n  | {name_of(member)}" for member in union)
        return f"{comment}export type {name} ={members};\n"
    return f"{comment}export interface {name} {{\n{''.join(_members(schema))}}}\n"


def _members(schema: Schema) -> Iterator[str]:
    for name, member in schema["properties"].items():
        mark = "" if name in schema.get("required", ()) else "?"
        yield indent(f"{_comment(member)}{_property(name)}{mark}: {_type(member)};\n", "  ")


def _property(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else json.dumps(name)


def _comment(schema: Schema) -> str:
    text = schema.get("description", "")
    if schema.get("format") == "date-time" and not text:
        text = "RFC 3339, UTC, milliseconds."
    return f"/** {' '.join(text.split())} */\n" if text else ""


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return name_of(schema)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(map(json.dumps, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(map(_type, schema["anyOf"])))
    match schema.get("type"):
        case "integer" | "number":
            return "number"
        case "string" | "boolean" | "null" as same:
            return str(same)
        case "array":
            item = _type(schema["items"])
            return f"({item})[]" if "|" in item else f"{item}[]"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"Record<string, {_type(schema['additionalProperties'])}>"
        case "object":
            return f"{{\n{''.join(_members({'properties': {}, **schema}))}  [name: string]: unknown;\n}}"
        case None:
            return "unknown"
        case other:
            raise ValueError(f"TypeScript for the JSON Schema type {other!r} is not written yet")
