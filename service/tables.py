"""The tables that the project feed reads, in a database that may have made them before it knew of rowcast.

The rest of the service knows each table and column by one name, and each row with every column that the feed tells of.
Here a database's own names are turned into those, and what its rows lack is filled in. A deployer maps names in a TOML
file:

    [jobs]
    table = "ingestion_jobs"
    columns.title = "name"
    columns.progress_current = "done"
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Row = Mapping[str, Any]

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "ingestion_sources": ("id", "project_id", "created_at", "source_name", "status"),
    "jobs": ("id", "project_id", "created_at", "title", "status"),
    "proposed_nodes": ("id", "project_id", "created_at", "title"),
}
"""What a table must have to be told of at all."""

OPTIONAL: Mapping[str, Mapping[str, Any]] = {
    "ingestion_sources": {"updated_at": None, "error_message": None},
    "jobs": {
        "updated_at": None, "kind": "job", "attempt": 1, "error_message": None, "started_at": None,
        "finished_at": None,
        "cancel_requested_at": None, "source_id": None, "bom_id": None,
        "progress_stage": None, "progress_current": 0, "progress_total": None,
        "progress_message": None, "progress_updated_at": None, "pipeline": None, "staff": False,
    },
    "proposed_nodes": {
        "updated_at": None, "confidence": None, "status": "proposed", "job_id": None, "source_id": None,
    },
}  # fmt: skip
"""What it may have, and what is told where it has not; ``updated_at`` is ``created_at`` then."""

FALLBACK: Mapping[str, Mapping[str, Any]] = {
    "ingestion_sources": {"source_name": "Untitled", "status": "pending"},
    "jobs": {"title": "Untitled", "status": "queued"},
    "proposed_nodes": {"title": "Untitled"},
}
"""What is told for a null where messages have none. Optional columns have theirs above."""

TEXTS = (
    "id", "source_id", "job_id", "bom_id", "title", "status", "kind", "source_name", "error_message", "progress_stage",
    "progress_message",
)  # fmt: skip
"""What messages have as text; a database of its own may have numbers there."""
PROGRESS = ("progress_stage", "progress_current", "progress_total", "progress_message")
WHOLE = ("progress_current", "progress_total", "attempt")
EPOCH = "1970-01-01T00:00:00+00:00"


def in_sql(name: str) -> str:
    """A name as SQL reads it after a dot: without quotes it takes capitals for small letters."""
    return name if name == name.lower() else f'"{name}"'


@dataclass(frozen=True)
class Table:
    """``name`` is ours, ``there`` the database's; ``columns`` maps all known columns' names, ours to the database's."""

    name: str
    there: str
    columns: Mapping[str, str]

    @property
    def in_sql(self) -> str:
        return f"public.{in_sql(self.there)}"

    def column(self, name: str) -> str:
        """The database's column of our name, for SQL."""
        return in_sql(self.columns[name])

    @cached_property
    def _ours(self) -> Mapping[str, str]:
        return {there: ours for ours, there in self.columns.items() if there != ours}

    @cached_property
    def _nulls(self) -> Mapping[str, Any]:
        told = {**FALLBACK[self.name], **OPTIONAL[self.name]}
        return {name: value for name, value in told.items() if value is not None}

    @cached_property
    def _texts(self) -> Sequence[str]:
        return [name for name in TEXTS if name in self.columns]

    def changed(self, names: Iterable[str]) -> frozenset[str]:
        """Columns by our names."""
        return frozenset(self._ours.get(name, name) for name in names)

    def row(self, there: Row) -> Row:
        """A row of the database's as the feed reads it: our names, every column, ids and texts as text."""
        named = {self._ours.get(name, name): value for name, value in there.items()} if self._ours else there
        row = {**OPTIONAL[self.name], **named}
        for name, value in self._nulls.items():
            if row.get(name) is None:
                row[name] = value
        for name in self._texts:
            if isinstance(value := row.get(name), int | float):
                row[name] = str(value)
        row["created_at"] = row.get("created_at") or EPOCH
        row["updated_at"] = row["updated_at"] or row["created_at"]
        if self.name == "jobs":
            _complete_job(row)
        return row


def _complete_job(row: dict[str, Any]) -> None:
    for name in WHOLE:
        if isinstance(row[name], float):
            row[name] = int(row[name])
    if not isinstance(row["pipeline"], dict):
        row["pipeline"] = None
    if row["progress_updated_at"] is None and any(row[name] for name in PROGRESS):
        row["progress_updated_at"] = row["updated_at"]


@dataclass(frozen=True)
class Tables:
    """All of them, by our names and by the database's."""

    ours: Mapping[str, Table]

    @cached_property
    def there(self) -> Mapping[str, Table]:
        return {table.there: table for table in self.ours.values()}


def mapped(document: Mapping[str, Any]) -> Tables:
    """The tables as a TOML document maps them; what it leaves out has our names.

    Raises ValueError naming the table or column at fault, and what would be right.
    """
    for name in document:
        if name not in REQUIRED:
            raise ValueError(f"{name!r} is none of {', '.join(REQUIRED)}")
    tables = {name: _table(name, document.get(name, {})) for name in REQUIRED}
    _distinct("tables", {name: table.there for name, table in tables.items()})
    return Tables(tables)


def _table(name: str, said: Any) -> Table:
    if not isinstance(said, Mapping):
        shape = f'[{name}] and below it table = "your_name"'
        raise ValueError(f"{name}: must be a table, like {shape}")  # noqa: TRY004 - one error for all a file has wrong
    for word in said:
        if word not in ("table", "columns"):
            raise ValueError(f"{name}: {word!r} is neither 'table' nor 'columns'")
    known = (*REQUIRED[name], *OPTIONAL[name])
    columns = said.get("columns", {})
    if not isinstance(columns, Mapping):
        shape = f'columns.{known[-1]} = "your_name"'
        raise ValueError(f"{name}: columns must be a table, like {shape}")  # noqa: TRY004 - as above
    for column in columns:
        if column not in known:
            raise ValueError(f"{name}: there is no column {column!r} to map; it takes {', '.join(known)}")
    there = {column: _identifier(f"{name}.{column}", columns.get(column, column)) for column in known}
    _distinct(f"{name}: columns", there)
    return Table(name, _identifier(f"{name}.table", said.get("table", name)), there)


def _identifier(about: str, value: object) -> str:
    if not isinstance(value, str) or not value.isidentifier() or not value.isascii():
        raise ValueError(f"{about}: {value!r} must be a name of letters, digits and underscores, without a schema")
    return value


def _distinct(what: str, names: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for ours, there in names.items():
        if there in seen:
            raise ValueError(f"{what} {seen[there]} and {ours} can't both be {there!r}")
        seen[there] = ours


STANDARD = mapped({})
"""With rowcast's own names."""
