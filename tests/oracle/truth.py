"""What the database says in the end, for all keys: what pages should have."""

from collections import defaultdict
from dataclasses import dataclass

from tests.oracle import project
from tests.oracle.project import Database, Rows

NOTE_EVENTS = """
    create table public.oracle_events (bom text not null, event_id text not null, revision bigint not null,
      messages int not null);
    create function public.oracle_events() returns trigger language plpgsql as $$
    begin
      insert into public.oracle_events values (new.key, new.row_id, new.revision,
        1 + coalesce(jsonb_array_length(new.row -> 'payload' -> 'components'), 0));
      return null;
    end $$;
    create trigger oracle_events after insert on public.feed_changes for each row
      when (new.table_name = 'enrichment_events') execute function public.oracle_events();
"""
"""Remembers the revisions of append-only rows, which no table holds once the change log has been pruned."""


@dataclass(frozen=True)
class Event:
    """A row of enrichment_events, its revision, and how many messages it makes."""

    id: str
    revision: int
    messages: int


@dataclass(frozen=True)
class Truth:
    """``heads`` and ``rows`` by project, ``bom_heads`` and ``events`` by BOM."""

    heads: dict[str, int]
    rows: dict[str, Rows]
    bom_heads: dict[str, int]
    events: dict[str, list[Event]]


async def read(database: Database, projects: list[str], boms: list[str]) -> Truth:
    """Nobody may be writing any more."""
    events = defaultdict(list)
    cursor = await database.execute("select bom, event_id, revision, messages from oracle_events")
    for bom, id_, revision, messages in await cursor.fetchall():
        events[bom].append(Event(id_, revision, messages))
    return Truth(
        await _heads(database, "project", projects),
        {key: await project.rows(database, key) for key in projects},
        await _heads(database, "enrichment", boms),
        events,
    )


async def _heads(database: Database, feed: str, keys: list[str]) -> dict[str, int]:
    [heads] = await (await database.execute("select feed_heads(%s, %s::uuid[])", [feed, keys])).fetchone() or [{}]
    return dict(heads)
