"""The way in of WebSockets: ``GET /api/ws``, subprotocol ``rowcast.v1``.

Not Quart's: it would keep whatever a client sends until it is taken, without bound, and a context and two tasks for as
long as the connection lasts. Who may not come in is answered as any request is.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qsl

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from werkzeug.datastructures import Headers

from service.access.rates import Handshakes
from service.errors import (
    ApiError,
    DatabaseRefused,
    DatabaseUnavailable,
    LimitReached,
    bad_request,
    upstream_unavailable,
)
from service.events.answers import Problem
from service.events.wire import encode_model
from service.logs import fields
from service.streams import asked, opening
from service.streams.connection import Connection
from service.streams.services import Services

PATH = "/api/ws"
SUBPROTOCOL = "rowcast.v1"

logger = logging.getLogger(__name__)


class WebSocketMiddleware:
    """Before another application, which gets all that is no WebSocket at PATH.

    ``origins`` are those whose pages may connect: a page sends along where it is from, and a browser sees to that; who
    sends none is no page. ``headers`` go with every refusal.
    """

    def __init__(
        self,
        app: ASGIFramework,
        services: Callable[[], Services],
        origins: Collection[str],
        handshakes: Handshakes,
        headers: Mapping[str, str],
    ) -> None:
        self._app = app
        self._services = services
        self._origins = origins
        self._handshakes = handshakes
        self._headers = headers

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "websocket" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        await receive()  # the connection, which is all that comes before it is accepted
        with ExitStack() as held:
            try:
                connection = await self._let_in(scope, held)
            except ApiError as error:
                await self._refuse(send, error)
                return
            except (DatabaseUnavailable, DatabaseRefused) as error:
                await self._refuse(send, upstream_unavailable(), error)
                return
            headers = [(b"x-stream-id", connection.id.encode())]
            await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL, "headers": headers})
            _forget(scope)
            await connection.run(receive, send)

    async def _let_in(self, scope: Any, held: ExitStack) -> Connection:
        services = self._services()
        headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        peer = (scope.get("client") or (None,))[0]
        address = services.proxies.client(peer, headers.getlist("X-Forwarded-For"))
        await self._handshakes.count(address)
        origin = headers.get("Origin")
        if origin is not None and origin.lower() not in self._origins:
            raise ApiError(403, "forbidden", "Pages of this origin may not connect: it is not one of those configured.")
        if SUBPROTOCOL not in scope["subprotocols"]:
            raise bad_request(f"The client must offer the subprotocol {SUBPROTOCOL}.")
        opening.refuse_while_draining(services)
        principal = None
        if "Authorization" in headers or query.get("ticket") or query.get("token"):
            principal = await services.gate.identify(asked.credential(headers, query, tickets=True))
        user = [] if principal is None else [("user", principal.user_id)]
        held.enter_context(services.limits.take([*user, ("address", address)]))
        return Connection(services, principal, held)

    async def _refuse(self, send: ASGISendCallable, error: ApiError, why: Exception | None = None) -> None:
        metrics = self._services().hub.metrics
        if isinstance(error, LimitReached):
            metrics.limits_reached.labels(error.limit).inc()
        metrics.streams_refused.labels(error.code).inc()
        level = logging.INFO if error.status < 500 else logging.WARNING
        logger.log(level, "stream refused", extra=fields(path=PATH, reason=error.code, error=why))
        body = encode_model(Problem(error=error.code, message=error.message))
        headers = {**self._headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
        if error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "websocket.http.response.start", "status": error.status, "headers": pairs})
        await send({"type": "websocket.http.response.body", "body": body, "more_body": False})


def _forget(scope: Any) -> None:
    """The server keeps the scope until the connection ends: a token and cookies, for hours."""
    scope["headers"] = []
    scope["query_string"] = b""
