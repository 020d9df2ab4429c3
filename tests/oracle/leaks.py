"""What a service process holds when nobody looks on: streams, tasks, open files, memory."""

import asyncio
import time
from dataclasses import dataclass, fields, replace

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.oracle.stage import Service, StageError

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


async def after_work(service: Service, idle: Holdings) -> Holdings:
    """What it holds once it has let go of all that an idle one does not hold, or REST_SECONDS are over."""
    deadline = time.monotonic() + REST_SECONDS
    async with _asking(service) as client:
        while (now := await _holdings(client)).beyond(idle) and time.monotonic() < deadline:
            await client.get("/readyz")  # asks the database, and so closes what connections to it have grown old
            await asyncio.sleep(0.5)
    return now


async def memory_settled(service: Service, idle: Holdings) -> Holdings:
    """``idle`` with the memory that it holds now: that which work has taken once, and takes again."""
    async with _asking(service) as client:
        return replace(idle, bytes=(await _holdings(client)).bytes)


def _asking(service: Service) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=service.url, timeout=20)  # one connection, the same for each reading


async def _holdings(client: httpx.AsyncClient) -> Holdings:
    answer = await client.get("/metrics")
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name in _NAMES
    }
    if "rowcast_tasks" not in samples:
        raise StageError(f"{client.base_url} tells no tasks in /metrics")
    return Holdings(*(int(samples.get(name, 0)) for name in _NAMES))


_NAMES = ("rowcast_streams_open", "rowcast_tasks", "process_open_fds", "process_resident_memory_bytes")
