"""The usual design: sse-starlette, and for each stream a subscription of its own to a Redis channel.

REDIS_URL=… uvicorn --port … benchmarks.rivals.sse_starlette_app:app
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio as redis
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

KEEPALIVE_SECONDS = 25


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    # each subscription holds a connection
    app.state.redis = redis.from_url(os.environ["REDIS_URL"], max_connections=100_000)
    yield
    await app.state.redis.aclose()


async def status(request: Request) -> EventSourceResponse:
    project = request.path_params["project"]

    async def events() -> AsyncIterator[ServerSentEvent]:
        async with request.app.state.redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(project)
            yield ServerSentEvent(json.dumps({"type": "connected", "projectId": project}))
            number = 0
            async for message in channel.listen():
                number += 1
                yield ServerSentEvent(message["data"].decode(), id=str(number))

    return EventSourceResponse(events(), ping=KEEPALIVE_SECONDS)


app = Starlette(routes=[Route("/status/{project}", status)], lifespan=lifespan)
