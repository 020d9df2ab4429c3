"""The HTTP interface as OpenAPI 3.2, whose ``itemSchema`` tells what each event of a stream is."""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from typing import Any

from service.schema import catalogue, examples
from service.schema.catalogue import REF, Schema, name_of
from service.schema.routes import OPERATIONS, Answer, Body, Operation, Parameter

DESCRIPTION = """\
Row changes in a Supabase database as typed, live events: in order, at least once, deduplicated by id, nothing lost; and
where that is impossible, an explicit `reset` with a snapshot.

Streams are Server-Sent Events. The `id` of a message is a revision; EventSource sends the last one when it comes back
and gets what it missed. Only the last message sent for a revision carries its id. A field or a type that is not in this
document may be added at any time: pass over what you don't know.
"""
ERRORS = {
    400: "Something about the request is wrong: `bad_request`. The message names it.",
    401: "`missing_token`, `invalid_token` or `expired_token`.",
    403: "The role in the project is too low: `forbidden`.",
    404: "It does not exist, or the caller is no member of its project: `not_found`.",
    408: "The body took too long to come: `bad_request`.",
    409: "There is nothing to do that to: `conflict`.",
    413: "The body is over the limit: `bad_request`.",
    429: "`too_many_streams` or `rate_limited`.",
    503: "The database can't be asked, or the service is shutting down: `upstream_unavailable`.",
}
COME_BACK = (429, 503)
ID = "The revision up to which all is told; on the last message of each revision only."
HEADERS = {
    "Retry-After": ("After how many seconds to come back.", {"type": "integer", "minimum": 0}),
    "ETag": ("The revision and whether it is live.", {"type": "string"}),
    "Cache-Control": ("What proxies and browsers may do with it: not keep it.", {"type": "string"}),
    "Vary": ("That it is another for others.", {"type": "string"}),
    "X-Accel-Buffering": ("That proxies must not hold it back.", {"type": "string", "enum": ["no"]}),
    "Referrer-Policy": ("That no address with a token goes elsewhere.", {"type": "string", "enum": ["no-referrer"]}),
    "X-Stream-Id": ("The stream's name in the service's log.", {"type": "string"}),
}
SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A Supabase access token; for operators ROWCAST_ADMIN_TOKEN, where the summary names them.",
    },
    "token": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "The same in the address, for a browser's EventSource, which can send no header.",
    },
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "A ticket: good for one stream, and for 60 s. Safer in an address than a token.",
    },
}


@cache
def document() -> Schema:
    """The whole document. The caller must not change it."""
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.template, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.2.0",
        "info": {
            "title": "rowcast",
            "version": version("rowcast"),
            "summary": "Row changes in a Supabase database as typed, live events",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": dict(_schemas()),
            "responses": {f"Problem{status}": _problem(status) for status in ERRORS},
            "headers": {
                name: {"description": text, "required": True, "schema": schema}
                for name, (text, schema) in HEADERS.items()
            },
            "securitySchemes": SECURITY,
        },
    }


def _schemas() -> Iterator[tuple[str, Schema]]:
    """The models, with examples; and the events of the streams, which hold them."""
    real: dict[str, list[Any]] = {}
    for stream in catalogue.STREAMS:
        told = examples.of(stream.name)
        for type_, name in catalogue.messages(stream):
            found = real.setdefault(name, [])
            if (value := json.loads(told[type_])) not in found:
                found.append(value)
        yield f"{stream.model}StreamEvent", _event(stream)
    for several in catalogue.SEVERAL:
        message = several.member(several.stream.message.__name__)
        yield f"{several.model}Message", {"description": f"{several.title}: a message of one of them.", **message}
        yield f"{several.model}StreamEvent", _event_of(several)
    real |= {name: [value] for name, value in examples.answers().items()}
    of_socket = {model.__name__ for model in (*catalogue.SOCKET_TELLS, *catalogue.SOCKET_HEARS)}
    for name, schema in catalogue.schemas().items():
        if name in of_socket:
            continue
        yield name, {**schema, "examples": real[name]} if name in real else schema


