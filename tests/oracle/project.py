"""The project feed as the oracle knows it: a reducer of its messages, and the tables' own word in the same shape.

Nothing here comes from the service. A row is a dict of the wire's fields; a job makes two, ``jobs`` and ``progress``,
because its messages tell them apart. Rows are known by (kind, id).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg.rows import TupleRow

Row = dict[str, Any]
Rows = dict[tuple[str, str], Row]
Database = psycopg.AsyncConnection[TupleRow]

FEED = "project"
KINDS_OF_TYPES = {
    "status_update": "sources",
    "source_deleted": "sources",
    "progress_update": "progress",
    "job_update": "jobs",
    "job_deleted": "jobs",
    "new_proposal": "proposals",
    "proposal_update": "proposals",
    "proposal_deleted": "proposals",
}


def stream_path(key: str) -> str:
    return f"/api/projects/{key}/status"


def tickets_path(key: str) -> str:
    return f"/api/projects/{key}/stream-tickets"


def snapshot_path(key: str) -> str:
    return f"/api/projects/{key}/snapshot"


class State:
    """What a page knows that reduces the feed's messages. It bears messages that come again."""

    def __init__(self) -> None:
        self.rows: Rows = {}
        self._arriving: Rows = {}

    def apply(self, message: Mapping[str, Any]) -> None:
        """Raises KeyError for a type or a field that the contract does not have."""
        row = {name: value for name, value in message.items() if name != "type"}
        match message["type"]:
            case "snapshot":
                self._snapshot(message)
            case "progress_update":
                self.rows["progress", message["jobId"]] = message["progress"]
            case "status_update":
                self.rows["sources", message["sourceId"]] = row
            case "job_update":
                self.rows["jobs", message["jobId"]] = row
            case "new_proposal" | "proposal_update":
                self.rows["proposals", message["proposalId"]] = row
            case "source_deleted":
                self.rows.pop(("sources", message["sourceId"]), None)
            case "job_deleted":
                self.rows.pop(("jobs", message["jobId"]), None)
                self.rows.pop(("progress", message["jobId"]), None)
            case "proposal_deleted":
                self.rows.pop(("proposals", message["proposalId"]), None)
            case unknown:
                raise KeyError(unknown)

    def _snapshot(self, message: Mapping[str, Any]) -> None:
        """Counts once its last part is there."""
        if message["part"] == 1:
            self._arriving = {}
        for source in message["sources"]:
            self._arriving["sources", source["sourceId"]] = source
        for proposal in message["proposals"]:
            self._arriving["proposals", proposal["proposalId"]] = proposal
        for job in message["jobs"]:
            self._arriving["jobs", job["jobId"]] = {name: value for name, value in job.items() if name != "progress"}
            if job["progress"] is not None:
                self._arriving["progress", job["jobId"]] = job["progress"]
        if message["last"]:
            self.rows, self._arriving = self._arriving, {}


# The tables' own word. `t` is a row of the table, or the log's image of one.

