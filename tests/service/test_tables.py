"""Names as a deployer maps them, and rows of tables that were made before anybody knew of rowcast."""

import re
import tomllib
from typing import Any

import pytest

from service.changes.change import Change
from service.events.pipeline import progress
from service.events.project import ProjectFeed
from service.tables import OPTIONAL, REQUIRED, STANDARD, Row, mapped

AT = "2026-11-21T12:00:00+00:00"
LATER = "2026-11-21T12:00:01+00:00"

MAPPED = mapped(
    tomllib.loads("""
    [jobs]
    table = "tasks"
    columns.title = "name"
    columns.progress_current = "done"

    [ingestion_sources]
    columns = { source_name = "filename" }
    """)
)


def test_what_is_not_mapped_has_rowcasts_names() -> None:
    assert {name: table.there for name, table in MAPPED.ours.items()} == {
        "ingestion_sources": "ingestion_sources", "jobs": "tasks", "proposed_nodes": "proposed_nodes",
    }  # fmt: skip
    assert MAPPED.ours["jobs"].columns["title"] == "name"
    assert MAPPED.ours["jobs"].columns["status"] == "status"
    assert MAPPED.there["tasks"] is MAPPED.ours["jobs"]


def test_a_row_has_our_names_and_keeps_what_nobody_mapped() -> None:
    row = MAPPED.ours["jobs"].row(
        {"id": 7, "name": "N", "done": 3, "status": "running", "created_at": AT, "owner": "o"}
    )
    assert (row["id"], row["title"], row["progress_current"], row["owner"]) == ("7", "N", 3, "o")
    assert MAPPED.ours["jobs"].changed(["name", "done", "status"]) == {"title", "progress_current", "status"}


@pytest.mark.parametrize("name", REQUIRED)
def test_a_row_of_nothing_but_what_is_required_can_be_told(name: str) -> None:
    least: dict[str, Any] = {
        "id": 1,
        "project_id": "p",
        "created_at": AT,
        "title": "T",
        "source_name": "S",
        "status": "x",
    }
    row = STANDARD.ours[name].row({column: least[column] for column in REQUIRED[name]})
    assert row.keys() == {*REQUIRED[name], *OPTIONAL[name]}
    assert row["updated_at"] == AT
    feed = ProjectFeed()
    [told] = feed.translate(Change(1, 0, name, "1", "I", frozenset(), row, AT))
    assert told.type in feed.types
    rows: dict[str, list[Row]] = {table: [] for table in REQUIRED}
    assert sum(len(members) for members in feed.snapshot({**rows, name: [row]}).values()) == 1


@pytest.mark.parametrize("name", REQUIRED)
def test_nulls_everywhere_break_nothing(name: str) -> None:
    nulls: dict[str, Any] = dict.fromkeys((*REQUIRED[name], *OPTIONAL[name]))
    row = STANDARD.ours[name].row({**nulls, "id": 1})
    feed = ProjectFeed()
    assert feed.translate(Change(1, 0, name, "1", "I", frozenset(), row, AT))
    rows: dict[str, list[Row]] = {table: [] for table in REQUIRED}
    assert sum(len(members) for members in feed.snapshot({**rows, name: [row]}).values()) == 1


def test_a_row_that_has_everything_is_left_as_it_is() -> None:
    job = {
        "id": "j", "project_id": "p", "created_at": AT, "updated_at": LATER, "title": "T", "status": "running",
        "kind": "ingestion", "attempt": 2, "error_message": "e", "started_at": AT, "finished_at": AT,
        "cancel_requested_at": AT, "source_id": "s", "bom_id": "b", "progress_stage": "parsing", "progress_current": 1,
        "progress_total": 2, "progress_message": "m", "progress_updated_at": AT, "pipeline": {"stages": {}},
        "staff": True, "owner": "o",
    }  # fmt: skip
    assert STANDARD.ours["jobs"].row(job) == job


def test_numbers_in_the_place_of_texts_are_told_as_text() -> None:
    row = STANDARD.ours["ingestion_sources"].row({**dict.fromkeys(REQUIRED["ingestion_sources"]), "id": 7, "status": 3})
    assert (row["id"], row["status"]) == ("7", "3")


def test_a_job_without_the_time_of_its_progress_has_that_of_its_row() -> None:
    row = {"id": "j", "created_at": AT, "updated_at": LATER, "title": "T", "status": "running"}
    assert STANDARD.ours["jobs"].row(row)["progress_updated_at"] is None
    assert STANDARD.ours["jobs"].row({**row, "progress_current": 2.0})["progress_updated_at"] == LATER
    assert STANDARD.ours["jobs"].row({**row, "progress_current": 2.0})["progress_current"] == 2
    assert STANDARD.ours["jobs"].row({**row, "progress_stage": "parsing"})["progress_updated_at"] == LATER


def test_a_pipeline_that_is_no_object_counts_as_none() -> None:
    row = STANDARD.ours["jobs"].row({"id": "j", "created_at": AT, "title": "T", "status": "running", "pipeline": "[]"})
    assert row["pipeline"] is None
    assert progress(row, several=False).document_name == "T"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("[documents]", "'documents' is none of ingestion_sources, jobs, proposed_nodes"),
        ("jobs = 1", "jobs: must be a table, like [jobs]"),
        ("[jobs]\nname = 'x'", "jobs: 'name' is neither 'table' nor 'columns'"),
        ("[jobs]\ntable = 1", "jobs.table: 1 must be a name"),
        ("[jobs]\ntable = 'public.jobs'", "jobs.table: 'public.jobs' must be a name"),
        ("[jobs]\ncolumns = 'x'", "jobs: columns must be a table, like columns."),
        ("[jobs]\ncolumns.colour = 'x'", "jobs: there is no column 'colour' to map; it takes id, project_id,"),
        ("[jobs]\ncolumns.title = 'a,b'", "jobs.title: 'a,b' must be a name"),
        ("[jobs]\ncolumns.title = 'status'", "jobs: columns title and status can't both be 'status'"),
        ("[jobs]\ntable = 'proposed_nodes'", "tables jobs and proposed_nodes can't both be 'proposed_nodes'"),
    ],
)
def test_what_is_wrong_with_a_mapping(document: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}"):
        mapped(tomllib.loads(document))
