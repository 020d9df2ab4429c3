"""What of the schema is kept in files, so that a change of the wire is seen when it is made."""

import json
from collections.abc import Iterator, Mapping

from service.schema import asyncapi, catalogue, examples, openapi, reference, typescript
from service.schema.catalogue import Schema

EXAMPLES = "tests/wire"


def generated() -> Mapping[str, bytes]:
    """Every generated file's contents, by its path in the repository."""
    return {
        "docs/openapi.json": _json(openapi.document()),
        "docs/asyncapi.json": _json(asyncapi.document()),
        "docs/events.md": reference.markdown().encode(),
        "client/src/events.gen.ts": typescript.source().encode(),
        **dict(_examples()),
    }


def _examples() -> Iterator[tuple[str, bytes]]:
    """One file a message: its JSON, byte for byte, and a line break."""
    for stream in catalogue.STREAMS:
        for type_, data in examples.of(stream.name).items():
            yield f"{EXAMPLES}/{stream.name}/{type_}.json", data + b"\n"
    for name, data in examples.socket().items():
        yield f"{EXAMPLES}/socket/{name}.json", data + b"\n"


def _json(document: Schema) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"
