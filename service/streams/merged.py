"""Several sessions on one connection, as one flow of messages: of which key each is, and where that key then stands.

The rules of a stream of several keys, however it is framed:

- What ends one key for good (its work is done, the user's right to it is over) is told with the key, and the others go
  on. What lets a page come back (shutdown, too_slow, the token's end, an error) ends the whole: a page comes back when
  its connection ends, and its cursor loses nothing.
- Whatever waits when the whole ends is sent first, unless the right to it is over.
- Only one chunk of each key is taken at a time, and the next when it has been written: a slow reader's changes merge in
  its outboxes, which share a budget, and nothing else grows.

The lifetime is looked at here, not in the sessions: a token and an age are the connection's.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

from service.events.endings import Ending
from service.events.model import Reauth
from service.events.wire import Encoded, encode
from service.feeds.waiter import Waiter
from service.streams.frames import Item
from service.streams.lifetime import Lifetime
from service.streams.session import Session
from service.tasks import spawn

KeySession = Session[tuple[Item, ...]]


class Part(NamedTuple):
    """A message of a key, or of the stream as a whole; without one, a keepalive of the key.

    With an ``id`` everything of the key up to there has been told.
    """

    key: str | None
    encoded: Encoded | None
    id: int | None


@dataclass(eq=False, slots=True)
class _Running:
    session: KeySession
    task: asyncio.Task[None] | None = None


@dataclass(eq=False, slots=True)
class _Offer:
    """What waits to be told. ``taken`` is done once it has been written."""

    of: _Running | None
    parts: Sequence[Part]
    taken: asyncio.Future[None]


class Merged:
    """``sessions`` begin when :meth:`flow` does; more may be added while it flows.

    ``expires_at`` is the token's exp, in s since the epoch; durations are in s. It ends when all sessions have, or,
    with ``stays``, only when :meth:`end` is called or time is up. A session's own request has no end of time.
    """

    def __init__(
        self,
        sessions: Iterable[KeySession],
        expires_at: float,
        max_age: float,
        keepalive_seconds: float,
        *,
        stays: bool = False,
    ) -> None:
        self._first = list(sessions)
        self._lifetime = Lifetime(expires_at, max_age, keepalive_seconds)
        self._stays = stays
        self._running: dict[str, _Running] = {}
        self._offers: deque[_Offer] = deque()
        self._waiter = Waiter()
        self._is_over = False
        self.ending: Ending | None = None
        """How the whole ends, as soon as that is known."""

    def end(self, ending: Ending) -> None:
        """Ends the whole. The first ending counts, but for one that denies."""
        if self.ending is None or (ending.denies and not self.ending.denies):
            self.ending = ending
            for one in self._running.values():
                one.session.end(ending)
            self._waiter.wake()

    def renew(self, expires_at: float) -> None:
        """There is another token."""
        self._lifetime.renew(expires_at)
        self._waiter.wake()

    def add(self, session: KeySession, left: Callable[[], object] = lambda: None) -> None:
        """Begins a session, of a key that has none; ``left`` is called when it is over, however it ends."""
        if self._is_over:
            left()
            return
        one = self._running[session.key.key] = _Running(session)
        if self.ending is not None:
            session.end(self.ending)
        one.task = spawn(self._offer_all(one))

        def over(task: asyncio.Task[None]) -> None:
            if self._running.get(session.key.key) is one:
                del self._running[session.key.key]
            left()
            if not task.cancelled() and task.exception() is not None:
                self.end(Ending.ERROR)
            self._waiter.wake()

        one.task.add_done_callback(over)

    async def remove(self, key: str) -> None:
        """Ends a session at once; nothing more of its key is told. Nothing is done where there is none."""
        if (one := self._running.get(key)) is None or one.task is None:
            return
        one.task.cancel()
        await asyncio.wait([one.task])
        self._offers = deque(offer for offer in self._offers if offer.of is not one)

    async def say(self, encoded: Encoded, key: str | None = None) -> None:
        """Tells a message of no session's; returns when it has been written."""
        await self._offer(None, [Part(key, encoded, None)])

    def may_tell(self, key: str | None) -> bool:
        """Whether there is a right to what comes next: looked at before each write, which may take minutes."""
        if self._lifetime.is_expired:
            self.end(Ending.TOKEN_EXPIRED)
        if self.ending is not None and self.ending.denies:
            return False
        one = self._running.get(key) if key is not None else None
        return one is None or one.session.ending is None or not one.session.ending.denies

    async def flow(self) -> AsyncGenerator[Sequence[Part], None]:
        """All that there is to tell, to the end. Iterate it once; each turn says that what came before is written."""
        try:
            for session in self._first:
                self.add(session)
            while True:
                due = self._lifetime.due()
                if isinstance(due, Ending):
                    self.end(due)
                if (ending := self._ended()) is not None:
                    self.ending = ending
                    yield [Part(None, encode(ending.message), ending.cursor)]
                    return
                if isinstance(due, Reauth):
                    yield [Part(None, encode(due), None)]
                elif self._offers:
                    offer = self._offers.popleft()
                    if parts := list(self._told(offer)):
                        yield parts
                    if not offer.taken.done():
                        offer.taken.set_result(None)
                elif isinstance(due, float):
                    await self._waiter.wait(due)
        finally:
            await self._close()

    def _ended(self) -> Ending | None:
        """How the whole ends now; None while there is more to tell, or to come."""
        if self.ending is not None and self.ending.denies:
            return self.ending
        if self._running or self._offers:
            return None
        return self.ending or (None if self._stays else Ending.COMPLETED)

    def _told(self, offer: _Offer) -> Iterable[Part]:
        """What of an offer is to be told. Its session's end is the whole's, if the page may come back."""
        for part in offer.parts:
            kind = part.encoded.type if part.encoded is not None else "keepalive"
            if offer.of is not None and kind == "stream_end":
                ending = offer.of.session.ending
                if ending is not None and ending.reconnect:
                    self.end(ending)
            is_end = offer.of is not None and kind in ("stream_end", "error")
            if is_end and self.ending is not None:
                if part.id is not None:
                    yield Part(part.key, None, part.id)
                continue  # the whole ends, and says so once
            if is_end or self.may_tell(part.key):
                yield part

    async def _offer_all(self, one: _Running) -> None:
        key = one.session.key.key
        async with aclosing(one.session.chunks()) as chunks:
            async for chunk in chunks:
                await self._offer(one, [Part(key, encoded, id_) for encoded, id_ in chunk])

    async def _offer(self, of: _Running | None, parts: Sequence[Part]) -> None:
        offer = _Offer(of, parts, asyncio.get_running_loop().create_future())
        self._offers.append(offer)
        self._waiter.wake()
        await offer.taken

    async def _close(self) -> None:
        self._is_over = True
        self._waiter.close()
        tasks = [one.task for one in self._running.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
