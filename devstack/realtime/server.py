"""The stand-in: WebSockets on one side, PostgreSQL on the other.

    async with StandIn(database_url, jwt_secret, publishable_key, secret_key) as stand_in:
        app.add_routes(routes(stand_in))

Contract. Each connection has one reader, which answers frames in order, and one bounded queue of frames to send: a
client that does not read is cut off when its queue is full, and slows nobody. "Subscribed to PostgreSQL" is sent
only when every change committed from then on will be handed to the channel, unless PostgreSQL goes away: then
channels stay joined, what is committed before the stream is back is lost, and nobody is told, as in the real server.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import psycopg
from aiohttp import WSMsgType, hdrs, web

from devstack.realtime.catalog import Catalog, RefusedError
from devstack.realtime.connection import Connection
from devstack.realtime.database import Database
from devstack.realtime.dispatch import Dispatcher
from devstack.realtime.faults import Faults, matches
from devstack.realtime.protocol import VERSIONS, Action, Channel, Message, Subscribe, decode, dumps
from devstack.realtime.replication import Stream
from devstack.realtime.tokens import Keyring, TokenError

logger = logging.getLogger(__name__)

PATHS: Final = ("/realtime/v1/websocket", "/socket/websocket")
KEY_PENALTY: Final = 2.0
"""Seconds before a bad API key is answered."""
IDLE_TIMEOUT: Final = 66.0
"""Seconds without a frame or ping from the client until its socket is closed."""
PUBLICATION_INTERVAL: Final = 60.0
"""Seconds between looks at which tables are published; after a change every channel subscribes anew."""
_MAX_FRAME: Final = 16 * 1024 * 1024
_GOING_AWAY: Final = 1012
_FAREWELL: Final = 0.1
"""Seconds that clients get to answer a close frame when the server stops."""


class StandIn:
    """Serves postgres_changes from one database.

    Args:
        database_url: a role that may replicate and become anon, authenticated and service_role (the superuser).
        jwt_secret: signs API keys and access tokens, HS256.
        publishable_key: the opaque key of the role anon.
        secret_key: the opaque key of the role service_role.
        publication: whose tables can be subscribed to. It must exist.
        time_scale: multiplies the real server's delays: penalties for bad keys and tokens, the pause after a refresh,
            and the waits between looks at a token's end.
        idle_timeout: seconds of a client's silence until its socket is closed.
        publication_interval: seconds between looks at which tables are published.
        clock: seconds since 1970, what tokens are measured by.
        faults: what goes wrong on purpose; control.py lets clients say what.
    """

    def __init__(
        self,
        database_url: str,
        jwt_secret: str,
        publishable_key: str,
        secret_key: str,
        *,
        publication: str = "supabase_realtime",
        time_scale: float = 1.0,
        idle_timeout: float = IDLE_TIMEOUT,
        publication_interval: float = PUBLICATION_INTERVAL,
        clock: Callable[[], float] = time.time,
        faults: Faults | None = None,
    ) -> None:
        self.keyring = Keyring(jwt_secret, {publishable_key: "anon", secret_key: "service_role"})
        self.time_scale = time_scale
        self.idle_timeout = idle_timeout
        self.clock = clock
        self.faults = faults
        self._publication = publication
        self._publication_interval = publication_interval
        self._published: frozenset[int] = frozenset()
        # Two, so that joins do not wait for questions about changes, nor changes for joins.
        self._databases = [Database(database_url), Database(database_url)]
        self._joins = Catalog(self._databases[0], publication)
        self.dispatcher = Dispatcher(Catalog(self._databases[1], publication))
        self.stream = Stream(database_url, publication, self.dispatcher.receive, self.dispatcher.forget_stream)
        self.dispatcher.flow = self.stream
        self._tasks: list[asyncio.Task[None]] = []
        self._error: BaseException | None = None
        self._dead = asyncio.Event()
        self._stopping = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.connections: set[Connection] = set()

    async def __aenter__(self) -> Self:
        """Open the replication stream.

        Raises:
            psycopg.OperationalError: PostgreSQL can't be reached.
            ValueError: the publication does not exist.
        """
        if not await self._joins.check_publication():
            await self._close()
            raise ValueError(f"publication: the database has none named {self._publication!r}")
        self._published = await self._joins.published()
        for work in (self.dispatcher.run(), self.stream.run(), self._watch_publication()):
            task = asyncio.create_task(work)
            task.add_done_callback(self.check_ended)
            self._tasks.append(task)
        try:
            await self._live()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _live(self) -> None:
        """Wait until the stream is live; raise what the stand-in died of instead."""
        if not self.stream.live.is_set():
            waits = [asyncio.create_task(event.wait()) for event in (self.stream.live, self._dead)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        if self._error is not None:
            raise self._error

    async def died(self) -> NoReturn:
        """Wait for ever; raise RuntimeError when a part, or what serves a client, has died of a bug, its cause."""
        await self._dead.wait()
        raise RuntimeError(f"the Realtime stand-in died of a bug: {self._error!r}") from self._error

    async def stop_serving(self) -> None:
        """Take no more connections and close those there are, as a real server that is told to stop."""
        self._stopping.set()
        for connection in self.connections:
            connection.end(_GOING_AWAY)
        try:
            await asyncio.wait_for(self._empty.wait(), _FAREWELL)
        except TimeoutError:
            for connection in self.connections:
                connection.abort()

    async def _close(self) -> None:
        for connection in list(self.connections):
            connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for database in self._databases:
            await database.close()

    def check_ended(self, task: asyncio.Task[Any]) -> None:
        """See whether a task that has ended died of a bug. Then every connection is cut.

        The server would go on to accept joins and might stay silent: better to be seen to be dead.
        """
        if not task.cancelled() and (error := task.exception()) and self._error is None:
            logger.critical("the stand-in is dead: %r", error, exc_info=error)
            self._error = error
            self._dead.set()
            for connection in list(self.connections):
                connection.abort()

    def channels(self, pattern: str) -> list[Channel]:
        """The joined channels whose topic fits a fault's pattern."""
        return [
            channel
            for connection in self.connections
            for topic, channel in connection.socket.channels.items()
            if matches(pattern, topic)
        ]

    async def _watch_publication(self) -> None:
        while True:
            await asyncio.sleep(self._publication_interval)
            try:
                await self.check_publication()
            except psycopg.OperationalError as error:
                logger.info("publication not checked: %s", str(error).strip())

    async def check_publication(self) -> None:
        """If other tables are published than before, let every channel subscribe anew."""
        published = await self._joins.published()
        if published != self._published:
            self._published = published
            for connection in self.connections:
                for channel in connection.socket.channels.values():
                    if connection.subscriber(channel) in self.dispatcher:
                        connection.carry_out(connection.socket.subscribe(channel))

    async def subscribe(self, connection: Connection, wanted: Subscribe) -> None:
        """Carry out a join's subscription and tell the client how it went."""
        channel = wanted.channel
        await asyncio.sleep(wanted.delay * self.time_scale)
        while True:
            await self._live()
            try:
                resolved = await self._joins.resolve(wanted.bindings, channel.claims)
            except RefusedError as refused:
                self.unsubscribe(connection, channel)
                connection.carry_out(connection.socket.refused(channel, str(refused)))
                return
            except psycopg.Error as error:
                # PostgreSQL is going away, and the stream will notice; or a table that was just found is gone.
                logger.info("not subscribed yet: %s", str(error).strip())
                await asyncio.sleep(self.time_scale)
                continue
            if self.stream.live.is_set():
                break
        answers = connection.socket.subscribed(channel)
        if answers:
            self.dispatcher.subscribe(connection.subscriber(channel), channel.claims, resolved)
            connection.carry_out(answers)

    def unsubscribe(self, connection: Connection, channel: Channel) -> None:
        self.dispatcher.unsubscribe(connection.subscriber(channel))

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One WebSocket, from its handshake to its end."""
        refusal = self.faults.on_connect(asyncio.get_running_loop().time()) if self.faults is not None else None
        if self._stopping.is_set() or (refusal and refusal.status is None):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        if refusal:
            return web.Response(status=refusal.status or 503)
        version = request.query.get("vsn", "1.0.0")
        if version not in VERSIONS:
            return web.Response(status=403)
        key = request.query.get("apikey") or request.headers.get("apikey") or ""
        try:
            self.keyring.verify_key(key, self.clock())
        except TokenError as error:
            await asyncio.sleep(KEY_PENALTY * self.time_scale)
            return web.json_response({"error": error.on_connect}, status=401, dumps=dumps)
        # As the real server: no compression, and pings are the client's own business.
        websocket = web.WebSocketResponse(compress=False, autoping=False, max_msg_size=_MAX_FRAME, timeout=1.0)
        if not websocket.can_prepare(request):
            return web.Response(status=426, headers={hdrs.UPGRADE: "websocket"}, text="this is a WebSocket")
        await websocket.prepare(request)
        connection = Connection(self, websocket, request, version, key)
        self.connections.add(connection)
        self._empty.clear()
        if self._stopping.is_set():
            connection.abort()
        try:
            await self._read(connection, websocket)
        finally:
            await connection.close()
            self.connections.discard(connection)
            if not self.connections:
                self._empty.set()
        return websocket

    async def _read(self, connection: Connection, websocket: web.WebSocketResponse) -> None:
        while not websocket.closed:
            try:
                frame = await websocket.receive(self.idle_timeout)
            except TimeoutError:
                await websocket.close()
                return
            if frame.type is WSMsgType.PING:
                await websocket.pong(frame.data)
            elif frame.type is WSMsgType.TEXT:
                message = decode(connection.version, frame.data)
                if message is not None:
                    await connection.answer(self._answers(connection, message))
            elif frame.type in {WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR}:
                return

    def _answers(self, connection: Connection, message: Message) -> list[Action]:
        if self.faults is not None and message.event == "phx_join":
            refusal = self.faults.on_join(message.topic, asyncio.get_running_loop().time())
            if refusal:
                return connection.socket.refuse_join(message, refusal.reason, refusal.delay)
        return connection.socket.receive(message, self.clock())


def routes(stand_in: StandIn) -> list[web.RouteDef]:
    """The stand-in's addresses, hosted Supabase's and a bare Realtime server's."""
    return [web.get(path, stand_in.serve) for path in PATHS]
