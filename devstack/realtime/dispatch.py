"""From the replication stream to frames: what each change means for each channel.

Contract. Messages are taken in the order of the log and their frames handed out in that order; a channel gets one
frame for each change and choice of columns, with the ids of all its bindings that match. What only PostgreSQL can say
(filters on unusual types, row security, odd values) is asked for a batch of changes at a time, so that a burst costs
few questions. The backlog is bounded: beyond it the stream is not read until the dispatcher has caught up.

Row security is checked as the real server does: a row of an INSERT or UPDATE must be there, and visible to the role
with its claims, when the change is handled. So a row deleted again at once may lose its event, for every role. A
change can arrive a moment before its transaction has become visible to others: those are asked again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import psycopg

from devstack.realtime import changes
from devstack.realtime.bindings import Binding
from devstack.realtime.catalog import Catalog, Question, Resolved, Table
from devstack.realtime.changes import Row, Sides
from devstack.realtime.pgoutput import Begin, Delete, Insert, Message, Relation, Update
from devstack.realtime.routing import Match, Router
from devstack.realtime.tokens import Claims

logger = logging.getLogger(__name__)

_BATCH = 500
_SLICE = 50
"""Changes sent before others get their turn."""
_BACKLOG = 10_000
_NOT_YET_VISIBLE_PAUSE = 0.001


class Subscriber(Hashable, Protocol):
    """A channel of one connection."""

    def deliver(self, data: str, ids: str) -> None:
        """Queue a frame with this `data` and this list of ids, both JSON. Must not block."""


class Flow(Protocol):
    """The replication stream's tap."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


@dataclass(eq=False, slots=True)
class _Listening:
    """A subscriber with the claims its subscription was made with."""

    subscriber: Subscriber
    claims: Claims
    same_claims: str
    """Equal for equal claims."""


@dataclass(slots=True)
class _Job:
    """One change that somebody listens to."""

    row: Row
    table: Table
    matches: list[Match[_Listening]]
    sides: Sides


