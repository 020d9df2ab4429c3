"""Who looks on: pages on sockets of their own, cut, paused and resumed at random, at another process each time.

A viewer checks every message against what the contract promises for one stream, and keeps what a page would: its last
event id and the state that the messages make. What it remembers to explain a complaint is bounded.
"""

import asyncio
import json
import random
import socket
import struct
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx

from tests.oracle import project
from tests.oracle.stage import Service, Stage, User
from tests.oracle.verdict import Complaints
from tests.oracle.wire import Answer, Event, Malformed

SILENCE_SECONDS = 15.0
"""Far beyond the keepalive: a connection that is silent for so long is given up, as our own client does."""
CUTS = (700, 1_000, 1_500, 2_500, 5_000, 10_000, 30_000, 1 << 40, 1 << 40, 1 << 40, 1 << 40, 1 << 40)
"""Bytes after which a viewer cuts its connection, mostly in mid-frame, and early: while it is told what it missed."""
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
MAY_REFUSE = {429, 503}
"""Answers that ask a page to come back; any other but 200 would send it away for good."""


@dataclass
class Seen:
    """What all viewers together have been through."""

    connections: int = 0
    deliveries: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    refusals: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Habits:
    """What kind of page it is. ``kinds`` are the rows it asks for with ``?types=``; all where that is None."""

    named: bool
    by_ticket: bool
    kinds: frozenset[str] | None
    since: bool
    receive_buffer: int | None
    token_seconds: float


class Page:
    """What a page has of one key, however it gets it. ``is_calm`` makes it one that stays and reads on."""

    def __init__(
        self, name: str, key: str, user: User, stage: Stage, random_: random.Random, complaints: Complaints, seen: Seen
    ) -> None:
        self.name = name
        self.key = key
        self.state = project.State()
        self.kinds = frozenset(project.SHAPES)
        """The kinds of rows whose changes it is told."""
        self.last: int | None = None
        self.knows_all = False
        """The state holds all up to ``last``: no snapshot is due or half there."""
        self.is_live = False
        self.is_calm = False
        self._user = user
        self._stage = stage
        self._random = random_
        self._complaints = complaints
        self._seen = seen
        self._history: deque[str] = deque(maxlen=24)

    def complain(self, what: str, text: str) -> None:
        self._complaints.add(what, f"{text}\n    {self.name} of {self.key}: {'; '.join(self._history)}")

    def note(self, text: str) -> None:
        """Remembers what would explain a complaint: connections and ids."""
        self._history.append(text)

    def refused(self, status: int) -> None:
        """Notes an HTTP status that is no success, and complains of one that sends a page away for good."""
        self._seen.refusals[status] += 1
        if status not in MAY_REFUSE:
            self.complain("lost", f"sent away with HTTP {status}")


