"""Answers that are one object; see :mod:`service.events.answers`."""

from quart import Response

from service.events.model import WireModel
from service.events.wire import encode_model


def answer(model: WireModel, status: int = 200) -> Response:
    return Response(encode_model(model), status=status, content_type="application/json")
