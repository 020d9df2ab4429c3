"""Pages that watch several projects on one connection: a stream whose ids are joined, and a WebSocket.

Each project's messages go to a viewer as of a stream of its own, with the ids that they would carry there; so all that
holds for one is asked of each. What is left to look at here is whose a message is and where all of them stand.
"""

import asyncio
import json
import random
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from tests.oracle.pages import Page, Seen
from tests.oracle.stage import Service, Stage, User
from tests.oracle.streams import SILENCE_SECONDS, Connected
from tests.oracle.truth import Truth
from tests.oracle.verdict import Complaints
from tests.oracle.viewers import Viewer
from tests.oracle.wire import Event

PROJECTS = 3
MAY_BE_REFUSED = {"too_many_streams", "upstream_unavailable", "rate_limited"}
CUTS = (1, 3, 5, 10, 20, 50, 200, 1 << 30, 1 << 30, 1 << 30)
"""Messages after which a WebSocket is cut."""


class Part(Viewer):
    """One project of a page that watches several."""

    def tell(self, message: dict[str, Any] | None, id_: int | None, *, named: bool = False) -> None:
        """A message without what it has because there are several; None for an id alone."""
        name = message["type"] if named and message else "message"
        self.take(Event(name, json.dumps(message) if message else "", None if id_ is None else str(id_)))

    def advance(self, revision: int) -> None:
        """It is told up to here; nothing that it wants may be on the way."""
        if self.last is None or revision < self.last:
            self.complain("misordered", f"told to be at {revision}, is at {self.last}")
        elif revision > self.last:
            self.tell(None, revision)


def parts(
    name: str, key: str, user: User, stage: Stage, random_: random.Random, complaints: Complaints, seen: Seen
) -> dict[str, Part]:
    """Viewers of the project and some others, in any order, that all ask for the same."""
    others = random_.sample([other for other in stage.projects if other != key], PROJECTS - 1)
    keys = random_.sample([key, *others], PROJECTS)
    found = {each: Part(f"{name} part", each, user, stage, random_, complaints, seen) for each in keys}
    first = found[keys[0]]
    for part in found.values():
        part.is_named, part.kinds, part.query = first.is_named, first.kinds, first.query
    return found


