"""The naive design: for each stream a Realtime channel of its own, whose changes go out as they come.

    SUPABASE_URL=… SUPABASE_SECRET_KEY=… hypercorn benchmarks.rivals.naive_app:app

As the examples have it, all channels are one client's; Supabase allows a hundred on a connection. Nothing missed is
ever noticed.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

from quart import Quart, Response
from realtime import AsyncRealtimeClient, RealtimePostgresChangesListenEvent

app = Quart(__name__, static_folder=None)
clients: list[AsyncRealtimeClient] = []
numbers = count()


@app.before_serving
async def connect() -> None:
    client = AsyncRealtimeClient(f"{os.environ['SUPABASE_URL']}/realtime/v1", os.environ["SUPABASE_SECRET_KEY"])
    await client.connect()
    clients.append(client)


def told(row: dict[str, Any] | None) -> str:
    if row is None:
        raise ValueError("a change without its row")
    progress = {
        "stage": row["progress_stage"], "current": row["progress_current"], "total": row["progress_total"],
        "message": row["progress_message"], "timestamp": row["progress_updated_at"],
        "percent": None, "etaSeconds": None,
    }  # fmt: skip
    return json.dumps({"type": "progress_update", "jobId": row["id"], "progress": progress}, separators=(",", ":"))


@app.get("/status/<project>")
async def status(project: str) -> Response:
    async def events() -> AsyncIterator[bytes]:
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        ready = asyncio.Event()
        channel = clients[0].channel(f"project-{project}-{next(numbers)}")
        channel.on_postgres_changes(
            RealtimePostgresChangesListenEvent.Update,
            lambda payload: queue.put_nowait(payload["data"]["record"]),
            table="jobs",
            schema="public",
            filter=f"project_id=eq.{project}",
        )
        channel.on_system(lambda _: ready.set())
        await channel.subscribe()
        try:
            await ready.wait()
            yield b'data: {"type":"connected"}\n\n'
            while True:
                yield b"data: %s\n\n" % told(await queue.get()).encode()
        finally:
            await channel.unsubscribe()

    response = Response(events(), content_type="text/event-stream")
    response.timeout = None
    return response
