"""The documents at their addresses: ``/openapi.json``, ``/asyncapi.json``, and ``/docs`` for people."""

import json

from quart import Blueprint, Response

from service import pages
from service.schema import asyncapi, openapi, page
from service.schema.catalogue import Schema


def blueprint() -> Blueprint:
    routes = Blueprint("schema", __name__)

    @routes.get("/openapi.json")
    async def openapi_json() -> Response:
        return _json(openapi.document())

    @routes.get("/asyncapi.json")
    async def asyncapi_json() -> Response:
        return _json(asyncapi.document())

    @routes.get("/docs")
    async def docs() -> Response:
        return pages.answer(page.html())

    return routes


def _json(document: Schema) -> Response:
    return Response(json.dumps(document, ensure_ascii=False), content_type="application/json")