class SeveralViewer(Connected):
    """A stream of several projects."""

    path = "/api/status"

    def __init__(
        self, name: str, key: str, user: User, stage: Stage, random_: random.Random, complaints: Complaints, seen: Seen
    ) -> None:
        super().__init__(name, key, user, stage, random_, complaints, seen)
        self.parts = parts(self.name, key, user, stage, random_, complaints, seen)
        first = self.parts[next(iter(self.parts))]
        self.is_named = first.is_named
        keys = ",".join(self.parts)
        self.query = {**first.query, "projects": keys}
        self.tickets_path = f"/api/stream-tickets?projects={keys}"

    def begin(self) -> None:
        self._ended = False
        if self.last is None:
            self.forget()
        for part in self.parts.values():
            part.begin()

    def forget(self) -> None:
        for part in self.parts.values():
            part.last = None
            part.forget()

    def take(self, event: Event) -> None:
        message: dict[str, Any] | None = json.loads(event.data) if event.data else None
        ids: dict[str, int] = {}
        if event.id is not None:
            ids = dict(zip(self.parts, map(int, event.id.split(".")), strict=True))
            self.last = event.id
        if self._ended:
            self.complain("misordered", f"{event} after stream_end")
        key = None if message is None else message.get("projectId")
        if key is not None and message is not None:
            told = message if message["type"] == "connected" else _without(message, "projectId")
            # as long as not all are there no id is told, and one that is begins with its snapshot
            own = message["revision"] if message["type"] == "snapshot" and message["last"] else None
            self.parts[key].tell(told, ids.get(key, own), named=self.is_named)
        elif message is not None:
            self._whole(message)
        for other, revision in ids.items():
            if other != key:
                self.parts[other].advance(revision)

    def _whole(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "reauth":
                self.note(f"the token expires at {message['expiresAt']}")
            case "stream_end":
                self.note(f"ended: {message['reason']}")
                self._seen.endings[message["reason"]] += 1
                self._ended = True
                if not message["reconnect"]:
                    self.complain("lost", f"told not to come back: {message}")
            case _:
                self.complain("misordered", f"{message} is nobody's")

    def lacks(self, truth: Truth) -> list[str]:
        return [text for part in self.parts.values() for text in part.lacks(truth)]


class SocketViewer(Page):
    """A WebSocket, whose subscriptions and tokens change while it is open."""

    def __init__(
        self, name: str, key: str, user: User, stage: Stage, random_: random.Random, complaints: Complaints, seen: Seen
    ) -> None:
        super().__init__(name, key, user, stage, random_, complaints, seen)
        self.parts = parts(name, key, user, stage, random_, complaints, seen)
        for part in self.parts.values():
            part.is_named = False
        self._token_seconds = random_.choice((3600.0, 20.0))
        self._leaving: set[str] = set()
        self._ended = False
        self._said: str | bytes = b""

    async def run(self) -> None:
        while True:
            try:
                await self._connection(self._random.choice(self._stage.services))
            except InvalidStatus as error:
                self.refused(error.response.status_code)
            except (OSError, TimeoutError, WebSocketException) as error:
                self.note(repr(error))
            except (ValueError, KeyError) as error:
                self.complain("misordered", f"can't be read: {error!r} in {self._said}")
            away = 0.2 if self.is_calm else self._random.choice((0.0, 0.1, 0.3, 1.0, 3.0))
            await asyncio.sleep(away * (0.5 + self._random.random()))

    async def _connection(self, service: Service) -> None:
        self._seen.connections += 1
        self._leaving = set()
        self._ended = False
        address = service.url.replace("http", "ws", 1)
        connection = await connect(
            f"{address}/api/ws", subprotocols=["rowcast.v1"], open_timeout=5, ping_interval=None, max_size=None
        )
        try:
            await self._authenticate(connection)
            for part in self.parts.values():
                await self._subscribe(connection, part)
            until = asyncio.get_running_loop().time() + self._random.expovariate(1 / 6)
            left = self._random.choice(CUTS)
            while not self._ended and (self.is_calm or (asyncio.get_running_loop().time() < until and left > 0)):
                async with asyncio.timeout(SILENCE_SECONDS):
                    self._said = await connection.recv()
                if not await self._answer(connection, json.loads(self._said)):
                    return
                left -= 1
                if not self.is_calm and self._random.random() < 0.02:
                    await self._change(connection)
        finally:
            connection.transport.abort()

    async def _authenticate(self, connection: ClientConnection) -> None:
        seconds = 3600.0 if self.is_calm else self._token_seconds
        await connection.send(json.dumps({"op": "auth", "token": self._user.token(seconds)}))

    async def _subscribe(self, connection: ClientConnection, part: Part) -> None:
        if not self.is_calm and self._random.random() < 0.03:
            part.last = None
        if part.last is None:
            part.forget()
        part.begin()
        asked: dict[str, Any] = {"op": "subscribe", "projectId": part.key, "snapshot": True}
        if part.last is not None:
            asked["since"] = part.last
        if "types" in part.query:
            asked["types"] = part.query["types"].split(",")
        await connection.send(json.dumps(asked))

    async def _change(self, connection: ClientConnection) -> None:
        """What a page may do at any time."""
        match self._random.choice(("token", "project", "pause")):
            case "token":
                await self._authenticate(connection)
            case "project":
                key = self._random.choice(list(self.parts))
                if key not in self._leaving:
                    self._leaving.add(key)
                    await connection.send(json.dumps({"op": "unsubscribe", "projectId": key}))
            case "pause":
                await asyncio.sleep(self._random.choice((0.05, 0.3, 2.0)))

    async def _answer(self, connection: ClientConnection, message: dict[str, Any]) -> bool:
        """Takes a message; returns whether to go on."""
        key = message.get("projectId")
        match message["type"]:
            case "error" if "op" in message:
                self.note(f"refused: {message}")
                # what was to end may have been refused before: the two crossed on their way
                if message["op"] != "unsubscribe" and message["code"] not in MAY_BE_REFUSED:
                    self.complain("lost", f"refused for good: {message}")
                return False
            case "error" if message["code"] == "missing_token":
                self.note("who it is was heard too late")
            case "unsubscribed":
                self._leaving.remove(key)
                await self._subscribe(connection, self.parts[key])
            case "reauth" if self.is_calm or self._random.random() < 0.5:
                await self._authenticate(connection)
            case "authenticated" | "reauth":
                self.note(str(message))
            case "keepalive":
                self.parts[key].advance(message["revision"])
            case "stream_end" if key is None:
                self._seen.endings[message["reason"]] += 1
                self._ended = True
                if not message["reconnect"]:
                    self.complain("lost", f"told not to come back: {message}")
            case type_:
                self._tell(self.parts[key], type_, message)
        return True

    def _tell(self, part: Part, type_: str, message: dict[str, Any]) -> None:
        """With the id that it would have on a stream, which the ``revision`` stands for."""
        if type_ == "connected":
            part.tell(message, message["revision"] if message["resumed"] else None)
        elif type_ == "snapshot":
            part.tell(_without(message, "projectId"), message["revision"] if message["last"] else None)
        else:
            revision = message.get("revision")
            if revision is not None and part.last is not None and revision < part.last:
                self.complain("misordered", f"{type_} says {revision} after {part.last}")
            is_new = revision is not None and part.last is not None and revision > part.last
            part.tell(_without(message, "projectId", "revision"), revision if is_new else None)

    def lacks(self, truth: Truth) -> list[str]:
        return [text for part in self.parts.values() for text in part.lacks(truth)]


def _without(message: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name not in names}
