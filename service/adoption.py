"""The way from direct mode to the change log: what a project's tables lack for it, and the migration that adds it.

Pure: ``catalog`` looks, ``cli`` writes. The migration touches nothing that is there but for triggers on the tables. It
logs the columns that the feed tells of, and no other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from service.findings import Finding, fail, ok, warn
from service.tables import OPTIONAL, REQUIRED, Table, Tables

MEMBERS = "project_members"
PROJECTS = "projects"


TYPES: Mapping[tuple[str, ...], Sequence[str]] = {
    ("timestamp with time zone",): (
        "created_at", "updated_at", "started_at", "finished_at", "progress_updated_at", "cancel_requested_at",
    ),
    ("bigint", "integer", "smallint", "numeric"): ("progress_current", "progress_total", "attempt"),
    ("double precision", "real", "numeric"): ("confidence",),
    ("jsonb", "json"): ("pipeline",),
    ("boolean",): ("staff",),
}  # fmt: skip
"""What columns should be, the best first; texts may be of any type that is told as text."""

KINDS: Mapping[str, str] = {
    "p": "a partitioned table",
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "part": "a part, or a parent, of another table",
}
"""What triggers of the change log can't be on."""


@dataclass(frozen=True)
class Relation:
    """A table as the database has it. ``kind`` is "r" or one of KINDS; ``columns`` are types by name."""

    kind: str
    columns: Mapping[str, str]
    primary_key: Sequence[str]
    rls: bool
    published: bool
    indexed: Sequence[str]
    """Columns that are the first of an index."""
    has_policy: bool = True
    """One that lets somebody read."""


@dataclass(frozen=True)
class Facts:
    """What was seen of a database. ``relations`` are those of the schema public that were asked about, by name."""

    relations: Mapping[str, Relation] = field(default_factory=dict)
    has_publication: bool = True
    has_log: bool = False
    has_tickets: bool = False
    has_users: bool = True


def findings(facts: Facts, tables: Tables) -> Iterator[Finding]:
    """What is there and what is lacking; a FAIL among them is in the migration's way."""
    if facts.has_log:
        advice = "There is nothing to do; `rowcast doctor` looks whether all is well."
        yield fail("change log", "there is one already", advice)
        return
    for table in tables.ours.values():
        relation = facts.relations.get(table.there)
        if relation is None:
            advice = f"If it is called something else, say so in ROWCAST_TABLES, under [{table.name}]."
            yield fail(table.there, "there is no such table", advice)
        else:
            yield from _of_table(table, relation)
    yield _of_access(facts)
    yield _of_members(facts)
    if not facts.has_publication:
        advice = "Is this a Supabase database? Without it streams are exact, and up to a second late."
        yield warn("publication", "there is no supabase_realtime", advice)


def _of_table(table: Table, relation: Relation) -> Iterator[Finding]:
    name, id_, project_id = table.there, table.columns["id"], table.columns["project_id"]
    if relation.kind != "r":
        advice = (
            "The log takes ordinary tables alone: name the one behind it in ROWCAST_TABLES, or stay with direct mode."
        )
        yield fail(name, f"it is {KINDS[relation.kind]}", advice)
        return
    if missing := [table.columns[column] for column in REQUIRED[table.name] if not _has(table, relation, column)]:
        advice = f"Add them, or name yours in ROWCAST_TABLES, under [{table.name}]."
        yield fail(name, f"it has no column {', '.join(missing)}", advice)
        return
    wrong = False
    if (kind := relation.columns[project_id]) != "uuid":
        wrong = True
        advice = (
            f"The key of a feed is a uuid: alter table {table.in_sql} "
            f"alter column {table.column('project_id')} type uuid using …;"
        )
        yield fail(name, f"{project_id} is {kind}", advice)
    if list(relation.primary_key) != [id_]:
        wrong = True
        key = ", ".join(relation.primary_key)
        seen = f"its primary key is {key}, and not {id_}" if key else "it has no primary key"
        advice = f"A change is told by the row's id: alter table {table.in_sql} add primary key ({table.column('id')});"
        yield fail(name, seen, advice)
    if not relation.rls:
        advice = f"alter table {table.in_sql} enable row level security; and a policy that says who reads what."
        yield warn(name, "row level security is off: everybody who is signed in reads it", advice)
    elif not relation.has_policy:
        advice = f"create policy … on {table.in_sql} for select to authenticated using (…);"
        yield warn(
            name, "row level security is on, and no policy lets anybody read it: pages show nothing of it", advice
        )
    if not relation.published:
        advice = f"alter publication supabase_realtime add table {table.in_sql}; (the change log does not need it)"
        yield warn(name, "it is not in the publication: direct mode hears of its changes when it reads again", advice)
    if odd := list(_odd(table, relation)):
        advice = "Pages are told nothing of a row whose values don't fit, or a wrong time."
        yield warn(name, f"types that may not fit: {', '.join(odd)}", advice)
    if project_id not in relation.indexed:
        columns = ", ".join(table.column(column) for column in ("project_id", "created_at", "id"))
        advice = f"create index on {table.in_sql} ({columns});"
        yield warn(name, f"no index begins with {project_id}: snapshots read the whole table", advice)
    if not wrong:
        lacking = [table.columns[column] for column in OPTIONAL[table.name] if not _has(table, relation, column)]
        told = f"; docs/adopting.md has what is told for {', '.join(lacking)}" if lacking else ""
        yield ok(name, f"can be tracked{told}")