class Viewer(Page):
    """One page that streams."""

    def __init__(
        self, name: str, key: str, user: User, stage: Stage, random_: random.Random, complaints: Complaints, seen: Seen
    ) -> None:
        self._habits = habits(random_)
        super().__init__(f"{name} {self._habits}", key, user, stage, random_, complaints, seen)
        self.kinds = self._habits.kinds or self.kinds
        self._greeted = False
        self._ended = False
        self._part = 0
        self._retry_after = 0.0

    async def run(self) -> None:
        """Looks on until cancelled."""
        while True:
            service = self._random.choice(self._stage.services)
            try:
                await self._connection(service)
            except (OSError, TimeoutError) as error:
                self.note(f"{type(error).__name__}")
            except (Malformed, ValueError, KeyError) as error:
                self.complain("misordered", f"can't be read: {error!r}")
            away = 0.2 if self.is_calm else self._random.choice((0.0, 0.1, 0.3, 1.0, 3.0))
            await asyncio.sleep(away * (0.5 + self._random.random()) + self._retry_after)
            self._retry_after = 0.0

    # One connection

    async def _connection(self, service: Service) -> None:
        loop = asyncio.get_running_loop()
        self._greeted = self._ended = False
        self._part = 0
        if not self.is_calm and self._random.random() < 0.03:  # a page that is opened anew
            self.state, self.last = project.State(), None
        self.knows_all = self.last is not None  # a reset whose snapshot was cut has changed nothing
        self.note(f"to {service.name} at {self.last}")
        self._seen.connections += 1
        answer = Answer()
        with closing(socket.socket()) as connection:
            connection.setblocking(False)
            if self._habits.receive_buffer is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._habits.receive_buffer)
            async with asyncio.timeout(5):
                request = self._request(service, await self._credential())
                await loop.sock_connect(connection, ("127.0.0.1", service.port))
                await loop.sock_sendall(connection, request)
            until = loop.time() + self._random.expovariate(1 / 6)
            left = self._random.choice(CUTS)
            while self.is_calm or (loop.time() < until and left > 0):
                async with asyncio.timeout(SILENCE_SECONDS):
                    size = 65536 if self.is_calm else min(left, self._random.choice((500, 5_000, 65_536)))
                    data = await loop.sock_recv(connection, size)
                left -= len(data)
                for event in answer.feed(data):
                    self._take(event)
                if not data or answer.is_whole or answer.status not in (None, 200):
                    break
                if not self.is_calm and self._random.random() < 0.01:
                    await asyncio.sleep(self._random.choice((0.05, 0.3, 2.0, 5.0)))
            self._judge_end(answer)
            if self._random.random() < 0.5:
                with suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    async def _credential(self) -> tuple[str, str]:
        """Its access token, or a ticket that some process gave for it. Raises OSError when none does."""
        token = self._user.token(self._habits.token_seconds)
        if not self._habits.by_ticket:
            return "token", token
        service = self._random.choice(self._stage.services)
        url = f"{service.url}{project.tickets_path(self.key)}"
        try:
            answer = await self._stage.http.post(url, headers={"Authorization": f"Bearer {token}"})
        except httpx.HTTPError as error:
            raise ConnectionError(f"no ticket: {error!r}") from error
        if answer.status_code != httpx.codes.CREATED:
            self.refused(answer.status_code)
            raise ConnectionError(f"no ticket: HTTP {answer.status_code}")
        return "ticket", answer.json()["ticket"]

    def _request(self, service: Service, credential: tuple[str, str]) -> bytes:
        query = {"snapshot": "1"}
        headers = {"Host": f"127.0.0.1:{service.port}", "Accept": "text/event-stream"}
        kind, secret = credential
        if self._habits.named:
            query["events"] = "named"
        if self._habits.named or kind == "ticket":
            query[kind] = secret
        else:
            headers["Authorization"] = f"Bearer {secret}"
        if self._habits.kinds is not None:
            query["types"] = ",".join(type_ for type_, kind in project.KINDS_OF_TYPES.items() if kind in self.kinds)
        if self.last is not None and self._habits.since:
            query["since"] = str(self.last)
        elif self.last is not None:
            headers["Last-Event-ID"] = str(self.last)
        lines = [f"GET {project.stream_path(self.key)}?{urlencode(query)} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    def _judge_end(self, answer: Answer) -> None:
        status = answer.status
        if status not in (None, 200):
            self._retry_after = 0.0 if self.is_calm else float(answer.headers.get("retry-after", "0"))
            self.refused(status)
        elif answer.is_whole and not self._ended:
            self.complain("misordered", "the stream ended without stream_end")

    # One event

    def _take(self, event: Event) -> None:
        message: Mapping[str, Any] | None = json.loads(event.data) if event.data else None
        type_ = message["type"] if message else ""
        if event.name != (type_ if self._habits.named and message else "message"):
            self.complain("misordered", f"{type_} is named {event.name}")
        if self._ended:
            self.complain("misordered", f"{type_} after stream_end")
        if not self._greeted and type_ != "connected" and type_ != "error":
            self.complain("misordered", f"{type_} comes before connected")
        if message is not None:
            self._apply(type_, message, event.id)
        if event.id is not None:
            self._identify(type_, event.id)

    def _apply(self, type_: str, message: Mapping[str, Any], id_: str | None) -> None:
        match type_:
            case "connected":
                self._greet(message)
            case "live":
                self.is_live = message["live"]
            case "reauth":
                self.note(f"the token expires at {message['expiresAt']}")
            case "reset":
                self.note(f"reset: {message['reason']}")
                self.knows_all = False
                self._part = 0
            case "error":
                self._seen.endings[message["code"]] += 1
                self._greeted = True
                if message["code"] != "upstream_unavailable":
                    self.complain("lost", f"the service failed: {message}")
            case "stream_end":
                self.note(f"ended: {message['reason']}")
                self._seen.endings[message["reason"]] += 1
                self._ended = True
                if not message["reconnect"]:
                    self.complain("lost", f"told not to come back: {message}")
            case "snapshot":
                self._snapshot(message, id_)
            case _:
                self._seen.deliveries += 1
                if not self.knows_all:
                    self.complain("misordered", f"{type_} before the snapshot")
                if self._habits.kinds is not None and project.KINDS_OF_TYPES[type_] not in self.kinds:
                    self.complain("misordered", f"{type_}, which was not asked for")
                self.state.apply(message)

    def _greet(self, message: Mapping[str, Any]) -> None:
        if self._greeted:
            self.complain("misordered", "connected comes twice")
        self._greeted = True
        self.is_live = message["live"]
        resumed = self.last is not None
        if message["resumed"] is not resumed or (resumed and message["revision"] != self.last):
            self.complain("misordered", f"came back with {self.last}, greeted with {message}")

    def _snapshot(self, message: Mapping[str, Any], id_: str | None) -> None:
        if self.knows_all:
            self.complain("misordered", "a snapshot that nobody asked for")
        self._part += 1
        if message["part"] != self._part or (id_ is not None) is not message["last"]:
            self.complain("misordered", f"part {message['part']} of a snapshot, with id {id_}, after {self._part - 1}")
        self._seen.deliveries += 1
        self.state.apply(message)
        if message["last"]:
            self.last, self.knows_all, self._part = None, True, 0  # its id is where to go on from, whatever was before

    def _identify(self, type_: str, id_: str) -> None:
        """Ids only grow; `connected` repeats the one that the viewer came with."""
        id_now = int(id_)
        if type_ == "connected":
            if id_now != self.last:
                self.complain("misordered", f"came back with {self.last}, got {id_now}")
        elif self.last is not None and id_now <= self.last:
            self.complain("misordered", f"{type_} with id {id_now} after {self.last}")
        if type_ != "connected":
            self.note(f"{type_ or 'keepalive'} {id_now}")
        self.last = id_now


def habits(random_: random.Random) -> Habits:
    kinds = None
    if random_.random() < 0.25:
        kinds = random_.choice((frozenset({"proposals"}), frozenset({"sources"}), frozenset({"jobs", "progress"})))
    return Habits(
        named=random_.random() < 0.25,
        by_ticket=random_.random() < 0.2,
        kinds=kinds,
        since=random_.random() < 0.3,
        receive_buffer=random_.choice((None, None, None, 4096)),
        token_seconds=random_.choice((3600.0, 3600.0, 20.0)),
    )
