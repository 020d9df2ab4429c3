"""Which way the service follows its database: by its change log or, where there is none, by reading the tables.

The database decides, and is asked until it has said one or the other; until then all goes by the log, and gets the
errors that the database has for it. A log that appears later, because somebody has applied the migration, is taken at
once: every stream is told what is new, how far that goes in the log, and to come back, which it does as an exact one.
The other way round never happens: a log that can't be read is an outage, and one project is never followed both ways.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from service.access.rest import Rest
from service.access.rights import Rights
from service.backoff import delays
from service.changes.change import FeedKey
from service.changes.direct import DirectListener
from service.changes.listener import KEYS_PER_CALL, LogListener
from service.changes.log import ChangeLog
from service.changes.rows import NOBODYS
from service.errors import DatabaseRefused, DatabaseUnavailable, Refused
from service.events.endings import Ending
from service.logs import fields
from service.streams.services import Services
from service.tasks import spawn

PROJECT = "project"
NO_SUCH_FUNCTION = ("PGRST202", "42883")
"""What PostgREST, and PostgreSQL, say where there is none."""
START_SECONDS = 1.0
"""How long the service's start waits for the database's word."""
LEAVE_SECONDS = 30.0
"""How long slow pages may take to leave direct mode."""

logger = logging.getLogger(__name__)


class Mode(StrEnum):
    LOG = "log"
    DIRECT = "direct"


@dataclass(frozen=True)
class Upstream:
    """One way to follow the database, and the services that go with it."""

    log: ChangeLog | DirectListener
    listener: LogListener | DirectListener
    rights: Rights
    services: Services

    async def close(self) -> None:
        await self.rights.close()
        await self.listener.stop()
        await self.services.hub.close()


async def has_log(rest: Rest) -> bool:
    """Whether the database has a change log with the project feed in it. ``rest`` has the secret key.

    Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused` when it can't be told now.
    """
    try:
        await rest.ask("POST", "rpc/feed_heads", {}, body={"feed": PROJECT, "keys": []})
    except Refused as error:
        if error.code in NO_SUCH_FUNCTION:
            return False
        raise
    return True


class Modes:
    """``ask`` is :func:`has_log`; ``on_log`` is called once, when the log has been taken. ``seconds`` lie between two
    questions in direct mode. ``random`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        logged: Upstream,
        direct: Upstream,
        ask: Callable[[], Awaitable[bool]],
        on_log: Callable[[], None],
        seconds: float,
        random: Callable[[], float],
    ) -> None:
        self._logged = logged
        self._direct = direct
        self._ask = ask
        self._on_log = on_log
        self._seconds = seconds
        self._random = random
        self._tasks: list[asyncio.Task[None]] = []
        self._asked_once = asyncio.Event()
        self.current = logged
        self.mode: Mode | None = None
        """None until the database has said."""

    async def start(self) -> None:
        """Begins to ask; returns when the database has answered, or can't, at the latest after START_SECONDS."""
        self._tasks.append(spawn(self._keep_choosing()))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._asked_once.wait(), START_SECONDS)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._direct.close()
        await self._logged.close()

    async def _keep_choosing(self) -> None:
        waits = delays(self._random, limit=5.0)
        in_vain = False
        while True:
            try:
                if await self._choose():
                    return
                in_vain = False
            except (DatabaseUnavailable, DatabaseRefused) as error:
                if not in_vain:
                    logger.warning(
                        "the database can't be asked for its change log, it is tried again", extra=fields(error=error)
                    )
                in_vain = True
            except Exception:  # a bug, but the choice must not be left open for it
                logger.exception("choosing between log and direct mode failed")
            finally:
                self._asked_once.set()
            await asyncio.sleep(next(waits) if self.mode is None else self._seconds * (0.9 + 0.2 * self._random()))

    async def _choose(self) -> bool:
        """Whether there is nothing more to choose."""
        there = await self._ask()
        if there:
            if self.mode is Mode.DIRECT:
                await self._move_to_log()
            self.mode = Mode.LOG
            logger.info("the database has a change log: streams are exact")
            self._on_log()
        elif self.mode is None:
            self.mode, self.current = Mode.DIRECT, self._direct
            logger.warning(
                "the database has no change log: direct mode, streams are not exact; rowcast init shows the way",
                extra=fields(reread_seconds=self._seconds),
            )
            try:
                await self._direct.log.heads(PROJECT, [])
            except DatabaseRefused as error:
                logger.error("direct mode can't read the tables", extra=fields(error=error))  # noqa: TRY400 - told whole
        return there

    async def _move_to_log(self) -> None:
        hub, listener = self._direct.services.hub, self._direct.listener
        assert isinstance(listener, DirectListener)  # noqa: S101 - who composes the service sees to it
        # The heads first: what has been committed up to them is in the reading that follows, or was told before.
        followed = hub.keys()
        heads = await self._heads({NOBODYS, *(key.key for key in followed)})
        told = await listener.catch_up(followed)
        self.current = self._logged

        def farewell(key: FeedKey) -> Ending:
            """Who has not been told all up to a head begins anew: their cursor is older than the log."""
            cursor = heads[key.key] if key in told else heads[NOBODYS] - 1
            return Ending("shutdown", reconnect=True, cursor=cursor)

        self._tasks.append(spawn(self._leave(farewell)))

    async def _heads(self, projects: set[str]) -> Mapping[str, int]:
        heads: dict[str, int] = {}
        keys = sorted(projects)
        for start in range(0, len(keys), KEYS_PER_CALL):
            heads |= await self._logged.log.heads(PROJECT, keys[start : start + KEYS_PER_CALL])
        return heads

    async def _leave(self, farewell: Callable[[FeedKey], Ending]) -> None:
        """Ends the streams of direct mode, before anything else has its turn, and then direct mode."""
        hub = self._direct.services.hub
        logger.info("streams come back as exact ones", extra=fields(streams=hub.viewers))
        await hub.drain(LEAVE_SECONDS, farewell)
        await self._direct.close()
