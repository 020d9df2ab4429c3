"""The documents at their addresses: ``/openapi.json``, ``/asyncapi.json``, and ``/docs`` for people."""

import asyncio
import json
from functools import cache

from quart import Blueprint, Response

from service import pages
from service.schema import asyncapi, openapi, page
from service.schema.catalogue import Schema


def blueprint() -> Blueprint:
    routes = Blueprint("schema", __name__)

    @routes.get("/openapi.json")
    async def openapi_json() -> Response:
        return Response(await asyncio.to_thread(_openapi), content_type="application/json")

    @routes.get("/asyncapi.json")
    async def asyncapi_json() -> Response:
        return Response(await asyncio.to_thread(_asyncapi), content_type="application/json")

    @routes.get("/docs")
    async def docs() -> Response:
        return pages.answer(await asyncio.to_thread(page.html))

    return routes


# Made when first asked for, beside the loop that serves streams: it takes some tens of milliseconds.


@cache
def _openapi() -> bytes:
    return _json(openapi.document())


@cache
def _asyncapi() -> bytes:
    return _json(asyncapi.document())


def _json(document: Schema) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()
