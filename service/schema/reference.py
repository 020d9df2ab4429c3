"""The messages for people who write pages: docs/events.md."""

import json
from collections.abc import Iterator
from typing import get_args

from service.schema import catalogue, examples
from service.schema.catalogue import Schema
from service.schema.words import Field, fields

HEAD = """\
# Events

Each message that a stream sends: its fields, and a real one, as it is on the wire but for the line breaks. How streams
work is in [feeds.md](feeds.md). This file is generated from the models in `service/events` (`make schema`), as are
[openapi.json](openapi.json), [asyncapi.json](asyncapi.json) and the client's types in `client/src/events.gen.ts`; the
service itself tells them at `/docs`, `/openapi.json` and `/asyncapi.json`. The examples are those of `tests/wire`.

A field or a type that is not here may be added at any time: pass over what you don't know.
"""


def markdown() -> str:
    """The whole file."""
    parts = [HEAD]
    told: set[str] = set()
    for stream in catalogue.STREAMS:
        models: dict[str, list[str]] = {}
        for type_, name in catalogue.messages(stream):
            models.setdefault(name, []).append(type_)
        known = [type_ for name, types in models.items() if name in told for type_ in types]
        parts.append(f"## {stream.title}\n")
        if known:
            parts.append(f"Also {', '.join(f'`{type_}`' for type_ in known)}, as above.\n")
        for name in (name for name in models if name not in told):
            parts.append(_model(", ".join(f"`{type_}`" for type_ in models[name]), name))
            parts += [_example(examples.of(stream.name)[type_]) for type_ in models[name]]
        objects = {found for name in models for found in catalogue.held(catalogue.schemas()[name])}
        parts += [_model(name, name) for name in sorted(objects - told)]
        told |= objects | models.keys()
    for several in catalogue.SEVERAL:
        feed = several.stream.title[0].lower() + several.stream.title[1:]
        parts.append(
            f"## {several.title}\n\nThe messages of {feed}, each with `{several.key}` but for those that concern\n"
            "the whole stream. Ids are those of each, joined by `.`, in the order asked.\n"
        )
    parts += _socket()
    return "\n".join(parts)


def _socket() -> Iterator[str]:
    feed = catalogue.SOCKET_FEED
    yield (
        "## The WebSocket\n\nA client sends operations, each a JSON object with `op`. It is told the messages of "
        f"{feed.title[0].lower()}{feed.title[1:]},\neach with its `projectId` and, once it is known, the `revision` up "
        "to which the project has been told; and these.\n"
    )
    known = examples.socket()
    for models, key in ((catalogue.SOCKET_HEARS, "op"), (catalogue.SOCKET_TELLS, "type")):
        for model in models:
            name = str(get_args(model.model_fields[key].annotation)[0])
            yield _model(f"`{key}` `{name}`", model.__name__)
            yield _example(known[name])


def _model(title: str, name: str) -> str:
    schema: Schema = catalogue.schemas()[name]
    rows = "".join(_row(field) for field in fields(schema))
    return f"### {title}\n\n{schema['description']}\n\n| field | | |\n|---|---|---|\n{rows}"


def _row(field: Field) -> str:
    cells = (f"`{field.name}`", field.type, field.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _example(data: bytes) -> str:
    """A message, a line for each of its members."""
    members = [
        f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in json.loads(data).items()
    ]
    return "```json\n{\n" + ",\n".join(members) + "\n}\n```\n"
