"""What goes wrong, as the seed decides: Realtime, REST, PostgreSQL, the network, and the service itself.

Faults are dealt like cards: each kind once in random order, then all anew. Those that take time run beside the next
ones; only what needs the same process waits for its turn.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import Any

import httpx
import psycopg

from tests.oracle.stage import STOP_SECONDS, Service, Stage
from tests.oracle.verdict import Complaints

logger = logging.getLogger(__name__)

MINUTE = 60.0
REST_SECONDS = 20.0
LONG_SHARE = 0.25
"""How many of the outages last for the whole of the above."""
PAUSE_SECONDS = 2.0
LULL, LULL_SHARE = 6.0, 0.06
"""How many pauses are so many times as long: what has been broken comes back, and is broken whole."""


async def end_in_peace(service: Service, complaints: Complaints) -> None:
    """Has a process end as an operator does."""
    if not await service.end(SIGTERM):
        complaints.add(
            "leaked", f"{service.name} did not end {STOP_SECONDS:g} s after SIGTERM; where it was is in its log"
        )


class Faults:
    """``seconds`` is how long the turbulence lasts: a short one has shorter faults."""

    def __init__(self, stage: Stage, random_: random.Random, complaints: Complaints, seconds: float) -> None:
        self.dealt: Counter[str] = Counter()
        self.pruned = 0
        """Rows of the change log that were pruned."""
        self._stage = stage
        self._random = random_
        self._complaints = complaints
        self._scale = min(1.0, seconds / 600)
        self._pause = PAUSE_SECONDS * (0.4 + 0.6 * self._scale)
        self._postgres = asyncio.Lock()
        self._devstack = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()
        self._kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "drop": lambda: self._realtime(fault="drop", probability=0.3, seconds=3),
            "duplicate": lambda: self._realtime(fault="duplicate", probability=0.5, seconds=3),
            "reorder": lambda: self._realtime(fault="reorder", probability=0.4, seconds=3, behind=3),
            "delay": lambda: self._realtime(fault="delay", delay=[0.01, 0.6], seconds=3),
            "close": lambda: self._realtime(fault="close", code=self._random.choice((1000, 1006, 1012, 4000))),
            "deaf": lambda: self._realtime(fault="deaf", seconds=self._long(MINUTE)),
            "mute": lambda: self._realtime(fault="mute", seconds=self._long(MINUTE)),
            "rate limit": lambda: self._realtime(fault="rate_limit", per_second=20, window=5, seconds=5),
            "restart of replication": lambda: self._realtime(fault="restart", seconds=1),
            "Realtime killed": lambda: self._realtime(fault="kill", seconds=2, warm_up=1),
            "Realtime closed": lambda: self._realtime(fault="kill", seconds=self._long(MINUTE)),
            "no readiness": lambda: self._realtime(fault="drop", event="system", seconds=3),
            "black hole": lambda: self._realtime(fault="drop", event="*", seconds=3),
            "joins refused": lambda: self._realtime(fault="refuse_joins", seconds=3, reason="no"),
            "connections refused": lambda: self._realtime(
                fault="refuse_connections", seconds=3, status=self._random.choice((None, 502))
            ),
            "Realtime cut": self._realtime_cut,
            "REST hangs": self._rest_hangs,
            "REST refused": self._rest_refused,
            "network silent": self._network_silent,
            "Supabase frozen": self._supabase_frozen,
            "PostgreSQL restarted": self._postgres_restarted,
            "PostgreSQL's sessions ended": self._sessions_ended,
            "replication slot lost": self._slot_lost,
            "service killed": self._service_killed,
            "service drained": self._service_drained,
            "service frozen": self._service_frozen,
            "log pruned": self._log_pruned,
            "feed restarted": self._feed_restarted,
        }

    async def run(self) -> None:
        """Deals faults until cancelled; :meth:`over` waits for those under way. Raises what goes wrong with a fault."""
        while True:
            names = list(self._kinds)
            self._random.shuffle(names)
            for name in names:
                self.dealt[name] += 1
                task = asyncio.create_task(self._fault(name), name=name)
                self._running.add(task)
                lull = self._random.random() < LULL_SHARE
                await asyncio.sleep(self._pause * (LULL if lull else 0.3 + 1.4 * self._random.random()))
                for ended in [task for task in self._running if task.done()]:
                    self._running.remove(ended)
                    ended.result()

    async def finale(self) -> None:
        """Realtime is deaf from now on, while its channels seem alive; some changes later this returns."""
        await self._realtime(fault="deaf")
        await asyncio.sleep(1.0)

    async def over(self) -> None:
        """Waits for what is under way. Raises what went wrong with the faults themselves."""
        await asyncio.gather(*self._running)
        async with httpx.AsyncClient() as client:
            (await client.delete(self._url)).raise_for_status()

    async def _fault(self, name: str) -> None:
        logger.info("%s: begins", name)
        await self._kinds[name]()
        logger.info("%s: is over, or told to Realtime", name)

    def _long(self, seconds: float) -> float:
        """So long, now and then; mostly shorter, or nothing but outages would be tried."""
        share = 1.0 if self._random.random() < LONG_SHARE else 0.05 + 0.1 * self._random.random()
        return max(1.0, seconds * share * self._scale)

    # Supabase

    @property
    def _url(self) -> str:
        return f"{self._stage.facts.supabase_url}/realtime/v1/faults"

    async def _realtime(self, **fault: Any) -> None:
        if fault["fault"] in ("drop", "duplicate", "reorder", "delay"):
            fault["seed"] = self._random.getrandbits(32)
        async with self._devstack, httpx.AsyncClient() as client:
            answer = await client.post(self._url, json=fault)
            answer.raise_for_status()

    async def _realtime_cut(self) -> None:
        self._any_service().proxy.cut("realtime")

    async def _rest_hangs(self) -> None:
        async with self._devstack:
            process = await self._stage.rest()
            process.suspend()
            try:
                await asyncio.sleep(self._long(REST_SECONDS))
            finally:
                process.resume()

    async def _rest_refused(self) -> None:
        """By all processes' way to it, or one's."""
        services = self._random.choice((self._stage.services, [self._any_service()]))
        for service in services:
            service.proxy.refused.add("rest")
            service.proxy.cut("rest")
        await asyncio.sleep(self._long(REST_SECONDS))
        for service in services:
            service.proxy.refused.discard("rest")

    async def _network_silent(self) -> None:
        """A process hears nothing of Supabase, and no connection ends."""
        proxy = self._any_service().proxy
        proxy.flowing.clear()
        await asyncio.sleep(self._long(REST_SECONDS))
        proxy.flowing.set()

    async def _supabase_frozen(self) -> None:
        async with self._devstack:
            self._stage.devstack.suspend()
            try:
                await asyncio.sleep(self._long(REST_SECONDS) / 2)
            finally:
                self._stage.devstack.resume()

    async def _postgres_restarted(self) -> None:
        mode = self._random.choice(("fast", "immediate"))
        async with self._postgres:
            await asyncio.to_thread(self._stage.postgres.stop, mode)
            await asyncio.sleep(self._random.random() * self._long(REST_SECONDS))
            await asyncio.to_thread(self._stage.postgres.start)

    async def _sessions_ended(self) -> None:
        await self._execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")

    async def _slot_lost(self) -> None:
        await self._execute("select pg_terminate_backend(active_pid) from pg_replication_slots where active")

    async def _log_pruned(self) -> None:
        """All but the newest seconds: who was away for longer is told to reset."""
        retain = self._random.choice(("3 seconds", "10 seconds"))
        while pruned := await self._execute(f"select prune_feed_changes('{retain}')"):
            self.pruned += pruned

    async def _feed_restarted(self) -> None:
        """What an operator does after work with triggers disabled: everybody is told to reset."""
        feed = self._random.choice(("project", "enrichment"))
        await self._execute(f"select rowcast.restart('{feed}')")

    async def _execute(self, statement: str) -> int:
        """The first value that the statement gives; 0 when the database ends the session instead."""
        with suppress(psycopg.OperationalError):
            async with self._postgres, await self._stage.database() as database:
                row = await (await database.execute(statement.encode())).fetchone()
                return int(row[0]) if row else 0
        return 0

    # The service

    def _any_service(self) -> Service:
        return self._random.choice(self._stage.services)

    @asynccontextmanager
    async def _mortal(self) -> AsyncIterator[Service]:
        """A process that may be ended, for this fault alone; the first stays, to be looked at in the end."""
        service = self._random.choice(self._stage.services[1:])
        async with service.busy:
            yield service

    async def _service_killed(self) -> None:
        async with self._mortal() as service:
            await service.end(SIGKILL)
            await asyncio.sleep(self._random.random() * self._long(5))
            await service.start()

    async def _service_drained(self) -> None:
        async with self._mortal() as service:
            await end_in_peace(service, self._complaints)
            await service.start()

    async def _service_frozen(self) -> None:
        service = self._any_service()
        async with service.busy:
            service.send(SIGSTOP)
            await asyncio.sleep(self._random.random() * self._long(REST_SECONDS))
            service.send(SIGCONT)
