"""The composition root: settings in, a Quart application out."""

import asyncio
import logging
import os
from contextlib import AsyncExitStack, suppress

from prometheus_client import CONTENT_TYPE_LATEST
from quart import Quart, Response, has_request_context, request, websocket
from quart_cors import cors
from quart_rate_limiter import RateLimitExceeded
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from service import debug, health, pipeline, web
from service.access.belongings import NO_SUCH_TABLE
from service.access.rates import Handshakes, limit_requests, too_many_requests
from service.client import environment_proxy
from service.errors import (
    ApiError,
    DatabaseRefused,
    DatabaseUnavailable,
    LimitReached,
    NoSuchRow,
    no_change_log,
    upstream_unavailable,
)
from service.events.answers import Problem
from service.logs import fields
from service.mode import NO_SUCH_FUNCTION, Mode
from service.schema import serving
from service.settings import Settings
from service.streams import asked, boms, commands, enrichment, snapshot, sse, tickets
from service.streams import pipeline as pipelines
from service.streams.answering import answer
from service.streams.asgi import StreamMiddleware
from service.streams.websocket import WebSocketMiddleware

DRAIN_SECONDS = 2.5
"""How long streams may take to end: what is left of the five seconds of a stop is for everything else."""
MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10
"""How long a request's body may take to come, unless it is an upload. Its head: hypercorn's keep_alive_timeout."""
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""On every answer that does not say otherwise: whatever it holds, no browser runs, frames, or keeps it."""

LOG_ONLY = frozenset({"boms", "commands", "enrichment", "tickets"})
"""Blueprints of what needs rowcast's own tables and functions: direct mode does not have them, and a database that
`rowcast init` has prepared need not."""

logger = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> Quart:
    """The service. Without ``settings`` they are read from the environment.

    Raises :class:`service.errors.SettingsError`.
    """
    settings = settings or Settings.from_environment(os.environ)
    proxy = environment_proxy(settings.supabase_url)
    app = Quart("service", static_folder=None)
    app.url_map.merge_slashes = False  # or an address with an empty part would be answered with a page, to go elsewhere
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["BODY_TIMEOUT"] = BODY_SECONDS
    app.request_class = boms.Request
    limit_requests(app, settings.requests_per_minute, lambda: asked.address(request, settings.trusted_proxies))
    stack = AsyncExitStack()
    running: list[pipeline.Pipeline] = []

    @app.before_serving
    async def start() -> None:
        running.append(await stack.enter_async_context(pipeline.running(settings, proxy)))

    @app.after_serving
    async def stop() -> None:
        await stack.aclose()

    app.extensions["rowcast"] = running
    streams = sse.blueprint(lambda: running[0].services)
    pipelines.add_routes(streams, lambda: running[0].services)
    app.register_blueprint(streams)
    app.register_blueprint(snapshot.blueprint(lambda: running[0].services))
    app.register_blueprint(tickets.blueprint(lambda: running[0].services))
    app.register_blueprint(enrichment.blueprint(lambda: running[0].services))
    app.register_blueprint(boms.blueprint(lambda: running[0].services))
    app.register_blueprint(commands.blueprint(lambda: running[0].services))
    app.register_blueprint(health.blueprint(lambda: running[0]))
    app.register_blueprint(serving.blueprint())
    if settings.debug:
        app.register_blueprint(debug.blueprint())
    if settings.web_directory:
        app.register_blueprint(web.blueprint(settings, settings.web_directory))

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(running[0].metrics.exposition(), content_type=CONTENT_TYPE_LATEST)

    app.asgi_app = WebSocketMiddleware(  # type: ignore[method-assign] # as Quart's documentation says
        StreamMiddleware(app.asgi_app),
        lambda: running[0].services,
        settings.cors_origins,
        Handshakes(settings.requests_per_minute),
        SAFE_HEADERS,
    )

    @app.after_request
    async def take_rest(response: Response) -> Response:
        """What of the body nobody wanted: a connection that is closed with bytes unread loses the answer too."""
        with suppress(RequestEntityTooLarge, TimeoutError):
            async with asyncio.timeout(BODY_SECONDS):
                async for _ in request.body:
                    pass
        return response

    @app.after_request
    async def safe(response: Response) -> Response:
        for name, value in SAFE_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.before_request
    async def need_log() -> None:
        if request.blueprint in LOG_ONLY and running[0].mode is Mode.DIRECT:
            raise no_change_log()

    _answer_errors(app, running)
    return cors(
        app,
        allow_origin=settings.cors_origins,  # none, not None, which would be any
        allow_credentials=bool(settings.cors_origins),
        allow_headers=["Authorization", "Last-Event-ID", "If-None-Match", "Content-Type"],
        allow_methods=["GET", "POST", "PATCH", "OPTIONS"],
        expose_headers=["ETag", "Retry-After"],
        max_age=600,
    )


async def drain(app: Quart) -> None:
    """Tells every stream that the service shuts down and waits for them to end. Call it before the server stops."""
    for started in app.extensions["rowcast"]:
        hub = started.services.hub
        logger.info("the service stops", extra=fields(streams=hub.viewers))
        await hub.drain(DRAIN_SECONDS)
        if hub.viewers:
            logger.warning("streams did not end in time", extra=fields(streams=hub.viewers))


def _answer_errors(app: Quart, running: list[pipeline.Pipeline]) -> None:
    @app.errorhandler(ApiError)
    async def told(error: ApiError, why: Exception | None = None) -> Response:
        if isinstance(error, LimitReached) and running:
            running[0].metrics.limits_reached.labels(error.limit).inc()
        this = request if has_request_context() else websocket
        if this.blueprint == "streams":
            if running:
                running[0].metrics.streams_refused.labels(error.code).inc()
            level = logging.INFO if error.status < 500 else logging.WARNING
            logger.log(level, "stream refused", extra=_about(this.path, error, why))
        elif why is not None:
            logger.warning("request refused", extra=_about(this.path, error, why))
        response = answer(Problem(error=error.code, message=error.message), error.status)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        return response

    @app.errorhandler(DatabaseUnavailable)
    @app.errorhandler(DatabaseRefused)
    async def unavailable(error: DatabaseUnavailable | DatabaseRefused) -> Response:
        """Neither is the caller's fault: one refused has the service's key wrong, or the migrations missing."""
        is_absent = isinstance(error, DatabaseRefused) and error.code in (*NO_SUCH_TABLE, *NO_SUCH_FUNCTION)
        if is_absent and has_request_context() and request.blueprint in LOG_ONLY:
            return await told(no_change_log(), error)
        return await told(upstream_unavailable(), error)

    @app.errorhandler(NoSuchRow)
    async def missing(_: NoSuchRow) -> Response:
        return await told(ApiError(404, "not_found", "It does not exist, or does not any more."))

    @app.errorhandler(RateLimitExceeded)
    async def too_often(error: RateLimitExceeded) -> Response:
        return await told(too_many_requests(int(dict(error.get_headers())["Retry-After"])))

    @app.errorhandler(HTTPException)
    async def unknown(error: HTTPException) -> Response:
        status = error.code or 500
        code = "not_found" if status == 404 else "bad_request" if status < 500 else "internal_error"
        response = await told(ApiError(status, code, error.description or error.name))
        response.headers.extend((name, value) for name, value in error.get_headers() if name == "Allow")
        return response


def _about(path: str, error: ApiError, why: Exception | None) -> dict[str, dict[str, object]]:
    """A refusal's fields. Nothing of the query string: it may hold a token."""
    return fields(path=path[:200], reason=error.code, error=why)
