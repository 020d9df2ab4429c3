"""One generation of Supabase Realtime: a client object and its channels, from connect until anything odd happens.

The `realtime` client (2.34) gives up silently, dies of an exception in a callback, and takes SUBSCRIBED for readiness.
So nothing is asked of it but to carry frames: it never reconnects by itself, its callbacks only note what they hear,
and whatever is not as it should be ends the generation. ``listener`` then makes a new one.

Readiness is the system message "Subscribed to PostgreSQL". Each repeat of it means that the server has subscribed anew
and may have lost changes in between.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple, Protocol

from realtime import (
    AsyncRealtimeChannel,
    AsyncRealtimeClient,
    RealtimePostgresChangesListenEvent,
    RealtimeSubscribeStates,
)

from service.changes.change import FeedKey

READY_SECONDS = 15.0
CONNECT_SECONDS = 10
CLOSE_SECONDS = 5.0
CHANNELS_PER_SOCKET = 100

logger = logging.getLogger(__name__)


class Binding(NamedTuple):
    """The rows of a table that a key's channel tells of: ``events`` of those whose ``column`` is the key."""

    table: str
    column: str
    events: RealtimePostgresChangesListenEvent


LOG = (Binding("feed_changes", "key", RealtimePostgresChangesListenEvent.Insert),)


class Generation(Protocol):
    """What the listener needs of a generation; tests bring their own."""

    async def open(self) -> None: ...
    def join(self, key: FeedKey) -> None: ...
    def leave(self, key: FeedKey) -> None: ...
    def end(self, reason: str) -> None: ...
    async def ended(self) -> str: ...
    async def close(self) -> None: ...


class Hearing(Protocol):
    """Who is told what a generation hears. None of these may raise or block."""

    def ready(self, key: FeedKey) -> None: ...
    def record(self, key: FeedKey, record: Mapping[str, Any] | None) -> None: ...


class RealtimeGeneration:
    """A generation on the PyPI client ``realtime``. ``hearing`` is told of readiness and records, by key.

    A channel tells of all ``bindings`` or, where one of them is wrong, of none.
    """

    def __init__(self, supabase_url: str, api_key: str, hearing: Hearing, bindings: Sequence[Binding] = LOG) -> None:
        self._bindings = bindings
        self._client = AsyncRealtimeClient(
            f"{supabase_url}/realtime/v1", api_key, auto_reconnect=False, timeout=CONNECT_SECONDS
        )
        self._hearing = hearing
        self._channels: dict[FeedKey, AsyncRealtimeChannel] = {}
        self._numbers = count(1)
        self._deadlines: dict[FeedKey, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connects. Raises whatever the network or the server has against it."""
        await self._client.connect()

    async def ended(self) -> str:
        """Returns, once the generation can't go on, why."""
        return await asyncio.shield(self._ended)

    def end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)

    def join(self, key: FeedKey) -> None:
        """Opens the key's channel; ``hearing.ready`` follows, or the generation ends."""
        # A name of its own each time: client and server know channels by it alone, so what is still said about one just
        # left, its farewell above all, would be taken for its successor's.
        channel = self._client.channel(f"rowcast:{key.feed}:{key.key}:{next(self._numbers)}")
        for binding in self._bindings:
            channel.on_postgres_changes(
                binding.events,
                self._guarded(lambda payload: self._heard(key, channel, payload["data"])),
                table=binding.table,
                schema="public",
                filter=f"{binding.column}=eq.{key.key}",
            )
        channel.on_system(self._guarded(lambda payload: self._system(key, channel, payload)))
        self._channels[key] = channel
        loop = asyncio.get_running_loop()
        self._deadlines[key] = loop.call_later(
            READY_SECONDS, self.end, f"{key.feed} {key.key}: not subscribed within {READY_SECONDS:.0f} s"
        )
        self._run(self._subscribe(key, channel))

    def leave(self, key: FeedKey) -> None:
        channel = self._channels.pop(key, None)
        if channel is not None:
            self._cancel_deadline(key)
            self._run(self._unsubscribe(channel))

    async def close(self) -> None:
        for key in list(self._deadlines):
            self._cancel_deadline(key)
        self._channels.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await asyncio.wait_for(self._client.close(), CLOSE_SECONDS)
        except Exception as error:  # noqa: BLE001 - the client is thrown away; how it fails to say goodbye changes nothing
            logger.debug("closing a Realtime socket: %r", error)

    async def _subscribe(self, key: FeedKey, channel: AsyncRealtimeChannel) -> None:
        await channel.subscribe(lambda state, error: self._state(key, channel, state, error))

    async def _unsubscribe(self, channel: AsyncRealtimeChannel) -> None:
        await channel.unsubscribe()

    def _state(
        self, key: FeedKey, channel: AsyncRealtimeChannel, state: RealtimeSubscribeStates, error: Exception | None
    ) -> None:
        if state is not RealtimeSubscribeStates.SUBSCRIBED and self._channels.get(key) is channel:
            self.end(f"{key.feed} {key.key}: {state.value} {error or ''}".strip())

    def _system(self, key: FeedKey, channel: AsyncRealtimeChannel, payload: Any) -> None:
        if self._channels.get(key) is channel and "Subscribed to PostgreSQL" in payload.message:
            self._cancel_deadline(key)
            self._hearing.ready(key)

    def _heard(self, key: FeedKey, channel: AsyncRealtimeChannel, data: Mapping[str, Any]) -> None:
        if self._channels.get(key) is channel:
            # a change over 1 MiB comes with errors and without its longer values
            self._hearing.record(key, None if data.get("errors") else data.get("record"))

    def _guarded(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """An exception in a callback would stop the client's reader without a word."""

        def call(payload: Any) -> None:
            try:
                callback(payload)
            except Exception as error:
                logger.exception("a Realtime callback failed")
                self.end(f"callback failed: {error!r}")

        return call

    def _run(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.end(f"sending failed: {error!r}")

    def _cancel_deadline(self, key: FeedKey) -> None:
        deadline = self._deadlines.pop(key, None)
        if deadline is not None:
            deadline.cancel()
