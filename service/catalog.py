"""Looks at a database's own catalog, for `rowcast init`: reads it, in a transaction that can't write, and no rows."""

from pathlib import Path
from typing import Any

import psycopg

from service.adoption import MEMBERS, PROJECTS, Facts, Relation
from service.errors import CatalogError
from service.tables import Tables

LOOK = """
select json_build_object(
  'has_publication', exists (select from pg_publication where pubname = 'supabase_realtime'),
  'has_log', to_regclass('public.feed_changes') is not null,
  'has_tickets', to_regclass('public.stream_tickets') is not null,
  'has_users', to_regclass('auth.users') is not null,
  'relations', coalesce((
    select json_object_agg(c.relname, json_build_object(
      'kind', case when c.relkind = 'r' and exists (select from pg_inherits i where c.oid in (i.inhrelid, i.inhparent))
        then 'part' else c.relkind::text end,
      'columns', (
        select json_object_agg(a.attname, format_type(a.atttypid, null))
        from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
      'primary_key', (
        select coalesce(json_agg(a.attname order by k.n), '[]')
        from pg_index i, unnest(i.indkey) with ordinality k (attnum, n), pg_attribute a
        where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid and a.attnum = k.attnum),
      'rls', c.relrowsecurity,
      'has_policy', exists (select from pg_policy p where p.polrelid = c.oid and p.polcmd in ('r', '*')),
      'published', exists (
        select from pg_publication_tables p
        where p.pubname = 'supabase_realtime' and p.schemaname = 'public' and p.tablename = c.relname),
      'indexed', (
        select coalesce(json_agg(distinct a.attname), '[]')
        from pg_index i, pg_attribute a
        where i.indrelid = c.oid and a.attrelid = c.oid and a.attnum = i.indkey[0])))
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relname = any (%s) and c.relkind in ('r', 'p', 'v', 'm', 'f')
  ), '{}'))
"""
SHIPPED = (Path(__file__).parent / "migrations", Path(__file__).parent.parent / "supabase" / "migrations")
"""Where rowcast's own migrations are: in an installed package, and in a checkout."""


def look(database_url: str, tables: Tables) -> Facts:
    """What there is of the tables and what surrounds them. Raises :class:`CatalogError`."""
    names = [*(table.there for table in tables.ours.values()), PROJECTS, MEMBERS]
    try:
        with psycopg.connect(database_url, connect_timeout=10) as connection:
            connection.read_only = True
            row = connection.execute(LOOK, [names]).fetchone()
    except psycopg.Error as error:
        raise CatalogError(f"DATABASE_URL: {' '.join(str(error).split())}") from None
    assert row is not None, "it is one row"  # noqa: S101 - of an aggregate
    said: dict[str, Any] = row[0]
    relations = {name: Relation(**relation) for name, relation in said.pop("relations").items()}
    return Facts(relations=relations, **said)


def shipped(name: str) -> str:
    """The text of one of rowcast's own migrations, by the end of its name."""
    for folder in SHIPPED:
        for file in folder.glob(f"*_{name}.sql"):
            return file.read_text(encoding="utf-8")
    raise CatalogError(f"rowcast's own migration {name} is not where it should be: was the package installed whole?")
