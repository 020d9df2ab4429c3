"""Pages that stream: on sockets of their own, cut, paused and resumed at random, at another process each time.

What holds for every stream is checked here: connected comes first, ids grow, nothing follows stream_end, a reset is
followed by a snapshot. What the messages mean is a feed's: a class of its own takes them.
"""

import asyncio
import json
import random
import socket
import struct
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from tests.oracle.pages import Page, Seen
from tests.oracle.stage import Service, Stage, User
from tests.oracle.verdict import Complaints
from tests.oracle.wire import Answer, Event, Malformed

SILENCE_SECONDS = 15.0
"""Far beyond the keepalive: a connection that is silent for so long is given up, as our own client does."""
CUTS = (700, 1_000, 1_500, 2_500, 5_000, 10_000, 30_000, 1 << 40, 1 << 40, 1 << 40, 1 << 40, 1 << 40)
"""Bytes after which a page cuts its connection, mostly in mid-frame, and early: while it is told what it missed."""
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Habits:
    """How a page comes back, and how it reads."""

    by_ticket: bool
    since: bool
    receive_buffer: int | None
    token_seconds: float


def habits(random_: random.Random) -> Habits:
    return Habits(
        by_ticket=random_.random() < 0.2,
        since=random_.random() < 0.3,
        receive_buffer=random_.choice((None, None, None, 4096)),
        token_seconds=random_.choice((3600.0, 3600.0, 20.0)),
    )