def _event(stream: catalogue.Stream) -> Schema:
    """One Server-Sent Event of a stream, as the specification of OpenAPI models them."""
    id_ = {"type": "string", "pattern": "^[0-9]+$", "description": ID}
    messages = list(catalogue.messages(stream))
    event: Schema = {"type": "string", "enum": [type_ for type_, _ in messages], "description": "The message's type."}
    told: Schema = {"description": f"{stream.title}: one Server-Sent Event.", "type": "object"}
    properties = {"id": id_, "event": event, "data": _data(stream.message.__name__)}
    if not stream.named:
        event["enum"].insert(0, "message")
        event["description"] += " Only with `?events=named`; else events have no name, which is to be called `message`."
        return {**told, "properties": properties, "required": ["data"]}
    kinds = [{"properties": {"event": {"const": type_}, "data": _data(name)}} for type_, name in messages]
    return {**told, "properties": properties, "required": ["event", "data"], "oneOf": kinds}


def _event_of(several: catalogue.Several) -> Schema:
    """One of a stream of several keys."""
    event = _event(several.stream)
    kinds = [
        {"properties": {**kind["properties"], "data": _json(several.member(name_of(_content(kind))))}}
        for kind in event.get("oneOf", ())
    ]
    id_ = {
        "type": "string",
        "pattern": r"^[0-9]+(\.[0-9]+)*$",
        "description": f"{ID} Of each key, joined by '.', in the order asked.",
    }
    event["description"] = f"{several.title}: one Server-Sent Event."
    event["properties"] |= {"id": id_, "data": _data(f"{several.model}Message")}
    return {**event, "oneOf": kinds} if kinds else event


def _content(kind: Schema) -> Schema:
    """The schema of what is in an event's data."""
    content: Schema = kind["properties"]["data"]["contentSchema"]
    return content


def _json(schema: Schema) -> Schema:
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}


def _data(model: str) -> Schema:
    return _json({"$ref": REF + model})


def _operation(operation: Operation) -> Schema:
    told: Schema = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "security": [{scheme: []} for scheme in operation.who.value],
    }
    if parameters := [*operation.path_parameters(), *operation.parameters]:
        told["parameters"] = [_parameter(parameter) for parameter in parameters]
    if operation.body is not None:
        told["requestBody"] = _body(operation.body)
    answers = {str(status): _answer(answer) for status, answer in operation.answers.items()}
    errors = {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in operation.errors}
    told["responses"] = dict(sorted((answers | errors).items()))
    return told


def _parameter(parameter: Parameter) -> Schema:
    told = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.required,
        "schema": parameter.schema,
    }
    return told | {"style": "form", "explode": False} if parameter.schema["type"] == "array" else told


def _body(body: Body) -> Schema:
    if body.model is not None:
        return {"content": {"application/json": {"schema": {"$ref": REF + body.model}}}}
    form = {"type": "object", "properties": dict(body.form), "required": ["file"]}
    files = {name: {"contentType": "text/csv"} for name, field in body.form.items() if field.get("format") == "binary"}
    return {"required": True, "content": {"multipart/form-data": {"schema": form, "encoding": files}}}


def _answer(answer: Answer) -> Schema:
    told: Schema = {"description": answer.description}
    if answer.headers:
        told["headers"] = _headers(answer.headers)
    if answer.stream is not None:
        content: Schema = {"itemSchema": {"$ref": f"{REF}{answer.stream.capitalize()}StreamEvent"}}
        if any(answer.stream == stream.name for stream in catalogue.STREAMS):
            content["examples"] = {"beginning": {"serializedValue": examples.beginning(answer.stream)}}
        told["content"] = {"text/event-stream": content}
    elif answer.model is not None:
        models = (answer.model,) if isinstance(answer.model, str) else answer.model
        schemas = [{"$ref": REF + model} for model in models]
        told["content"] = {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}}
    elif answer.content_type is not None:
        told["content"] = {answer.content_type: {}}
    return told


def _problem(status: int) -> Schema:
    told: Schema = {"description": ERRORS[status]}
    if status in COME_BACK:
        told["headers"] = _headers(["Retry-After"])
    told["content"] = {"application/json": {"schema": {"$ref": f"{REF}Problem"}}}
    return told


def _headers(names: Iterable[str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