def _odd(table: Table, relation: Relation) -> Iterator[str]:
    for types, names in TYPES.items():
        for name in names:
            there = table.columns.get(name)
            if there is not None and (kind := relation.columns.get(there, types[0])) not in types:
                yield f"{there} is {kind} and not {types[0]}"


def _of_access(facts: Facts) -> Finding:
    projects = facts.relations.get(PROJECTS)
    if projects is None:
        seen = "there is no table projects: the migration adds a view of that name"
        advice = (
            "It shows a user the projects of which they see every row there is. Where policies hide single rows, "
            "make a table of projects instead: the log is told to who may listen as a whole."
        )
        return warn("who may listen", seen, advice)
    if projects.columns.get("id") != "uuid":
        seen = f"projects.id is {projects.columns.get('id', 'not there')}, and must be uuid"
        return fail("who may listen", seen, "Who may read a project's row in projects listens to it.")
    if projects.kind == "r" and not projects.rls:
        seen = "row level security is off on projects: everybody who is signed in would listen to every project"
        advice = "alter table public.projects enable row level security; and a policy for its members."
        return fail("who may listen", seen, advice)
    return ok("who may listen", "whoever row level security lets read the project's row in projects")


def _of_members(facts: Facts) -> Finding:
    if tracks_members(facts):
        return ok(MEMBERS, "can be tracked: a removed member's streams end at once")
    seen = "none that can be tracked: a right that ends is noticed within a minute"
    return ok(MEMBERS, seen)


def tracks_members(facts: Facts) -> bool:
    """Whether there is a table of members that rowcast understands."""
    members = facts.relations.get(MEMBERS)
    return (
        members is not None
        and members.kind == "r"
        and len(members.primary_key) == 1
        and members.columns.get("project_id") == "uuid"
        and members.columns.get("user_id") == "uuid"
        and members.primary_key[0] not in ("project_id", "user_id")
    )


def _has(table: Table, relation: Relation, column: str) -> bool:
    return table.columns[column] in relation.columns


# S608: names are as a mapping has checked them, or quoted; and what comes of it is read by people before it is run.


def migration(facts: Facts, tables: Tables, change_log: str, doctor: str) -> str:
    """The migration, for review; ``change_log`` and ``doctor`` are rowcast's own of those names.

    ``facts`` have no finding that fails.
    """
    parts = [
        HEAD,
        _part("The change log itself, as rowcast's own migration has it", change_log),
        _part("What `rowcast doctor` asks", doctor),
        _part("Who may call it: the service alone", GRANTS),
    ]
    if not facts.has_tickets and facts.has_users:
        parts.append(_part("Tickets, with which pages open streams that can set no header", TICKETS))
    if PROJECTS not in facts.relations:
        parts.append(_part("Who may listen to a project", _projects(tables)))
    parts.append(_part("What a page begins with, and what else the service calls", _snapshot(facts, tables)))
    parts.append(_part("What Realtime publishes", PUBLICATION))
    parts.append(_part("What is tracked, last: from here on the service finds a change log", _tracking(facts, tables)))
    return "\n".join(parts)


def _part(title: str, text: str) -> str:
    return f"-- {title} {'-' * max(3, 115 - len(title))}\n\n{text.strip()}\n"


def _excepted(table: Table, relation: Relation) -> list[str]:
    """The columns that the feed does not tell of."""
    known = set(table.columns.values())
    return sorted(name for name in relation.columns if name not in known)


def _array(names: Iterable[str]) -> str:
    return f"array[{', '.join(_literal(name) for name in names)}]::text[]"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _tracking(facts: Facts, tables: Tables) -> str:
    lines = []
    for table in tables.ours.values():
        excepted = _array(_excepted(table, facts.relations[table.there]))
        lines.append(
            f"select rowcast.track({_literal(table.in_sql)}, feed => 'project', "
            f"key_column => '{table.columns['project_id']}',\n  except_columns => {excepted});"
        )
    if tracks_members(facts):
        known = {"project_id", "user_id", "role", *facts.relations[MEMBERS].primary_key}
        excepted = _array(sorted(name for name in facts.relations[MEMBERS].columns if name not in known))
        lines.append(
            "select rowcast.track('public.project_members', feed => 'project', key_column => 'project_id',\n"
            f"  except_columns => {excepted});"
        )
    return "\n".join([*lines, "notify pgrst, 'reload schema';"])


