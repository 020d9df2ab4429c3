"""One URL with Supabase's paths: /rest/v1 and /auth/v1 go to Lite, /realtime/v1 to the stand-in.

Like Supabase's gateway it asks for an API key first (header ``apikey`` or the query parameter of that name), except
on Auth's open paths and for CORS preflights, and what a key may do is then Lite's and the stand-in's to say. Lite takes
a request without a key from this machine for Studio's and lets it do everything. So none is ever passed on: every
request that reaches Lite has one of the two keys in its header, on open paths the publishable one.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from devstack.lite import Keys

HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "host",
})  # fmt: skip
OPEN_PATHS = ("/auth/v1/.well-known/", "/auth/v1/authorize", "/auth/v1/callback", "/auth/v1/verify")
SERVICES = ("rest", "auth")


def _error(status: int, message: str, **more: str) -> web.Response:
    return web.json_response({"message": message, **more}, status=status, headers={"Access-Control-Allow-Origin": "*"})


def _forwarded(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers if name.lower() not in HOP_BY_HOP)


class _Proxy:
    def __init__(self, upstream: str, keys: Keys, session: aiohttp.ClientSession) -> None:
        self._upstream = URL(upstream)
        self._keys = keys
        self._session = session

    async def forward(self, request: web.Request) -> web.StreamResponse:
        if not {".", ".."}.isdisjoint(request.path.replace("\\", "/").split("/")):
            return await _not_found(request)  # it would be another path to Lite than it was here
        key = request.headers.get("apikey") or request.query.get("apikey")
        if not key and (request.method == hdrs.METH_OPTIONS or request.path.startswith(OPEN_PATHS)):
            key = self._keys.publishable
        if not key:
            return _error(401, "No API key found in request", hint="No `apikey` request header or url param was found.")
        if key not in (self._keys.publishable, self._keys.secret):
            return _error(401, "Invalid API key", hint="Double check your Supabase `apikey`")
        headers = _forwarded(request.headers.items())
        headers["apikey"] = key
        try:
            async with self._session.request(
                request.method, self._upstream.join(request.rel_url), headers=headers,
                data=request.content if request.can_read_body else None, allow_redirects=False,
            ) as answer:  # fmt: skip
                # Content-Length goes through as well: a HEAD answer tells the length of a body it does not carry.
                body = await answer.read()
                headers = _forwarded(answer.headers.items())
                # Lite's Auth leaves these out; with Supabase's gateway pages of any origin can sign in.
                headers.setdefault(hdrs.ACCESS_CONTROL_ALLOW_ORIGIN, "*")
                if asked := request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS):
                    headers.setdefault(hdrs.ACCESS_CONTROL_ALLOW_HEADERS, asked)
                return web.Response(status=answer.status, headers=headers, body=body or None)
        except (aiohttp.ClientError, TimeoutError) as error:
            return _error(503, f"The upstream server can't be reached: {error}")


async def _not_found(request: web.Request) -> web.StreamResponse:
    return _error(404, f"no Route matched with those values: {request.path}")


@asynccontextmanager
async def serve(
    port: int, lite_url: str, keys: Keys, realtime: Iterable[web.RouteDef], host: str = "127.0.0.1"
) -> AsyncIterator[None]:
    """Serves the gateway on ``host``:``port`` while the context is open."""
    async with aiohttp.ClientSession(
        auto_decompress=False,
        # Lite must get what the client sent, and no more.
        skip_auto_headers=(hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE, hdrs.USER_AGENT),
        timeout=aiohttp.ClientTimeout(total=300),
        # Node.js closes idle connections after 5 s.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
    ) as session:
        session._retry_connection = False  # noqa: SLF001 - what a DELETE answers the second time is not what it did
        app = web.Application()
        proxy = _Proxy(lite_url, keys, session)
        app.add_routes(realtime)
        app.add_routes([web.route("*", f"/{name}/v1{{path:(/.*)?}}", proxy.forward) for name in SERVICES])
        app.add_routes([web.route("*", "/{path:.*}", _not_found)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, backlog=1024).start()
            yield
        finally:
            await runner.cleanup()
