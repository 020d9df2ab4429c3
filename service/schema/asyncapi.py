"""The WebSocket as AsyncAPI 3, for which OpenAPI has no words."""

from functools import cache
from importlib.metadata import version

from service.schema.catalogue import Schema


@cache
def document() -> Schema:
    """The whole document. The caller must not change it."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "rowcast", "version": version("rowcast")},
        "channels": {},
    }