def _snapshot(facts: Facts, tables: Tables) -> str:
    rows = []
    for table in tables.ours.values():
        excepted = _array(_excepted(table, facts.relations[table.there]))
        created_at, id_, project_id = (table.column(name) for name in ("created_at", "id", "project_id"))
        rows.append(
            f"      '{table.name}', (\n"
            f"        select coalesce(json_agg(to_jsonb(t) - {excepted} order by t.{created_at}, t.{id_}), '[]')\n"
            f"        from {table.in_sql} t where t.{project_id} = project_snapshot.project_id)"
        )
    return SNAPSHOT.replace("ROWS", ",\n".join(rows))


def _projects(tables: Tables) -> str:
    mine = "\n      union all ".join(
        f"select t.{table.column('project_id')} as project_id from {table.in_sql} t" for table in tables.ours.values()
    )
    theirs = "\n    + ".join(
        f"(select count(*) from {table.in_sql} t where t.{table.column('project_id')} = rowcast_sees_all.project_id)"
        for table in tables.ours.values()
    )
    return VIEW.replace("MINE", mine).replace("THEIRS", theirs)


HEAD = """\
-- rowcast: the change log, for the tables that this project has. Written by `rowcast init`, for you to review.
--
-- It adds the schema rowcast, the table feed_changes and functions that only the service may call, and tracks your
-- tables with triggers, which log the columns that pages are told of. It changes no row and no column. Once it is
-- applied (`supabase db push`) the service finds the log by itself, and its pages come back as exact ones.
-- To take it back: select rowcast.untrack('public.…') for each table, and drop what this file creates.
"""

GRANTS = """\
revoke all on public.feed_changes from public, anon, authenticated, service_role;
grant select on public.feed_changes to service_role;
revoke all on all functions in schema rowcast from public;
revoke all on function
  public.feed_since(text, uuid, bigint, int), public.feed_heads(text, uuid[]), public.prune_feed_changes(interval, int)
from public, anon, authenticated, service_role;
grant execute on function
  public.feed_since(text, uuid, bigint, int), public.feed_heads(text, uuid[]), public.prune_feed_changes(interval, int)
to service_role;
"""

TICKETS = """\
create table public.stream_tickets (
  token_hash text primary key check (token_hash ~ '^[0-9a-f]{64}$'),
  user_id uuid not null references auth.users on delete cascade,
  project_ids uuid[] not null
    check (cardinality(project_ids) between 1 and 20 and array_position(project_ids, null) is null),
  expires_at timestamptz not null,
  token_exp timestamptz not null,
  created_at timestamptz not null default now()
);
create index stream_tickets_user_id on public.stream_tickets (user_id);
create index stream_tickets_expires_at on public.stream_tickets (expires_at);
alter table public.stream_tickets enable row level security;
revoke all on public.stream_tickets from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.stream_tickets to service_role;
"""

VIEW = """\
-- Whoever may read a project's row here listens to all of the project: the log holds whole rows, to which no policy
-- applies. There is no table of projects, so this shows a user those of which your policies show them every row there
-- is. It is asked anew every minute; where your policies hide single rows, one written in between can be told to
-- whoever saw all before. A project without rows is shown to nobody. Better: a table of projects of your own, with row
-- level security, in its place.
create function public.rowcast_sees_all(project_id uuid, rows bigint) returns boolean
language sql stable security definer set search_path = '' as $$
  select rows > 0 and rows =
    THEIRS
$$;
create view public.projects with (security_invoker = true) as
  select seen.project_id as id, null::uuid as organization_id
  from (
    select mine.project_id, count(*) as rows
    from (
      MINE
    ) mine group by mine.project_id) seen
  where public.rowcast_sees_all(seen.project_id, seen.rows);
revoke all on public.projects from public, anon, authenticated, service_role;
grant select on public.projects to authenticated, service_role;
revoke all on function public.rowcast_sees_all(uuid, bigint) from public, anon, authenticated, service_role;
grant execute on function public.rowcast_sees_all(uuid, bigint) to authenticated, service_role;
"""

SNAPSHOT = """\
create function public.project_snapshot(project_id uuid)
returns json language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
  select json_build_object(
    'head', rowcast.head('project', project_snapshot.project_id),
    'rows', json_build_object(
ROWS))
$$;
comment on function public.project_snapshot(uuid) is
  'A project as of one moment: {head, rows: {ingestion_sources, jobs, proposed_nodes}}, as in the log, oldest first.';
-- The service looks for jobs whose worker is lost. These jobs have no leases, so there are none.
create function public.stall_jobs(batch int default 1000) returns int language sql set search_path = '' as 'select 0';
revoke all on function public.project_snapshot(uuid), public.stall_jobs(int)
  from public, anon, authenticated, service_role;
grant execute on function public.project_snapshot(uuid), public.stall_jobs(int) to service_role;
"""

PUBLICATION = """\
do $$
begin
  if exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables) then
    alter publication supabase_realtime add table public.feed_changes;
  end if;
end $$;
"""
