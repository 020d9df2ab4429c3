"""The OpenAPI document as a page for people: ``/docs``. It has no script, and needs nothing from elsewhere."""

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from service.schema import openapi
from service.schema.catalogue import Schema
from service.schema.words import fields, type_of

FRAME = Path(__file__).with_name("page.html")


@cache
def html() -> str:
    """The whole page."""
    document = openapi.document()
    operations = [
        (method, path, operation) for path, item in document["paths"].items() for method, operation in item.items()
    ]
    schemas: dict[str, Schema] = document["components"]["schemas"]
    contents = [
        _section(tag["name"], [each for each in operations if tag["name"] in each[2]["tags"]], document)
        for tag in document["tags"]
    ]
    models = [_model(name, schema) for name, schema in schemas.items()]
    links = [
        f'<li><a href="#{operation["operationId"]}"><b>{method.upper()}</b> {escape(path)}</a></li>'
        for method, path, operation in operations
    ]
    return (
        FRAME.read_text(encoding="utf-8")
        .replace("{{version}}", escape(document["info"]["version"]))
        .replace("{{description}}", "".join(_paragraphs(document["info"]["description"])))
        .replace("{{links}}", "".join(links))
        .replace("{{operations}}", "".join(contents))
        .replace("{{security}}", "".join(_security(document)))
        .replace("{{models}}", "".join(models))
    )


def _paragraphs(text: str) -> Iterator[str]:
    yield from (f"<p>{_text(part)}</p>" for part in text.split("\n\n"))


def _text(text: str) -> str:
    """Text with its `code` as such."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _type(schema: Schema) -> str:
    return _linked(type_of(schema))


def _linked(words: str) -> str:
    """A type in words, the models that it names as links."""
    models = openapi.document()["components"]["schemas"]
    return re.sub(
        r"\b[A-Z]\w+\b",
        lambda found: _link(found[0], found[0]) if found[0] in models else found[0],
        escape(words, quote=False),
    )


def _section(tag: str, operations: Iterable[tuple[str, str, Schema]], document: Schema) -> str:
    return f"<h2>{escape(tag)}</h2>" + "".join(_operation(*each, document) for each in operations)


def _operation(method: str, path: str, operation: Schema, document: Schema) -> str:
    parts = [f"<p>{_text(operation['summary'])}.</p>"]
    schemes = [next(iter(scheme)) for scheme in operation["security"]]
    parts.append(f"<p>Sign in: {', '.join(_link(scheme, scheme) for scheme in schemes) or 'not needed'}.</p>")
    if parameters := operation.get("parameters"):
        rows = [
            (f"<code>{escape(each['name'])}</code>", each["in"], _type(each["schema"]), _text(each["description"]))
            for each in parameters
        ]
        parts.append(_table(("parameter", "in", "", ""), rows))
    for content_type, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body: <code>{escape(content_type)}</code> {_of_content(content)}</p>")
        parts.append(_fields(content["schema"]))
    answers = [_answer(status, answer, document) for status, answer in operation["responses"].items()]
    parts.append(_table(("status", "", ""), answers))
    streams = [
        content["examples"]["beginning"]["serializedValue"]
        for answer in operation["responses"].values()
        for content in answer.get("content", {}).values()
        if "itemSchema" in content and "examples" in content
    ]
    parts += [f"<details><summary>How one begins</summary><pre>{escape(text)}</pre></details>" for text in streams]
    title = f'<h3 id="{operation["operationId"]}"><b>{method.upper()}</b> <code>{escape(path)}</code></h3>'
    return f"<section>{title}{''.join(parts)}</section>"


def _answer(status: str, answer: Schema, document: Schema) -> tuple[str, str, str]:
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    held = [f"{escape(type_)} {_of_content(content)}" for type_, content in answer.get("content", {}).items()]
    headers = [f"<code>{name}</code>" for name in answer.get("headers", ())]
    with_ = f" With {', '.join(headers)}." if headers else ""
    return f"<code>{status}</code>", _text(answer["description"]) + with_, " ".join(held)


def _of_content(content: Schema) -> str:
    if "itemSchema" in content:
        return f"of {_type(content['itemSchema'])}"
    schema = content.get("schema", {})
    return " or ".join(map(_type, schema.get("oneOf", [schema]))) if "oneOf" in schema or "$ref" in schema else ""


def _model(name: str, schema: Schema) -> str:
    parts = [f'<h3 id="{name}">{name}</h3>', f"<p>{_text(schema.get('description', ''))}</p>", _fields(schema)]
    if "allOf" in schema:
        parts.insert(2, f"<p>{_type(schema)}.</p>")
    if union := schema.get("oneOf") or schema.get("anyOf"):
        parts.append(_table(("one of",), [(_member(member),) for member in union]))
    parts += [
        f"<details><summary>Example</summary><pre>{escape(_pretty(example))}</pre></details>"
        for example in schema.get("examples", ())
    ]
    return f"<section>{''.join(parts)}</section>"


def _member(schema: Schema) -> str:
    """One of a union's models, or of a stream's events."""
    if "$ref" in schema:
        return _type(schema)
    event, data = schema["properties"]["event"], schema["properties"]["data"]
    return f"<code>event: {escape(event['const'])}</code> {_type(data['contentSchema'])}"


def _fields(schema: Schema) -> str:
    rows = [
        (f"<code>{escape(field.name)}</code>", _linked(field.type), _text(field.meaning)) for field in fields(schema)
    ]
    return _table(("field", "", ""), rows) if rows else ""


def _security(document: Schema) -> Iterator[str]:
    for name, scheme in document["components"]["securitySchemes"].items():
        how = "Authorization: Bearer …" if scheme["type"] == "http" else f"?{scheme['name']}=…"
        yield f'<p id="{name}"><b>{name}</b> <code>{how}</code> {_text(scheme["description"])}</p>'


def _link(name: str, text: str) -> str:
    return f'<a href="#{name}">{escape(text)}</a>'


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{head}</th>" if head else "<td></td>" for head in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _pretty(example: Any) -> str:
    return json.dumps(example, ensure_ascii=False, indent=2)
