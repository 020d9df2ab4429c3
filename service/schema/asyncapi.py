"""The WebSocket as AsyncAPI 3, for which OpenAPI has no words."""

import json
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Any, get_args

from pydantic import BaseModel

from service.schema import catalogue, examples
from service.schema.catalogue import REF, Schema

ADDRESS = "/api/ws"
SUBPROTOCOL = "rowcast.v1"
DESCRIPTION = f"""\
Several projects on one connection, to which projects may be added and from which they may be taken. The client offers
the subprotocol `{SUBPROTOCOL}`, says who it is (`?ticket=`, `?token=`, an Authorization header, or within 10 s the
operation `auth`), and subscribes to projects. Each message is one JSON object. Those of a project are its stream's (see
/openapi.json), each with `projectId` and, once it is known, the `revision` up to which the project has been told: after
a cut a subscription goes on with it as `since`. The last message is `stream_end` without a `projectId`; one with a
`projectId` ends that subscription alone.
"""
ANSWERED = {"auth": "authenticated", "subscribe": "connected", "unsubscribe": "unsubscribed"}
"""By which message an operation is answered, if it can be done."""
WHOSE = {
    "projectId": {"type": "string", "format": "uuid", "description": "Whose it is; none's if it is the connection's."},
    "revision": {"type": "integer", "minimum": 0, "description": "Up to where the project has been told with it."},
}


@cache
def document() -> Schema:
    """The whole document. The caller must not change it."""
    told = {**dict(_of_feed()), **{_name(model, "type"): _own(model, "type") for model in catalogue.SOCKET_TELLS}}
    heard = {_name(model, "op"): _own(model, "op") for model in catalogue.SOCKET_HEARS}
    messages = {**told, **heard}
    models = sorted({name for message in messages.values() for name in catalogue.held(message)})
    channel = {"$ref": "#/channels/socket"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "rowcast",
            "version": version("rowcast"),
            "description": "Row changes in a Supabase database as typed, live events: the WebSocket.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": ADDRESS,
                "description": DESCRIPTION,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET", "query": _query(), "headers": _headers()}},
            }
        },
        "operations": {
            "tell": {"action": "send", "channel": channel, "messages": [_reference(name) for name in told]},
            **{name: _operation(name, channel) for name in heard},
        },
        "components": {"messages": messages, "schemas": {name: _schema(name) for name in models}},
    }


def _operation(name: str, channel: Schema) -> Schema:
    reply = {"channel": channel, "messages": [_reference(ANSWERED[name]), _reference("refused")]}
    return {"action": "receive", "channel": channel, "messages": [_reference(name)], "reply": reply}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/channels/socket/messages/{name}"}


def _of_feed() -> Iterator[tuple[str, Schema]]:
    known = examples.of(catalogue.SOCKET_FEED.name)
    for type_, name in catalogue.messages(catalogue.SOCKET_FEED):
        payload = {"allOf": [{"$ref": REF + name}], "properties": WHOSE}
        example = {**json.loads(known[type_]), "projectId": examples.PROJECT, "revision": examples.REVISION}
        yield type_, _message(catalogue.schemas()[name]["description"], payload, example)


def _own(model: type[BaseModel], key: str) -> Schema:
    example = json.loads(examples.socket()[str(get_args(model.model_fields[key].annotation)[0])])
    return _message(catalogue.schemas()[model.__name__]["description"], {"$ref": REF + model.__name__}, example)


def _name(model: type[BaseModel], key: str) -> str:
    """By which a message is known: its type, but for a refusal, whose type is that of a stream's own error."""
    type_ = str(get_args(model.model_fields[key].annotation)[0])
    return "refused" if type_ == "error" else type_


def _message(summary: str, payload: Schema, example: Any) -> Schema:
    return {"summary": summary, "payload": payload, "examples": [{"payload": example}]}


def _schema(name: str) -> Schema:
    """As AsyncAPI has it, whose discriminators map nothing."""
    return {key: value for key, value in catalogue.schemas()[name].items() if key != "discriminator"}


def _query() -> Schema:
    text = {"type": "string"}
    return {"type": "object", "properties": {"token": text, "ticket": text}}


def _headers() -> Schema:
    return {
        "type": "object",
        "properties": {
            "Sec-WebSocket-Protocol": {"type": "string", "const": SUBPROTOCOL},
            "Authorization": {"type": "string", "pattern": "^Bearer .+$"},
        },
        "required": ["Sec-WebSocket-Protocol"],
    }
