"""``rowcast watch``: live state in a terminal, from the service's own stream: a project's; watch_bom has a BOM's.

It does what any page should: reduces messages to a state, remembers the last event id, and comes back by itself.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import httpx
import httpx_sse

from service.addresses import base_address
from service.backoff import delays
from service.errors import RowcastServiceError

READ_SECONDS = 60.0
"""Longer than the service's keepalive: silence beyond it means a dead connection."""
RETRY_LIMIT_SECONDS = 300.0
"""The longest that a Retry-After is waited for."""
TERMINAL = frozenset({"completed", "failed", "stopped"})

Rows = dict[str, dict[str, Any]]


class WatchError(RowcastServiceError):
    """Watching can't go on; trying again would not help."""


class _Busy(Exception):
    """The service asks to come back later, in ``seconds`` at the earliest."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(why)
        self.seconds = seconds


class _Over(Exception):
    """There is nothing more to tell."""


@dataclass
class State:
    """The reduced state: rows by id, as the wire tells them."""

    sources: Rows = field(default_factory=dict)
    jobs: Rows = field(default_factory=dict)
    proposals: Rows = field(default_factory=dict)
    live: bool = False
    _arriving: tuple[Rows, Rows, Rows] = field(default_factory=lambda: ({}, {}, {}), repr=False, compare=False)

    def apply(self, message: dict[str, Any]) -> None:
        """Takes one message of the project feed in; a type it does not know changes nothing."""
        match message["type"]:
            case "connected" | "live":
                self.live = message["live"]
            case "snapshot":
                self._snapshot(message)
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

    def _snapshot(self, message: dict[str, Any]) -> None:
        """Replaces everything once the last part is there: the state is never half a snapshot."""
        if message["part"] == 1:
            self._arriving = {}, {}, {}
        sources, jobs, proposals = self._arriving
        sources |= {row["sourceId"]: row for row in message["sources"]}
        jobs |= {row["jobId"]: row for row in message["jobs"]}
        proposals |= {row["proposalId"]: row for row in message["proposals"]}
        if message["last"]:
            self.sources, self.jobs, self.proposals = self._arriving

    def have_ended(self, jobs: Iterable[str]) -> bool:
        """True when none of these jobs has yet to end; one that was deleted has."""
        return all(job not in self.jobs or self.jobs[job].get("status") in TERMINAL for job in jobs)


class View(Protocol):
    """Where the state is shown."""

    def message(self, message: dict[str, Any], state: Any) -> None: ...
    def note(self, text: str) -> None: ...


class Stream:
    """The stream at ``path``, reconnecting until it has ended. ``get_token`` is asked at every connect.

    Raises :class:`WatchError` when ``url`` is no address.
    """

    def __init__(
        self,
        url: str,
        path: str,
        get_token: Callable[[], Awaitable[str]],
        view: View,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        try:
            self._url = f"{base_address(url)}{path}"
        except ValueError as error:
            raise WatchError(f"The service's address {error}, not {url!r}.") from None
        self._get_token = get_token
        self._view = view
        self._sleep = sleep
        self._last_id = ""
        self._waits = delays(random.random)

    async def messages(self) -> AsyncGenerator[dict[str, Any], None]:
        """Messages in order; a snapshot comes first. Each has its ``type``, as named events have it in their name.

        They end when what is watched has ended. Raises :class:`WatchError`, after any other stream_end that allows no
        return too, and what ``get_token`` raises but for httpx.HTTPError.
        """
        async with httpx.AsyncClient(timeout=httpx.Timeout(10.0, read=READ_SECONDS)) as client:
            while True:
                asked_to_wait = 0.0
                try:
                    async with aclosing(self._one_connection(client)) as messages:
                        async for message in messages:
                            yield message
                            if message["type"] == "stream_end":
                                if has_ended(message):
                                    return
                                if not message["reconnect"]:
                                    raise WatchError(f"The service ended the stream: {message['reason']}.")
                                break
                except _Over:
                    return
                except _Busy as busy:
                    self._view.note(f"{busy}, trying again")
                    asked_to_wait = busy.seconds
                except httpx.HTTPError as error:
                    self._view.note(f"no connection ({_reason(error)}), trying again")
                await self._sleep(max(asked_to_wait, next(self._waits)))

    async def _one_connection(self, client: httpx.AsyncClient) -> AsyncGenerator[dict[str, Any], None]:
        headers = {"Authorization": f"Bearer {await self._get_token()}"}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        async with httpx_sse.aconnect_sse(
            client, "GET", self._url, params={"snapshot": "1"}, headers=headers
        ) as source:
            if source.response.status_code != httpx.codes.OK:
                await source.response.aread()
                _refuse(source.response)
            self._waits = delays(random.random)
            try:
                async with aclosing(source.aiter_sse()) as events:
                    async for event in events:
                        if event.retry is not None:
                            self._waits = delays(random.random, max(event.retry, 200) / 1000)
                        # A connection's first events may have none: what an earlier connection brought still holds.
                        self._last_id = event.id or self._last_id
                        if event.data:
                            yield {"type": event.event, **json.loads(event.data)}
            except (httpx_sse.SSEError, json.JSONDecodeError) as error:
                raise WatchError(f"{self._url} is no stream of rowcast's: {error}") from None


def has_ended(message: dict[str, Any]) -> bool:
    """Whether a stream_end says that what was streamed has come to its own end."""
    return not message["reconnect"] and message["reason"].startswith(("completed", "enrichment."))


def _refuse(response: httpx.Response) -> NoReturn:
    """Raises :class:`_Over` for an end that is known already, :class:`_Busy` for an answer that may change by asking
    again, else :class:`WatchError`."""
    if response.status_code == httpx.codes.NO_CONTENT:
        raise _Over
    try:
        message = response.json()["message"]
    except (ValueError, KeyError, TypeError):
        message = response.text[:200] or response.reason_phrase
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        told = response.headers.get("Retry-After", "")
        seconds = float(told) if told.isascii() and told.isdigit() else 0.0
        raise _Busy(f"the service answers {response.status_code}: {message}", min(seconds, RETRY_LIMIT_SECONDS))
    raise WatchError(f"The service refused ({response.status_code}): {message}")


async def watch(stream: Stream, view: View, *, until_done: bool) -> State:
    """Shows the stream for ever; with ``until_done``, until every job that anything happened to has ended.

    A job that was there before and of which nothing is heard, queued or left by a worker that died, is not waited for.

    Raises what :meth:`Stream.messages` raises.
    """
    state = State()
    heard_of: set[str] = set()
    async with aclosing(stream.messages()) as messages:
        async for message in messages:
            state.apply(message)
            view.message(message, state)
            if "jobId" in message and message["type"] in ("progress_update", "job_update", "job_deleted"):
                heard_of.add(message["jobId"])
            if until_done and heard_of and state.have_ended(heard_of):
                break
    return state


def _reason(error: httpx.HTTPError) -> str:
    """What went wrong, and with whom, as far as the error knows."""
    why = str(error).partition("\n")[0] or type(error).__name__
    try:
        return f"{error.request.url.netloc.decode()}: {why}"
    except RuntimeError:  # httpx's way to say that it does not
        return why
