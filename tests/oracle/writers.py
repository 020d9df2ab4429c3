"""Who changes rows: everything that a program may do to tracked tables, at random, in every kind of transaction."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from tests.oracle.project import Database
from tests.oracle.stage import Stage

ROWS_LIMIT = 1200
"""Proposals of a project from which on bulk writers delete instead; others keep to a few hundred rows."""
WIDE = 1_300_000
"""Characters; Realtime leaves the values of a change over 1 MiB out."""
PAUSE_SECONDS = 0.04
TAILS = ("", "", "ä\n\r\u2028“", "x" * 2000)
"""What texts end in: nothing, what a line of a stream must not hold as it is, much."""

# Each deed is one statement. %(p)s is a project, %(q)s another or the same, %(n)s a small number, %(s)s a text.
# Rows are chosen with SKIP LOCKED, so that long transactions make none of the others wait.
SOME = "select id from {} where project_id = %(p)s order by random() limit %(n)s for update skip locked"
DEEDS: dict[str, tuple[float, str]] = {
    "insert source": (8, """
        insert into ingestion_sources (project_id, source_name, source_type, status)
        values (%(p)s, %(s)s, 'x', 'pending')"""),
    "insert job": (6, """
        insert into jobs (project_id, kind, title, status, progress_stage, progress_total)
        values (%(p)s, 'k', %(s)s, 'running', (array['parsing', null])[1 + %(n)s %% 2], 10 * %(n)s)"""),
    "insert proposal": (20, """
        insert into proposed_nodes (project_id, title, confidence, job_id) values (%(p)s, %(s)s, random(),
          (select id from jobs where project_id = %(p)s order by random() limit 1))"""),
    "progress": (24, f"""
        update jobs set progress_current = progress_current + 1, progress_stage = 'reading', progress_message = %(s)s
        where id in ({SOME.format("jobs")})"""),
    "status of a job": (10, f"""
        update jobs set error_message = %(s)s, attempt = attempt + 1, status = coalesce((
            select to_status from rowcast.job_transitions
            where from_status = jobs.status and to_status <> 'completed' order by random() limit 1), status)
        where id in ({SOME.format("jobs")})"""),
    "complete a job": (3, f"""
        update jobs set status = 'completed', progress_stage = 'complete',
          progress_current = coalesce(progress_total, 1)
        where status not in ('failed', 'stopped') and id in ({SOME.format("jobs")})"""),
    "ask a job to stop": (2, f"update jobs set cancel_requested_at = now() where id in ({SOME.format('jobs')})"),
    "heartbeat": (4, f"update jobs set heartbeat_at = now(), lease_until = now() where id in ({SOME.format('jobs')})"),
    "status of a source": (8, f"""
        update ingestion_sources set status = (array['processing', 'completed', 'failed'])[1 + floor(random() * 3)],
          error_message = %(s)s where id in ({SOME.format("ingestion_sources")})"""),
    "decide": (8, f"""
        update proposed_nodes set status = (array['accepted', 'rejected'])[1 + floor(random() * 2)]
        where id in ({SOME.format("proposed_nodes")})"""),
    "write the same": (2, f"update proposed_nodes set title = title where id in ({SOME.format('proposed_nodes')})"),
    "delete proposals": (7, f"delete from proposed_nodes where id in ({SOME.format('proposed_nodes')})"),
    "delete a job": (3, f"delete from jobs where id in ({SOME.format('jobs').replace('%(n)s', '1')})"),
    "delete a source": (
        4, f"delete from ingestion_sources where id in ({SOME.format('ingestion_sources').replace('%(n)s', '1')})"),
    "move proposals": (6, f"""
        update proposed_nodes set project_id = %(q)s where id in ({SOME.format("proposed_nodes")})"""),
    "move jobs": (3, f"update jobs set project_id = %(q)s where id in ({SOME.format('jobs')})"),
    "another id": (2, f"""
        update proposed_nodes set id = gen_random_uuid() where id in ({SOME.format("proposed_nodes")})"""),
    "away and back": (2, f"""
        with gone as (delete from jobs where id in ({SOME.format("jobs")}) returning *)
        insert into jobs (id, project_id, kind, title, status)
        select id, %(q)s, 'again', title, 'queued' from gone on conflict do nothing"""),
    "staff's": (2, f"""
        update jobs set staff = false,
          bom_id = case when bom_id is null then (select id from boms where project_id = %(p)s limit 1) end
        where id in ({SOME.format("jobs")})"""),
    "event": (5, """
        insert into enrichment_events (event_type, routing_key, bom_id, tenant_id, project_id, source, state, payload)
        select 'enrichment.progress', 'customer.enrichment.progress', b.id, b.organization_id, b.project_id, b.source,
          rowcast.enrichment_state(b), jsonb_build_object('components', (
            select coalesce(jsonb_agg(jsonb_build_object(
              'line_item_id', gen_random_uuid(), 'mpn', %(s)s::text, 'manufacturer', null, 'enrichment_data', null,
              'status', (array['enriched', 'failed'])[1 + n %% 2], 'error_message', null, 'updated_at', now())), '[]')
            from generate_series(1, %(n)s - 1) n))
        from boms b where b.project_id = %(p)s and b.source = 'customer'"""),
    "bulk of events": (0.4, """
        insert into enrichment_events (event_type, routing_key, bom_id, tenant_id, project_id, source, state)
        select 'enrichment.progress', 'customer.enrichment.progress', b.id, b.organization_id, b.project_id, b.source,
          rowcast.enrichment_state(b)
        from boms b, generate_series(1, 60 * %(n)s) where b.project_id = %(p)s and b.source = 'customer'"""),
    "role of a member": (1, """
        update project_members set role = (array['owner', 'editor', 'viewer'])[1 + floor(random() * 3)]
        where id = (select id from project_members where project_id = %(p)s order by created_at desc limit 1)"""),
    "wide body": (0.7, f"""
        update proposed_nodes set body = repeat('wide ', {WIDE // 5}) where id in
          ({SOME.format("proposed_nodes").replace("%(n)s", "1")})"""),
    "wide name": (0.5, f"""
        update ingestion_sources set error_message = repeat('wide ', {WIDE // 5}) where id in
          ({SOME.format("ingestion_sources").replace("%(n)s", "1")})"""),
    "narrow again": (1.2, """
        with a as (update ingestion_sources set error_message = null where length(error_message) > 1000)
        update proposed_nodes set body = null where length(body) > 1000"""),
    "bulk": (0.7, f"""
        insert into proposed_nodes (project_id, title, confidence) select %(p)s, %(s)s || n, 0.5
        from generate_series(1, 250 * %(n)s) n
        where (select count(*) from proposed_nodes where project_id = %(p)s) < {ROWS_LIMIT}"""),
    "bulk of all projects": (0.3, """
        update proposed_nodes set confidence = random() where id in
          (select id from proposed_nodes order by random() limit 300 for update skip locked)"""),
    "bulk decision": (0.7, """
        update proposed_nodes set status = 'accepted',
          project_id = case when random() < 0.1 then %(q)s else project_id end
        where id in (select id from proposed_nodes where project_id = %(p)s for update skip locked)"""),
    "bulk delete": (0.7, f"""
        delete from proposed_nodes where id in (
          select id from proposed_nodes where project_id = %(p)s order by created_at desc
          offset {ROWS_LIMIT // 4} for update skip locked)"""),
    "bulk of jobs and sources": (0.7, """
        with j as (delete from jobs where id in (select id from jobs where project_id = %(p)s order by created_at desc
          offset 60 for update skip locked))
        delete from ingestion_sources where id in (select id from ingestion_sources where project_id = %(p)s
          order by created_at desc offset 60 for update skip locked)"""),
}  # fmt: skip
"""By name, how often, relatively, and the statement."""
LAST_EVENTS = """
    insert into enrichment_events (event_type, routing_key, bom_id, tenant_id, project_id, source, state)
    select 'enrichment.completed', 'customer.enrichment.completed', b.id, b.organization_id, b.project_id, b.source,
      rowcast.enrichment_state(b)
    from boms b where b.source = 'customer'"""
"""Ends every BOM's enrichment."""
LAST_LEASES = """
    update jobs set heartbeat_at = now(), lease_until = now() + interval '1 hour'
    where status in ('running', 'paused', 'stalled')"""
"""No worker is lost while pages are compared with the tables: services end such jobs at a moment of their own."""


@dataclass
class Written:
    """What writers have done. ``refused`` counts what the database did not take: deadlocks, conflicts, outages."""

    transactions: int = 0
    rolled_back: int = 0
    refused: int = 0


class Writer:
    """One connection, one transaction after the other. Cancel :meth:`run` to end it; what is open is rolled back."""

    def __init__(self, stage: Stage, random_: random.Random, written: Written) -> None:
        self._stage = stage
        self._random = random_
        self._written = written
        self._kinds: list[tuple[float, Callable[[Database], Awaitable[None]]]] = [
            (60, self._one), (12, self._several), (6, self._rolled_back), (6, self._partly), (6, self._repeatable),
            (2, self._long), (4, self._immediate), (4, self._there_and_gone),
        ]  # fmt: skip

    async def run(self) -> None:
        while True:
            with suppress(psycopg.OperationalError):  # the database is down: try again
                async with await psycopg.AsyncConnection.connect(self._stage.facts.database_url) as database:
                    await self._write(database)
            self._written.refused += 1
            await asyncio.sleep(0.2)

    async def _write(self, database: Database) -> None:
        await database.execute("select setseed(%s)", [self._random.random()])
        await database.commit()
        weights = [weight for weight, _ in self._kinds]
        while True:
            [(_, transaction)] = self._random.choices(self._kinds, weights)
            try:
                await transaction(database)
            except (
                psycopg.errors.DeadlockDetected,
                psycopg.errors.SerializationFailure,
                psycopg.errors.IntegrityError,
            ):
                self._written.refused += 1
                await database.rollback()
            await asyncio.sleep(self._random.expovariate(1 / PAUSE_SECONDS))

    async def _deed(self, database: Database) -> None:
        names = list(DEEDS)
        [name] = self._random.choices(names, [weight for weight, _ in DEEDS.values()])
        values = {
            "p": self._random.choice(self._stage.projects),
            "q": self._random.choice(self._stage.projects),
            "n": self._random.choice((1, 1, 1, 2, 3, 8)),
            "s": f"{name} {self._random.getrandbits(32):x} {self._random.choice(TAILS)}",
        }
        await database.execute(DEEDS[name][1].encode(), values)

    async def _commit(self, database: Database) -> None:
        await database.commit()
        self._written.transactions += 1

    async def _one(self, database: Database) -> None:
        await self._deed(database)
        await self._commit(database)

    async def _several(self, database: Database) -> None:
        for _ in range(self._random.randint(2, 6)):
            await self._deed(database)
        await self._commit(database)

    async def _rolled_back(self, database: Database) -> None:
        await self._deed(database)
        await self._deed(database)
        await database.rollback()
        self._written.rolled_back += 1

    async def _partly(self, database: Database) -> None:
        """Some of it is rolled back to a savepoint."""
        await self._deed(database)
        await database.execute("savepoint here")
        await self._deed(database)
        await database.execute("rollback to here")
        await self._deed(database)
        await self._commit(database)

    async def _repeatable(self, database: Database) -> None:
        level = self._random.choice(("repeatable read", "serializable"))
        await database.execute(f"set transaction isolation level {level}".encode())
        await self._deed(database)
        await asyncio.sleep(self._random.random() * 0.2)
        await self._deed(database)
        await self._commit(database)

    async def _long(self, database: Database) -> None:
        await self._deed(database)
        await asyncio.sleep(self._random.uniform(0.5, 4))
        await self._deed(database)
        await self._commit(database)

    async def _immediate(self, database: Database) -> None:
        """The log is written with each statement instead of at commit, and its locks are held from there on."""
        await database.execute("set constraints all immediate")
        await self._deed(database)
        await self._deed(database)
        await self._commit(database)

    async def _there_and_gone(self, database: Database) -> None:
        """A row that is written, changed and deleted, each in a transaction of its own, in no time."""
        values = {"p": self._random.choice(self._stage.projects)}
        cursor = await database.execute(
            "insert into proposed_nodes (project_id, title) values (%(p)s, 'soon gone') returning id", values
        )
        row = await cursor.fetchone()
        await self._commit(database)
        await database.execute("update proposed_nodes set title = 'going' where id = %s", row)
        await self._commit(database)
        await database.execute("delete from proposed_nodes where id = %s", row)
        await self._commit(database)
