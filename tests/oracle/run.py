"""A run from its first process to its verdict.

1. What each service holds is noted: tasks and open files when it has just started, memory after a warm-up in which
   everybody looks on and writes and nothing goes wrong.
2. Turbulence: faults, cuts, pauses; and while it lasts, viewers are audited: is all that an id says is told, told?
   The last changes fall on deaf ears: no later one tells that they are missing.
3. Calm: writers have stopped, faults end, viewers read on until each has the head of its key and shows what the tables
   hold.
4. The viewers leave: what does an idle service hold now?
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from tests.oracle import project, truth
from tests.oracle.boms import BomViewer
from tests.oracle.faults import Faults, end_in_peace
from tests.oracle.leaks import Holdings, after_work, idle, memory_settled, places_missing
from tests.oracle.pages import Page, Seen
from tests.oracle.pollers import Poller
from tests.oracle.several import SeveralViewer, SocketViewer
from tests.oracle.stage import USERS, Stage, stage
from tests.oracle.verdict import Complaints, Verdict
from tests.oracle.viewers import Viewer
from tests.oracle.writers import LAST_EVENTS, LAST_LEASES, Writer, Written

VIEWERS = 30
POLLERS = 4
BOM_VIEWERS = 14
SEVERAL_VIEWERS = 5
SOCKET_VIEWERS = 5
WRITERS = 4
CALM_SECONDS = 90.0
"""How long viewers may take to catch up once nothing goes wrong any more."""
AUDIT_SECONDS = 0.1
AUDITED = 400
"""Changes before a viewer's id that an audit goes through."""


async def run(seed: int, seconds: float, warm_up: float, directory: Path) -> Verdict:
    """Plays one run. Logs stay in ``directory``.

    Raises :class:`tests.oracle.stage.StageError` when it can't be played.
    """
    async with stage(directory, random.Random(f"{seed} stage")) as stage_:
        return await Play(stage_, seed, seconds).play(warm_up)


