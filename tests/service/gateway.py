"""A gateway before the devstack's REST, for projects that have keys which the devstack does not know."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, web

from tests.conftest import StackFacts

Headers = dict[str, str]


@asynccontextmanager
async def gateway(
    stack: StackFacts, known: Callable[[Headers], Headers], jwks: Sequence[dict[str, Any]] = ()
) -> AsyncIterator[str]:
    """Its address. ``known`` turns a request's headers into ones that the devstack knows. There is no Realtime."""

    async def keys(_: web.Request) -> web.Response:
        return web.json_response({"keys": list(jwks)})

    async def rest(request: web.Request) -> web.Response:
        sent = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
        async with session.request(
            request.method, f"{stack.supabase_url}{request.rel_url}", headers=known(sent), data=await request.read()
        ) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    app = web.Application()
    app.router.add_get("/auth/v1/.well-known/jwks.json", keys)
    app.router.add_route("*", "/rest/v1/{rest:.*}", rest)
    runner = web.AppRunner(app, access_log=None)
    async with ClientSession() as session:
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
