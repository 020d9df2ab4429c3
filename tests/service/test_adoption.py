"""What `rowcast init` says of a database, and what it writes."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace

import pytest

from service.adoption import MEMBERS, PROJECTS, TYPES, Facts, Relation, findings, migration, tracks_members
from service.findings import Level
from service.tables import OPTIONAL, REQUIRED, STANDARD, Tables, mapped

UUIDS = ("id", "project_id", "source_id", "user_id")


def relation(*columns: str, **fields: object) -> Relation:
    best = {name: types[0] for types, names in TYPES.items() for name in names}
    types = {name: "uuid" if name in UUIDS else best.get(name, "text") for name in columns}
    return replace(Relation("r", types, ["id"], True, True, ["id", "project_id"]), **fields)  # type: ignore[arg-type]


JOBS = relation(*REQUIRED["jobs"], *OPTIONAL["jobs"])
WELL: Mapping[str, Relation] = {
    **{name: relation(*REQUIRED[name], *OPTIONAL[name]) for name in REQUIRED},
    PROJECTS: relation("id", "name"),
    MEMBERS: relation("id", "project_id", "user_id", "role", "invited_by_mail"),
}


def told(changed: Mapping[str, Relation | None], tables: Tables = STANDARD, **facts: bool) -> list[str]:
    """Level and text of every finding that is not well."""
    relations = {name: one for name, one in {**WELL, **changed}.items() if one is not None}
    found = findings(Facts(relations, **facts), tables)
    return [f"{one.level.value} {one.about}: {one.seen} → {one.advice}" for one in found if one.level is not Level.OK]


def test_a_project_that_is_well_can_be_tracked() -> None:
    assert told({}) == []


@pytest.mark.parametrize(
    ("changed", "begins", "advice"),
    [
        ({"jobs": None}, "FAIL jobs: there is no such table", "ROWCAST_TABLES, under [jobs]"),
        ({"jobs": relation("id", kind="v")}, "FAIL jobs: it is a view", "name the one behind it"),
        ({"jobs": relation("id", "project_id", "title")}, "FAIL jobs: it has no column created_at, status", "[jobs]"),
        (
            {"jobs": replace(JOBS, columns={**JOBS.columns, "project_id": "bigint"})},
            "FAIL jobs: project_id is bigint",
            "alter column project_id type uuid",
        ),
        (
            {"jobs": relation(*REQUIRED["jobs"], primary_key=["id", "project_id"])},
            "FAIL jobs: its primary key is id, project_id",
            "add primary key (id)",
        ),
        ({"jobs": relation(*REQUIRED["jobs"], primary_key=[])}, "FAIL jobs: it has no primary key", "add"),
        ({"jobs": relation(*REQUIRED["jobs"], rls=False)}, "warn jobs: row level security is off", "enable row"),
        (
            {"jobs": relation(*REQUIRED["jobs"], has_policy=False)},
            "warn jobs: row level security is on, and no policy lets anybody read it",
            "create policy",
        ),
        (
            {"jobs": relation(*REQUIRED["jobs"], published=False)},
            "warn jobs: it is not in the publication",
            "add table",
        ),
        (
            {"jobs": replace(JOBS, columns={**JOBS.columns, "created_at": "date", "attempt": "text"})},
            "warn jobs: types that may not fit: created_at is date and not timestamp with time zone, attempt is text",
            "a wrong time",
        ),
        (
            {"jobs": relation("id", kind="part")},
            "FAIL jobs: it is a part, or a parent, of another table",
            "stay with direct mode",
        ),
        ({"jobs": relation(*REQUIRED["jobs"], indexed=["id"])}, "warn jobs: no index begins with project_id", "create"),
        ({PROJECTS: None}, "warn who may listen: there is no table projects", "every row"),
        ({PROJECTS: relation("id", rls=False)}, "FAIL who may listen: row level security is off", "enable row"),
        ({PROJECTS: relation("name")}, "FAIL who may listen: projects.id is not there, and must be uuid", "projects"),
    ],
)
def test_what_is_lacking_is_told_with_what_to_do(
    changed: Mapping[str, Relation | None], begins: str, advice: str
) -> None:
    [line] = told(changed)
    assert line.startswith(begins)
    assert advice in line


def test_a_database_that_has_a_log_needs_nothing() -> None:
    [line] = told({}, has_log=True)
    assert line.startswith("FAIL change log: there is one already")


def test_a_database_without_realtime_can_be_tracked_all_the_same() -> None:
    [line] = told({}, has_publication=False)
    assert line.startswith("warn publication: there is no supabase_realtime")


@pytest.mark.parametrize(
    ("members", "tracked"),
    [
        (None, False),
        (relation("id", "project_id", "user_id"), True),
        (relation("id", "project_id"), False),
        (relation("project_id", "user_id", primary_key=["project_id", "user_id"]), False),
        (relation("id", "project_id", "user_id", kind="v"), False),
    ],
)
def test_a_table_of_members_is_tracked_if_it_can_be(members: Relation | None, tracked: bool) -> None:
    relations = {**WELL, MEMBERS: members}
    assert tracks_members(Facts({name: one for name, one in relations.items() if one is not None})) is tracked


def written(facts: Facts, tables: Tables = STANDARD) -> str:
    return migration(facts, tables, "-- THE LOG\n", "-- THE DOCTOR\n")


def test_tracking_comes_last_and_logs_what_the_feed_tells_of_and_no_more() -> None:
    jobs = relation(*REQUIRED["jobs"], "payload", "owner's mail")
    text = written(Facts({**WELL, "jobs": jobs}))
    assert text.index("-- THE LOG") < text.index("-- THE DOCTOR") < text.index("select rowcast.track(")
    tracking = text[text.index("select rowcast.track(") :]
    assert tracking.count("rowcast.track(") == 4
    assert "except_columns => array['owner''s mail', 'payload']::text[]" in tracking
    assert "except_columns => array['invited_by_mail']::text[]" in tracking
    assert "to_jsonb(t) - array['owner''s mail', 'payload']::text[]" in text
    assert tracking.rstrip().endswith("notify pgrst, 'reload schema';")


def test_mapped_names_are_the_databases_and_the_snapshots_ours() -> None:
    tables = mapped(tomllib.loads('[jobs]\ntable = "tasks"\ncolumns.project_id = "project"\ncolumns.id = "task_id"'))
    tasks = relation(*("project" if name == "project_id" else name for name in REQUIRED["jobs"]))
    text = written(Facts({**WELL, "tasks": tasks}), tables)
    assert "rowcast.track('public.tasks', feed => 'project', key_column => 'project'," in text
    assert "'jobs', (" in text
    assert "from public.tasks t where t.project = project_snapshot.project_id" in text


def test_what_is_there_is_not_made_again() -> None:
    text = written(Facts(WELL, has_tickets=True))
    assert "create view public.projects" not in text
    assert "create table public.stream_tickets" not in text
    without = {name: one for name, one in WELL.items() if name != PROJECTS}
    text = written(Facts(without))
    assert "create view public.projects" in text
    assert "create table public.stream_tickets" in text