@asynccontextmanager
async def working(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Has endless work done beside the body, and stops it at the body's end. Work that fails ends the whole."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        yield
        for task in tasks:
            task.cancel()


Kind = TypeVar("Kind", bound=Page)


class Play:
    def __init__(self, stage_: Stage, seed: int, seconds: float) -> None:
        self._stage = stage_
        self._seed = seed
        self._seconds = seconds
        self._complaints = Complaints()
        self._seen = Seen()
        self._written = Written()
        self._audits = 0
        self._viewers: list[Viewer] = [self._page(Viewer, number, stage_.projects) for number in range(VIEWERS)]
        pollers = [self._page(Poller, number, stage_.projects) for number in range(POLLERS)]
        boms = [self._page(BomViewer, number, list(stage_.boms)) for number in range(BOM_VIEWERS)]
        several = [self._page(SeveralViewer, number, stage_.projects) for number in range(SEVERAL_VIEWERS)]
        sockets = [self._page(SocketViewer, number, stage_.projects) for number in range(SOCKET_VIEWERS)]
        self._pages: list[Page] = [*self._viewers, *pollers, *boms, *several, *sockets]
        self._viewers += [part for page in (*several, *sockets) for part in page.parts.values()]
        self._faults = Faults(stage_, self._random("faults"), self._complaints, seconds)

    def _random(self, for_: str) -> random.Random:
        return random.Random(f"{self._seed} {for_}")

    def _page(self, kind: type[Kind], number: int, keys: list[str]) -> Kind:
        key, user = keys[number % len(keys)], self._stage.users[number % USERS]
        name = f"{kind.__name__} {number}"
        return kind(name, key, user, self._stage, self._random(name), self._complaints, self._seen)

    async def play(self, warm_up: float) -> Verdict:
        services = self._stage.services
        before = [await idle(service) for service in services]
        first = await self._changes()
        async with working(*self._look_on()), working(*self._writes()):
            await asyncio.sleep(warm_up)
        before = [await memory_settled(service, was) for service, was in zip(services, before, strict=True)]
        began = time.monotonic()
        async with working(*self._look_on()):
            async with working(self._audit()):
                async with working(*self._writes()):
                    async with working(self._faults.run()):
                        await asyncio.sleep(self._seconds)
                    await self._faults.finale()
                await self._faults.over()
            seconds = time.monotonic() - began
            await self._calm()
        leaving = (after_work(service, was) for service, was in zip(services, before, strict=True))
        after = await asyncio.gather(*leaving)
        await self._look_for_leaks(before, after)
        await asyncio.gather(*(end_in_peace(service, self._complaints) for service in services))
        changes = await self._changes() + self._faults.pruned - first
        counts, details = self._complaints.counts, [*self._complaints.told, *self._told(before, after)]
        return Verdict(
            self._seed, seconds, self._faults.dealt.total(), changes, self._seen.deliveries,
            counts["lost"], counts["misordered"], counts["leaked"], details,
        )  # fmt: skip

    def _look_on(self) -> list[Coroutine[Any, Any, None]]:
        return [page.run() for page in self._pages]

    def _writes(self) -> list[Coroutine[Any, Any, None]]:
        return [Writer(self._stage, self._random(f"writer {n}"), self._written).run() for n in range(WRITERS)]

    async def _changes(self) -> int:
        async with await self._stage.database() as database:
            row = await (await database.execute("select count(*) from feed_changes")).fetchone()
            assert row is not None
            return int(row[0])

    # While it lasts

    async def _audit(self) -> None:
        """Takes a viewer at its word again and again: its id says that all up to it is told."""
        random_ = self._random("audit")
        while True:
            await asyncio.sleep(AUDIT_SECONDS)
            viewer = random_.choice(self._viewers)
            if viewer.last is None or not viewer.knows_all:
                continue
            last, told = viewer.last, dict(viewer.state.rows)
            with suppress(psycopg.OperationalError):
                async with await self._stage.database() as database:
                    possible = await project.told_up_to(database, viewer.key, last, AUDITED)
                self._audits += 1
                for (kind, id_), rows in possible.items():
                    row = told.get((kind, id_))
                    if kind in viewer.kinds and not any(project.agrees(kind, row, one) for one in rows):
                        viewer.complain(
                            "lost", f"at {last}: {kind} {id_} is {project.short(row)}, may be {project.short(rows)}"
                        )

    async def _calm(self) -> None:
        """Waits until every page has all, and complains of those that never do; then the BOMs end, and their pages."""
        for page in self._pages:
            page.is_calm = True
        async with await self._stage.database() as database:
            await database.execute(LAST_LEASES.encode())
            await self._complete(await truth.read(database, self._stage.projects, list(self._stage.boms)))
            await database.execute(LAST_EVENTS.encode())
            await self._complete(await truth.read(database, self._stage.projects, list(self._stage.boms)))
        viewers = [page for page in self._pages if isinstance(page, BomViewer)]
        if await self._in_time(lambda: all(viewer.is_done for viewer in viewers)):
            return
        for viewer in viewers:
            if not viewer.is_done:
                viewer.complain("lost", f"its BOM has ended, and it was not told so: {viewer.is_over=}")

    async def _complete(self, truth_: truth.Truth) -> None:
        deadline = time.monotonic() + CALM_SECONDS
        lacking = self._pages
        while lacking and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
            lacking = await _lacking(lacking, truth_) or await _lacking(self._pages, truth_)
        for page in lacking:
            for text in page.lacks(truth_):
                page.complain("lost", text)

    async def _in_time(self, condition: Callable[[], bool]) -> bool:
        """Waits for the condition; returns whether it came true."""
        deadline = time.monotonic() + CALM_SECONDS
        while not (is_so := condition()) and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        return is_so

    # In the end

    async def _look_for_leaks(self, before: list[Holdings], after: list[Holdings | None]) -> None:
        for service, was, is_ in zip(self._stage.services, before, after, strict=True):
            if is_ is None:
                self._complaints.add("leaked", f"{service.name} does not answer any more")
                continue
            for text in is_.beyond(was):
                self._complaints.add("leaked", f"{service.name}: {text}; sockets {dict(service.connections())}")
            if missing := await places_missing(self._stage, service):
                self._complaints.add("leaked", f"{service.name}: {missing} places for streams are taken by nobody")
        async with await self._stage.database() as database:
            cursor = await database.execute("select slot_name from pg_replication_slots")
            if len(slots := await cursor.fetchall()) > 1:  # the stand-in has one
                self._complaints.add("leaked", f"replication slots: {slots}")

    def _told(self, before: list[Holdings], after: list[Holdings | None]) -> list[str]:
        return [
            f"{self._written}, {self._seen.connections} connections, {self._audits} audits",
            f"ended {dict(self._seen.endings)}, refused {dict(self._seen.refusals)}",
            f"faults {dict(self._faults.dealt)}",
            f"errors in the services' logs: {dict(self._errors())}",
            *(
                f"{service.name}: {was} before, {is_} after"
                for service, was, is_ in zip(self._stage.services, before, after, strict=True)
            ),
        ]

    def _errors(self) -> Counter[str]:
        """What the services logged as an error, by logger; the client of Realtime logs each outage as some."""
        errors: Counter[str] = Counter()
        for service in self._stage.services:
            with service.log.open(errors="replace") as log:
                errors.update(line.split(" ERROR ", 1)[1].split(":")[0] for line in log if " ERROR " in line)
        return Counter({logger: count for logger, count in errors.items() if not logger.startswith("realtime.")})


async def _lacking(pages: Sequence[Page], truth_: truth.Truth) -> list[Page]:
    lacking: list[Page] = []
    for page in pages:
        if page.lacks(truth_):
            lacking.append(page)
        await asyncio.sleep(0)  # all at once would take seconds, in which no page gets on
    return lacking