_WHEN = """to_char({} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


def _shape(**fields: str) -> str:
    return f"jsonb_build_object({', '.join(f'{name!r}, {sql}' for name, sql in fields.items())})"


SHAPES = {
    "sources": _shape(
        sourceId="t.id", status="t.status", sourceName="t.source_name", updatedAt=_WHEN.format("t.updated_at"),
        errorMessage="t.error_message",
    ),
    "jobs": _shape(
        jobId="t.id", kind="t.kind", title="t.title", status="t.status", attempt="t.attempt",
        errorMessage="t.error_message", createdAt=_WHEN.format("t.created_at"),
        startedAt=_WHEN.format("t.started_at"), finishedAt=_WHEN.format("t.finished_at"),
        cancelRequested="t.cancel_requested_at is not null", sourceId="t.source_id", bomId="t.bom_id",
    ),
    "progress": _shape(
        stage="t.progress_stage", current="t.progress_current", total="t.progress_total",
        message="t.progress_message", timestamp="extract(epoch from t.progress_updated_at) * 1000",
        percent="case when t.progress_total > 0 then least(100.0 * t.progress_current / t.progress_total, 100) end",
        etaSeconds="null",
    ),
    "proposals": _shape(
        proposalId="t.id", title="t.title", confidence="t.confidence", createdAt=_WHEN.format("t.created_at"),
        status="t.status", jobId="t.job_id", sourceId="t.source_id", updatedAt=_WHEN.format("t.updated_at"),
    ),
}  # fmt: skip
TABLES = {"sources": "ingestion_sources", "jobs": "jobs", "progress": "jobs", "proposals": "proposed_nodes"}
SHOWN = {"jobs": "not t.staff", "progress": "not t.staff and t.progress_updated_at is not null"}
"""Which rows of a kind pages are shown; all of the others."""
MAY_LACK = {"proposals": frozenset({"updatedAt"})}
"""Fields that a page need not have of a row: new_proposal has no updatedAt."""
MAY_DIFFER = {"jobs": frozenset({"updatedAt"})}
"""Fields that may be older than the row: updatedAt alone is no change of a job."""
NEAR = {"timestamp": 1.0, "percent": 0.051}
"""Fields that are rounded on their way, and by how much at most."""


async def rows(database: Database, key: str) -> Rows:
    """What a page of the key should show."""
    found: Rows = {}
    for kind, shape in SHAPES.items():
        query = (
            f"select t.id::text, {shape} from {TABLES[kind]} t where t.project_id = %s and {SHOWN.get(kind, 'true')}"
        )
        cursor = await database.execute(query.encode(), [key])
        found |= {(kind, id_): row for id_, row in await cursor.fetchall()}
    return found


async def told_up_to(
    database: Database, key: str, revision: int, recent: int
) -> dict[tuple[str, str], list[Row | None]]:
    """What a page that knows everything up to ``revision`` may show of the rows last changed before it.

    For each row among the ``recent`` newest changes up to ``revision``: the newest of these and all that came later, in
    the shape of the wire, None where the row is not shown.
    """
    found: dict[tuple[str, str], list[Row | None]] = {}
    for kind, shape in SHAPES.items():
        table = TABLES[kind]
        query = f"""
            with last as (
              select row_id, max(revision) as revision from (
                select * from feed_changes where feed = %(feed)s and key = %(key)s and revision <= %(revision)s
                order by revision desc limit %(recent)s) newest
              where table_name = %(table)s group by row_id)
            select c.row_id, case when c.op <> 'D' and {SHOWN.get(kind, "true")} then {shape} end
            from last join feed_changes c on c.feed = %(feed)s and c.key = %(key)s and c.table_name = %(table)s
                                         and c.row_id = last.row_id and c.revision >= last.revision
            cross join lateral jsonb_populate_record(null::{table}, c.row) t
            order by c.revision"""
        values = {"feed": FEED, "key": key, "revision": revision, "recent": recent, "table": table}
        cursor = await database.execute(query.encode(), values)
        for id_, row in await cursor.fetchall():
            found.setdefault((kind, id_), []).append(row)
    return found


def agrees(kind: str, told: Row | None, row: Row | None) -> bool:
    """Whether what a page shows of a row is what the database says of it."""
    if told is None or row is None:
        return told is row
    lacking, unknown = row.keys() - told.keys(), told.keys() - row.keys()
    return (
        lacking <= MAY_LACK.get(kind, set())
        and unknown == MAY_DIFFER.get(kind, set())
        and all(_same(name, told[name], row[name]) for name in told.keys() & row.keys())
    )


def _same(name: str, told: Any, is_: Any) -> bool:
    if name in NEAR and told is not None and is_ is not None:
        return abs(told - is_) <= NEAR[name]
    return bool(told == is_)


def lacks(told: Rows, is_: Rows, kinds: Iterable[str]) -> list[str]:
    """The rows of these kinds that a page shows otherwise than the database has them, in words."""
    return [
        f"{kind} {id_} is {short(is_.get((kind, id_)))}, told was {short(told.get((kind, id_)))}"
        for kind, id_ in sorted(told.keys() | is_.keys())
        if kind in kinds and not agrees(kind, told.get((kind, id_)), is_.get((kind, id_)))
    ]


def short(row: Any) -> str:
    """For people: long runs of one character are cut."""
    return re.sub(r"(.)\1{50,}", r"\1…", repr(row))[:800]
