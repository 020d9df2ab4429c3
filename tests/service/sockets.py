"""A client of the WebSocket, over a real socket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.service.conftest import Project

PROTOCOL = Subprotocol("rowcast.v1")


@dataclass
class Socket:
    """Messages in the order in which they came."""

    connection: ClientConnection
    messages: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self, op: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"op": op, **fields}))

    async def next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.connection.recv())
        self.messages.append(message)
        return message

    async def until(self, type_: str, **fields: Any) -> dict[str, Any]:
        while True:
            message = await self.next()
            if message["type"] == type_ and all(message.get(name) == value for name, value in fields.items()):
                return message

    async def authenticated(self, token: str) -> dict[str, Any]:
        await self.ask("auth", token=token)
        return await self.until("authenticated")

    async def subscribed(self, project: Project, **fields: Any) -> dict[str, Any]:
        await self.ask("subscribe", projectId=project.id, **fields)
        return await self.until("connected", projectId=project.id)

    def cut(self) -> None:
        """Goes without a word."""
        self.connection.transport.abort()

    def of(self, project: Project) -> list[str]:
        """The types of what was told of a project."""
        return [message["type"] for message in self.messages if message.get("projectId") == project.id]


def address(service: str) -> str:
    return f"ws{service.removeprefix('http')}/api/ws"


@asynccontextmanager
async def socket(service: str, token: str | None = None, query: str = "", **options: Any) -> AsyncIterator[Socket]:
    """An open connection, that has said who it is when there is a token."""
    async with connect(address(service) + query, subprotocols=[PROTOCOL], **options) as connection:
        made = Socket(connection)
        if token is not None:
            await made.authenticated(token)
        yield made