class Dispatcher:
    """Holds the subscriptions and sends each change to those it concerns."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._router: Router[_Listening] = Router()
        self._listening: dict[Subscriber, _Listening] = {}
        self._relations: dict[int, Relation] = {}
        self._tables: dict[int, Table | None] = {}
        self._transaction = Begin(0, 0, 0)
        self._backlog: deque[Row] = deque()
        self._arrived = asyncio.Event()
        self._paused: Flow | None = None
        self.flow: Flow | None = None

    def subscribe(self, subscriber: Subscriber, claims: Claims, bindings: Sequence[Resolved]) -> None:
        """From the next message on, let the subscriber hear these bindings and no others."""
        self.unsubscribe(subscriber)
        listening = self._listening[subscriber] = _Listening(subscriber, claims, json.dumps(claims, sort_keys=True))
        self._router.add(listening, bindings)

    def __contains__(self, subscriber: Subscriber) -> bool:
        return subscriber in self._listening

    def unsubscribe(self, subscriber: Subscriber) -> None:
        listening = self._listening.pop(subscriber, None)
        if listening is not None:
            self._router.remove(listening)

    def receive(self, message: Message) -> None:
        """Take one message of the stream."""
        match message:
            case Insert() | Update() | Delete():
                if self._router.listens_to(message.relation):
                    relation = self._relations[message.relation]
                    transaction = self._transaction
                    self._backlog.append(changes.read(relation, message, transaction.committed_at, transaction.xid))
                    self._arrived.set()
                    if len(self._backlog) >= _BACKLOG and self.flow is not None:
                        self._paused = self.flow
                        self.flow.pause()
            case Begin():
                self._transaction = message
            case Relation():
                self._relations[message.oid] = message
            case _:
                pass

    def forget_stream(self) -> None:
        """The stream ended; a new one describes every relation anew."""
        self._relations.clear()

    async def run(self) -> None:
        """Handle the backlog until cancelled."""
        while True:
            await self._arrived.wait()
            batch = [self._backlog.popleft() for _ in range(min(_BATCH, len(self._backlog)))]
            if not self._backlog:
                self._arrived.clear()
                if self._paused is not None:
                    self._paused.resume()
                    self._paused = None
            try:
                await self._handle(batch)
            except psycopg.Error as error:
                # PostgreSQL went away between the change and a question about it: lost, as its stream is anyway.
                logger.warning("%d changes lost: %s", len(batch), str(error).strip())

    async def _handle(self, batch: Sequence[Row]) -> None:
        jobs: list[_Job] = []
        for row in batch:
            table = await self._table(row.relation)
            matches = self._router.match(row.relation.oid, row.action, row.new, row.old)
            if table is not None and matches:
                jobs.append(_Job(row, table, matches, changes.to_sides(row, table)))
        await self._keep_affirmed(jobs)
        await self._keep_visible([job for job in jobs if job.table.rls and job.row.action != "DELETE"])
        await self._fill([job for job in jobs if job.matches and job.sides.odd])
        for number, job in enumerate(jobs):
            await self._send(job)
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)

    async def _table(self, relation: Relation) -> Table | None:
        known = self._tables.get(relation.oid)
        if known is None or known.relation is not relation:
            known = self._tables[relation.oid] = await self._catalog.table(relation)
        return known

    async def _keep_affirmed(self, jobs: Sequence[_Job]) -> None:
        """Drop the matches whose filters PostgreSQL denies."""
        asked: list[Question] = [q for job in jobs for match in job.matches for q in match.questions]
        if not asked:
            return
        answers = iter(await self._catalog.answers(asked))
        for job in jobs:
            verdicts = [[next(answers) for _ in match.questions] for match in job.matches]
            job.matches = [match for match, verdict in zip(job.matches, verdicts, strict=True) if all(verdict)]

    async def _keep_visible(self, jobs: Sequence[_Job]) -> None:
        """Drop the matches of those who may not see the row, asking once per table and claims."""
        groups: dict[tuple[int, str], list[_Job]] = defaultdict(list)
        claims: dict[str, Claims] = {}
        for job in jobs:
            for listener in {match.entry.subscriber for match in job.matches}:
                claims[listener.same_claims] = listener.claims
                group = groups[id(job.table), listener.same_claims]
                if not group or group[-1] is not job:
                    group.append(job)
        for (_, who), concerned in groups.items():
            keyed = [job for job in concerned if job.table.primary_key <= (job.row.new or {}).keys()]
            for job in await self._hidden(keyed, claims[who]) if keyed else ():
                job.matches = [match for match in job.matches if match.entry.subscriber.same_claims != who]

    async def _hidden(self, jobs: list[_Job], claims: Claims) -> list[_Job]:
        """The jobs whose row these claims do not see. All are of one table, and their primary key is known.

        A policy that fails shows nothing.
        """
        table = jobs[0].table
        columns = sorted(table.primary_key)
        if not columns or not table.primary_key <= await self._catalog.selectable(table, str(claims["role"])):
            return []  # an error frame tells them nothing
        waiting, hidden, pause = list(jobs), [], 0.0  # the first time, asking again takes long enough
        while waiting:
            keys = [tuple(str((job.row.new or {})[name]) for name in columns) for job in waiting]
            try:
                seen, snapshot = await self._catalog.visible(table, claims, keys, columns)
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                logger.warning("row security of %s failed: %s", table.relation.table, str(error).strip())
                return jobs
            missed = [job for index, job in enumerate(waiting) if index not in seen]
            waiting = [job for job in missed if _still_running(job.row.xid, snapshot)]
            hidden += [job for job in missed if job not in waiting]
            if waiting:
                await asyncio.sleep(pause)
                pause = _NOT_YET_VISIBLE_PAUSE
        return hidden

    async def _fill(self, jobs: Sequence[_Job]) -> None:
        """Ask for the JSON of values that only PostgreSQL knows."""
        if jobs:
            odd = list({value: None for job in jobs for _, _, value in job.sides.odd})
            casts = dict(zip(odd, await self._catalog.casts(odd), strict=True))
            for job in jobs:
                job.sides.fill(casts)

    async def _send(self, job: _Job) -> None:
        rendered: dict[tuple[str, tuple[str, ...] | None], str] = {}
        frames: dict[tuple[_Listening, tuple[str, ...] | None], list[Binding]] = defaultdict(list)
        for match in job.matches:
            binding = match.entry.resolved.binding
            frames[match.entry.subscriber, binding.select].append(binding)
        for (listener, select), bindings in frames.items():
            if listener.subscriber not in self._listening:
                continue  # it left while PostgreSQL was asked
            role = str(listener.claims["role"])
            data = rendered.get((role, select))
            if data is None:
                selectable = await self._catalog.selectable(job.table, role)
                data = rendered[role, select] = changes.render(job.row, job.table, job.sides, selectable, select)
            # The real server lists the last binding first.
            ids = ",".join(str(binding.id) for binding in reversed(bindings))
            listener.subscriber.deliver(data, f"[{ids}]")


def _still_running(xid: int, snapshot: str) -> bool:
    """Whether a transaction (its 32-bit number) had not ended for a snapshot, `xmin:xmax:xip,…`."""
    _, xmax, running = snapshot.split(":")
    return xid in {int(number) & 0xFFFFFFFF for number in running.split(",") if number} or (
        # Numbers wrap around: later is what lies less than half the circle ahead.
        (xid - int(xmax)) & 0xFFFFFFFF < 0x80000000
    )
