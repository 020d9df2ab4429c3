"""What a service process holds when nobody looks on: streams, tasks, open files, memory."""

import asyncio
import logging
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields, replace

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.oracle.project import stream_path
from tests.oracle.stage import PLACES, Service, Stage, StageError, User

logger = logging.getLogger(__name__)

REST_SECONDS = 60.0
"""How long after its viewers have left a service may still hold something: topics linger, connections are kept."""
MORE = {"streams": 0, "tasks": 0, "files": 4, "bytes": 64 << 20}
"""What may be held beyond what an idle service does. Files: connections to Supabase, kept for the next question. Bytes:
Python gives memory back in whole arenas only, and rows of more than a MiB were about."""


@dataclass(frozen=True)
class Holdings:
    """What /metrics tells."""

    streams: int
    tasks: int
    files: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.streams} streams, {self.tasks} tasks, {self.files} files, {self.bytes >> 20} MiB"

    def beyond(self, idle: "Holdings") -> list[str]:
        """What is held that should not be, in words."""
        return [
            f"{now} {field.name}, {was} when idle"
            for field in fields(Holdings)
            if (now := getattr(self, field.name)) > (was := getattr(idle, field.name)) + MORE[field.name]
        ]


async def idle(service: Service) -> Holdings:
    """What a process holds that has just started and was asked nothing."""
    async with _asking(service) as client:
        return await _holdings(client)


async def after_work(service: Service, idle: Holdings) -> Holdings | None:
    """What it holds once it has let go of all that an idle one does not hold, or REST_SECONDS are over.

    None when it does not answer.
    """
    deadline = time.monotonic() + REST_SECONDS
    try:
        async with _asking(service) as client:
            while (now := await _holdings(client)).beyond(idle) and time.monotonic() < deadline:
                await asyncio.sleep(0.5)  # nothing that asks the database: its connections are to grow old
    except httpx.HTTPError:
        return None
    return now


async def memory_settled(service: Service, idle: Holdings) -> Holdings:
    """``idle`` with the memory that it holds now: that which work has taken once, and takes again."""
    async with _asking(service) as client:
        return replace(idle, bytes=(await _holdings(client)).bytes)


async def places_missing(stage: Stage, service: Service) -> int:
    """How many of the streams that users may have open can't be opened any more, REST_SECONDS after all have left."""
    deadline = time.monotonic() + REST_SECONDS
    while True:
        async with AsyncExitStack() as streams:
            opened = await asyncio.gather(*(_opened(streams, stage, service, user) for user in stage.users * PLACES))
        missing = opened.count(False)
        if not missing or time.monotonic() > deadline:
            return missing
        await asyncio.sleep(1.0)


async def _opened(streams: AsyncExitStack, stage: Stage, service: Service, user: User) -> bool:
    """Whether the user could open one more stream, which stays open as long as ``streams``."""
    url = f"{service.url}{stream_path(stage.projects[0])}"
    answer = await streams.enter_async_context(stage.http.stream("GET", url, headers=_headers(user)))
    if answer.status_code != httpx.codes.OK:
        logger.info("%s %s: %d %s", service.name, user, answer.status_code, (await answer.aread())[:200])
    return answer.status_code == httpx.codes.OK


def _headers(user: User) -> dict[str, str]:
    return {"Authorization": f"Bearer {user.token(600)}"}


def _asking(service: Service) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=service.url, timeout=20)  # one connection, the same for each reading


async def _holdings(client: httpx.AsyncClient) -> Holdings:
    answer = await client.get("/metrics")
    told: Counter[str] = Counter()  # summed over labels
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            told[sample.name] += int(sample.value) if sample.name in _NAMES else 0
    if not told["rowcast_tasks"]:
        raise StageError(f"{client.base_url} tells no tasks in /metrics")
    return Holdings(*(told[name] for name in _NAMES))


_NAMES = ("rowcast_streams_open", "rowcast_tasks", "process_open_fds", "process_resident_memory_bytes")
