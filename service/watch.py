"""``rowcast watch``: a project's live state in a terminal, from the service's own stream.

It does what any page should: reduces messages to a state, remembers the last event id, and comes back by itself.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
import httpx_sse

from service.backoff import delays
from service.errors import RowcastServiceError

READ_SECONDS = 60.0
"""Longer than the service's keepalive: silence beyond it means a dead connection."""
TERMINAL = frozenset({"completed", "failed", "stopped"})


class WatchError(RowcastServiceError):
    """Watching can't go on; trying again would not help."""


@dataclass
class State:
    """The reduced state: rows by id, as the wire tells them."""

    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    proposals: dict[str, dict[str, Any]] = field(default_factory=dict)
    live: bool = False

    def apply(self, message: dict[str, Any]) -> None:
        """Takes one message of the project feed in; a type it does not know changes nothing."""
        match message["type"]:
            case "connected" | "live":
                self.live = message["live"]
            case "reset":
                self.sources, self.jobs, self.proposals = {}, {}, {}
            case "snapshot":
                if message["part"] == 1:
                    self.sources, self.jobs, self.proposals = {}, {}, {}
                self.sources |= {row["sourceId"]: row for row in message["sources"]}
                self.jobs |= {row["jobId"]: row for row in message["jobs"]}
                self.proposals |= {row["proposalId"]: row for row in message["proposals"]}
            case "status_update":
                self.sources[message["sourceId"]] = message
            case "source_deleted":
                self.sources.pop(message["sourceId"], None)
            case "progress_update":
                self.jobs.setdefault(message["jobId"], {})["progress"] = message["progress"]
            case "job_update":
                self.jobs.setdefault(message["jobId"], {}).update(message)
            case "job_deleted":
                self.jobs.pop(message["jobId"], None)
            case "new_proposal" | "proposal_update":
                self.proposals[message["proposalId"]] = message
            case "proposal_deleted":
                self.proposals.pop(message["proposalId"], None)

    @property
    def is_idle(self) -> bool:
        """True when there are jobs and all of them have ended."""
        return bool(self.jobs) and all(job.get("status") in TERMINAL for job in self.jobs.values())


class View(Protocol):
    """Where the state is shown."""

    def message(self, message: dict[str, Any], state: State) -> None: ...
    def note(self, text: str) -> None: ...


class Stream:
    """A project's stream, reconnecting for ever. ``get_token`` is asked at every connect."""

    def __init__(self, url: str, project: str, get_token: Callable[[], Awaitable[str]], view: View) -> None:
        self._url = f"{url.rstrip('/')}/api/projects/{project}/status"
        self._get_token = get_token
        self._view = view
        self._last_id = ""
        self._waits = delays(random.random)

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Messages in order; a snapshot comes first. Raises :class:`WatchError`."""
        async with httpx.AsyncClient(timeout=httpx.Timeout(10.0, read=READ_SECONDS)) as client:
            while True:
                try:
                    async for message in self._one_connection(client):
                        yield message
                        if message["type"] == "stream_end" and not message["reconnect"]:
                            return
                except httpx.HTTPError as error:
                    self._view.note(f"connection lost ({type(error).__name__}), coming back")
                await asyncio.sleep(next(self._waits))

    async def _one_connection(self, client: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {await self._get_token()}"}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        async with httpx_sse.aconnect_sse(
            client, "GET", self._url, params={"snapshot": "1"}, headers=headers
        ) as source:
            if source.response.status_code != httpx.codes.OK:
                await source.response.aread()
                refuse(source.response)
                return
            async for event in source.aiter_sse():
                self._waits = delays(random.random)
                self._last_id = event.id
                if event.data:
                    yield json.loads(event.data)


def refuse(response: httpx.Response) -> None:
    """Raises :class:`WatchError` for an answer that will not change by asking again."""
    if response.status_code in (429, 503):
        return
    try:
        message = response.json()["message"]
    except (ValueError, KeyError, TypeError):
        message = response.text[:200]
    raise WatchError(f"The service refused ({response.status_code}): {message}")


async def watch(stream: Stream, view: View, *, until_done: bool) -> State:
    """Shows the stream until it ends; with ``until_done``, until every job seen has ended after at least one ran."""
    state = State()
    seen_running = False
    async for message in stream.messages():
        state.apply(message)
        view.message(message, state)
        seen_running = seen_running or (not state.is_idle and bool(state.jobs))
        if until_done and seen_running and state.is_idle:
            break
    return state