class Connected(Page):
    """One page and its connections. Who derives from it says where to, and takes the events."""

    path: str
    tickets_path: str
    query: Mapping[str, str]
    """What it asks for beside a snapshot."""
    is_named: bool
    """Whether its events are named by their type."""

    def __init__(
        self, name: str, key: str, user: User, stage: Stage, random_: random.Random, complaints: Complaints, seen: Seen
    ) -> None:
        self._habits = habits(random_)
        super().__init__(f"{name} {self._habits}", key, user, stage, random_, complaints, seen)
        self._ended = False
        self._retry_after = 0.0

    @abstractmethod
    def begin(self) -> None:
        """A connection begins, with what it has."""

    @abstractmethod
    def forget(self) -> None:
        """It is opened anew: what it has is gone."""

    @abstractmethod
    def take(self, event: Event) -> None:
        """Raises KeyError and ValueError for a message that the contract does not have."""

    async def run(self) -> None:
        while not self.is_done:
            service = self._random.choice(self._stage.services)
            try:
                await self._connection(service)
            except (OSError, TimeoutError) as error:
                self.note(type(error).__name__)
            except (Malformed, ValueError, KeyError) as error:
                self.complain("misordered", f"can't be read: {error!r}")
            away = 0.2 if self.is_calm else self._random.choice((0.0, 0.1, 0.3, 1.0, 3.0))
            await asyncio.sleep(away * (0.5 + self._random.random()) + self._retry_after)
            self._retry_after = 0.0

    # One connection

    async def _connection(self, service: Service) -> None:
        loop = asyncio.get_running_loop()
        if not self.is_calm and self._random.random() < 0.03:
            self.last = None
            self.forget()
        self.begin()
        self.note(f"to {service.name} at {self.last}")
        self._seen.connections += 1
        answer = Answer()
        with closing(socket.socket()) as connection:
            connection.setblocking(False)
            if self._habits.receive_buffer is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._habits.receive_buffer)
            async with asyncio.timeout(5):
                request = self._request(service, *await self._credential())
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
                    self.take(event)
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
        headers = {"Authorization": f"Bearer {token}"}
        try:
            answer = await self._stage.http.post(f"{service.url}{self.tickets_path}", headers=headers)
        except httpx.HTTPError as error:
            raise ConnectionError(f"no ticket: {error!r}") from error
        if answer.status_code != httpx.codes.CREATED:
            self.refused(answer.status_code)
            raise ConnectionError(f"no ticket: HTTP {answer.status_code}")
        return "ticket", answer.json()["ticket"]

    def _request(self, service: Service, kind: str, secret: str) -> bytes:
        query = {"snapshot": "1", **self.query}
        headers = {"Host": f"127.0.0.1:{service.port}", "Accept": "text/event-stream"}
        if self.is_named or kind == "ticket":
            query[kind] = secret
        else:
            headers["Authorization"] = f"Bearer {secret}"
        if self.last is not None and self._habits.since:
            query["since"] = str(self.last)
        elif self.last is not None:
            headers["Last-Event-ID"] = str(self.last)
        lines = [f"GET {self.path}?{urlencode(query)} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    def _judge_end(self, answer: Answer) -> None:
        if answer.status == httpx.codes.NO_CONTENT:
            self.nothing_more()
        elif answer.status not in (None, 200):
            self._retry_after = 0.0 if self.is_calm else float(answer.headers.get("retry-after", "0"))
            self.refused(answer.status)
        elif answer.is_whole and not self._ended:
            self.complain("misordered", "the stream ended without stream_end")

    def nothing_more(self) -> None:
        """It was answered 204: it has all, and nothing will follow."""
        self.refused(204)


class Stream(Connected):
    """One page that streams one key. A feed's own class says where, and takes the messages."""

    _greeted = False

    @abstractmethod
    def greet(self, message: Message) -> None:
        """Takes ``connected``."""

    @abstractmethod
    def snapshot(self, message: Message, *, carries_id: bool) -> bool:
        """Takes a (part of a) snapshot; returns whether it is whole now."""

    @abstractmethod
    def news(self, type_: str, message: Message, id_: int | None) -> None:
        """Takes a message of the feed's own. Raises KeyError for a type or a field that the contract does not have."""

    def begin(self) -> None:
        self._greeted = self._ended = False
        self.knows_all = self.last is not None  # a reset whose snapshot was cut has changed nothing

    # One event

    def take(self, event: Event) -> None:
        message: Message | None = json.loads(event.data) if event.data else None
        type_ = "" if message is None else message.get("type") or message["event_type"]
        id_ = None if event.id is None else int(event.id)
        if event.name != (type_ if self.is_named and message else "message"):
            self.complain("misordered", f"{type_} is named {event.name}")
        if self._ended:
            self.complain("misordered", f"{type_} after stream_end")
        if not self._greeted and type_ not in ("connected", "error"):
            self.complain("misordered", f"{type_} comes before connected")
        if message is not None:
            self._apply(type_, message, id_)
        if id_ is not None:
            self._identify(type_, id_)

    def _apply(self, type_: str, message: Message, id_: int | None) -> None:
        match type_:
            case "connected":
                if self._greeted:
                    self.complain("misordered", "connected comes twice")
                self._greeted = True
                self.greet(message)
            case "live":
                self.is_live = message["live"]
            case "reauth":
                self.note(f"the token expires at {message['expiresAt']}")
            case "reset":
                self.note(f"reset: {message['reason']}")
                self.knows_all = False
            case "error":
                self._seen.endings[message["code"]] += 1
                self._greeted = True
                if message["code"] != "upstream_unavailable":
                    self.complain("lost", f"the service failed: {message}")
            case "stream_end":
                self.note(f"ended: {message['reason']}")
                self._seen.endings[message["reason"]] += 1
                self._ended = True
                self.end(message)
            case "snapshot":
                self._seen.deliveries += 1
                if self.knows_all:
                    self.complain("misordered", "a snapshot that nobody asked for")
                if self.snapshot(message, carries_id=id_ is not None):
                    self.last, self.knows_all = None, True  # its id is where to go on from, whatever was before
            case _:
                self._seen.deliveries += 1
                if not self.knows_all:
                    self.complain("misordered", f"{type_} before the snapshot")
                self.news(type_, message, id_)

    def end(self, message: Message) -> None:
        """Takes ``stream_end``."""
        if not message["reconnect"]:
            self.complain("lost", f"told not to come back: {message}")

    def _identify(self, type_: str, id_: int) -> None:
        """Ids only grow; `connected` repeats the one that the page came with."""
        if type_ == "connected":
            if id_ != self.last:
                self.complain("misordered", f"came back with {self.last}, got {id_}")
        elif self.last is not None and id_ <= self.last:
            self.complain("misordered", f"{type_} with id {id_} after {self.last}")
        if type_ != "connected":
            self.note(f"{type_ or 'keepalive'} {id_}")
        self.last = id_
