"""What `rowcast doctor` looks at in a database without a change log: what direct mode needs. See docs/adopting.md."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import httpx

from service.access.rest import Rest
from service.changes.change import FeedKey, Reader
from service.changes.direct import nudges
from service.changes.realtime import READY_SECONDS, RealtimeGeneration
from service.changes.rows import Rows
from service.errors import DatabaseRefused, DatabaseUnavailable, in_words
from service.findings import Finding, fail, ok, warn
from service.settings import Settings
from service.tables import Table

MIGRATE = "Apply rowcast's supabase/migrations: `supabase link`, then `supabase db push`."


class Listening:
    """Hears one key."""

    def __init__(self) -> None:
        self.subscribed = asyncio.Event()
        self.heard = asyncio.Event()

    def ready(self, _key: FeedKey) -> None:
        self.subscribed.set()

    def record(self, _key: FeedKey, _record: Mapping[str, Any] | None) -> None:
        self.heard.set()


async def comes(event: asyncio.Event, generation: RealtimeGeneration, seconds: float) -> bool:
    """Whether ``event`` happens before the generation ends, within ``seconds``."""
    waiting = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(generation.ended())]
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
    return event.is_set()


async def examine_direct(client: httpx.AsyncClient, settings: Settings) -> AsyncIterator[Finding]:
    """What direct mode needs; see docs/adopting.md."""
    seen = "the database has none: direct mode, streams are not exact"
    yield warn("change log", seen, "`rowcast init` writes the migration that makes them exact.")
    as_service = Rest(client, settings.supabase_url, settings.secret_key)

    async def ask(table: str, parameters: Mapping[str, str], reader: Reader | None) -> object:  # noqa: ARG001 - the service asks
        return await as_service.ask("GET", table, parameters)

    try:
        await Rows(ask, settings.tables).check()
    except (DatabaseRefused, DatabaseUnavailable) as error:
        advice = f"docs/adopting.md has what each must have. In a database that has none of them: {MIGRATE}"
        yield fail("tables", str(error), advice)
        return
    tables = list(settings.tables.ours.values())
    yield ok("tables", f"can be read: {_names(tables)}")
    anybody = Rest(client, settings.supabase_url, settings.publishable_key)
    if shown := [table for table in tables if await _shows_rows(anybody, table.there)]:
        advice = f"alter table {shown[0].in_sql} enable row level security; and a policy that says who reads what."
        yield warn("row level security", f"whoever has the publishable key reads: {_names(shown)}", advice)
    else:
        yield ok("row level security", "nothing is shown to whoever is not signed in")
    listening = Listening()
    generation = RealtimeGeneration(settings.supabase_url, settings.secret_key, listening, nudges(settings.tables))
    yield await _subscribes(generation, listening, tables, settings.reread_seconds)


def _names(tables: Sequence[Table]) -> str:
    return ", ".join(table.there for table in tables)


async def _shows_rows(rest: Rest, table: str) -> bool:
    try:
        return bool(await rest.ask("GET", table, {"limit": "1"}))
    except (DatabaseRefused, DatabaseUnavailable):
        return False


async def _subscribes(
    generation: RealtimeGeneration, listening: Listening, tables: Sequence[Table], seconds: float
) -> Finding:
    about, slower = "Realtime", f"Until then changes are up to {seconds:g} s late."
    try:
        await generation.open()
        generation.join(FeedKey("project", str(uuid4())))
        if await comes(listening.subscribed, generation, READY_SECONDS):
            return ok(about, f"tells of {_names(tables)}")
    except Exception as error:  # noqa: BLE001 - whatever stops the connection is what there is to tell
        advice = f"Is Realtime enabled for the project, and are WebSockets let through? {slower}"
        return warn(about, f"can't connect: {in_words(error)}", advice)
    finally:
        await generation.close()
    all_of_them = ", ".join(table.in_sql for table in tables)
    advice = f"alter publication supabase_realtime add table {all_of_them}; A view can't be in it. {slower}"
    return warn(about, "does not subscribe to the tables", advice)
