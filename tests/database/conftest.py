"""Connections to a migrated database, a tracked table to play with, and the replication stream as judge."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import TupleRow

from devstack.postgres import Postgres
from devstack.realtime import pgoutput

Connection = psycopg.Connection[TupleRow]

# `note` is a column like any other; `secret` is excepted from the log.
THINGS = """
    create table public.{name} (
        id uuid primary key default gen_random_uuid(), project_id uuid, n int not null default 0,
        note text, secret text);
    alter table public.{name} replica identity full;
    alter publication supabase_realtime add table public.{name};
"""
TRACK = "select rowcast.track('public.{name}', 'project', key_column => 'project_id', except_columns => '{{secret}}')"


@pytest.fixture
def connect(database: str) -> Iterator[Callable[[], Connection]]:
    """Opens connections to the test's database; all are closed at the end of the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(psycopg.connect(database))


@pytest.fixture
def db(database: str) -> Iterator[Connection]:
    """A connection as the superuser, on which each statement is a transaction of its own."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def shared(postgres: Postgres) -> Iterator[Connection]:
    """A connection to a migrated database that nobody changes."""
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("create database shared template template_rowcast")
    with psycopg.connect(postgres.url("shared")) as connection:
        yield connection


@pytest.fixture
def sandbox(shared: Connection) -> Iterator[Connection]:
    """`shared`, in a transaction that is rolled back: for tests of what happens before any commit."""
    with shared.transaction(force_rollback=True):
        yield shared


@pytest.fixture
def things(db: Connection) -> Connection:
    """`db`, with an untracked table `plain_things` and its tracked twin `things`."""
    for name in ("things", "plain_things"):
        db.execute(THINGS.format(name=name))
    db.execute(TRACK.format(name="things"))
    return db


@pytest.fixture
def project(db: Connection) -> UUID:
    """An organization's empty project."""
    return new_project(db)


def new_project(db: Connection) -> UUID:
    organization = one(db, "insert into organizations (name) values ('O') returning id")
    project = one(db, "insert into projects (organization_id, name) values (%s, 'P') returning id", organization)
    assert isinstance(project, UUID)
    return project


def new_user(db: Connection, project: UUID | None = None, role: str = "viewer") -> UUID:
    user = uuid4()
    db.execute("insert into auth.users (id, email) values (%s, %s)", [user, f"{user}@example.org"])
    if project:
        db.execute("insert into project_members (project_id, user_id, role) values (%s, %s, %s)", [project, user, role])
    return user


def new_bom(db: Connection, project: UUID, source: str = "customer") -> UUID:
    """A BOM of five items."""
    bom = one(
        db,
        "insert into boms (project_id, organization_id, filename, source, total_items) "
        "select id, organization_id, 'b.csv', %s, 5 from projects where id = %s returning id",
        source,
        project,
    )
    assert isinstance(bom, UUID)
    return bom


def new_event(db: Connection, bom: UUID) -> None:
    db.execute(
        "insert into enrichment_events (event_type, routing_key, bom_id, tenant_id, project_id, source) "
        "select 'enrichment.started', source || '.enrichment.started', id, organization_id, project_id, source "
        "from boms where id = %s",
        [bom],
    )


def new_ticket(db: Connection, token_hash: str, projects: str = "array[gen_random_uuid()]") -> None:
    """A ticket of a new user; both are SQL expressions."""
    db.execute(
        "insert into stream_tickets (token_hash, user_id, project_ids, expires_at, token_exp) "
        f"values ({token_hash}, %s, {projects}, now(), now())",
        [new_user(db)],
    )


def one(db: Connection, query: str, *parameters: object) -> object:
    """The single value that a query gives."""
    row = db.execute(query, parameters).fetchone()
    assert row is not None
    value: object = row[0]
    return value


@contextmanager
def acting_as(db: Connection, role: str, user: UUID | None = None) -> Iterator[Connection]:
    """In a transaction, `db` acts as a role of the API, the way PostgREST does it."""
    with db.transaction():
        db.execute("select set_config('request.jwt.claim.sub', %s, true)", [str(user or "")])
        db.execute(f"set local role {role}")
        yield db


@dataclass(frozen=True)
class Logged:
    """What the replication stream says about one row of the log."""

    key: str
    revision: int
    prev: int
    table: str
    row_id: str
    op: str
    changed: frozenset[str]


@dataclass(frozen=True)
class Transaction:
    """One transaction of the stream: what it did to watched tables, and what it logged, each in order."""

    expected: tuple[tuple[str, str, str, str, frozenset[str]], ...]
    logged: tuple[Logged, ...]


class Judge:
    """Reads what was committed, in commit order, from a replication slot of its own.

    `expected` is worked out from the changes of the tables, so the log is held against what really happened and not
    against what a writer believes.
    """

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._slot = f"judge_{uuid4().hex}"
        self._relations: dict[int, pgoutput.Relation] = {}
        self._heads: dict[str, int] = {}
        db.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [self._slot])

    def close(self) -> None:
        self._db.execute("select pg_drop_replication_slot(%s)", [self._slot])

    def read(self) -> list[Transaction]:
        """The transactions committed since the last reading."""
        messages = self._db.execute(
            "select data from pg_logical_slot_get_binary_changes(%s, null, null, 'proto_version', '1', "
            "'publication_names', 'supabase_realtime')",
            [self._slot],
        )
        transactions = []
        expected: list[tuple[str, str, str, str, frozenset[str]]] = []
        logged: list[Logged] = []
        for (data,) in messages:
            match pgoutput.decode(data):
                case pgoutput.Relation() as relation:
                    self._relations[relation.oid] = relation
                case pgoutput.Insert(oid, new) if self._relations[oid].table == "feed_changes":
                    logged.append(_logged(self._named(oid, new)))
                case pgoutput.Insert(oid, new):
                    expected += self._expect(oid, {}, self._named(oid, new))
                case pgoutput.Update(oid, old, new):
                    assert old is not None, "watched tables have replica identity full"
                    expected += self._expect(oid, self._named(oid, old), self._named(oid, new))
                case pgoutput.Delete(oid, old) if self._relations[oid].table != "feed_changes":
                    expected += self._expect(oid, self._named(oid, old), {})
                case pgoutput.Commit():
                    transactions.append(Transaction(tuple(expected), tuple(logged)))
                    expected, logged = [], []
        return transactions

    def rule(self) -> list[Transaction]:
        """Reads on, and fails unless the log is what the tables' changes ask for, in commit order, every link held."""
        transactions = self.read()
        for transaction in transactions:
            for change in transaction.logged:
                head = self._heads.get(change.key, 0)
                assert change.revision > head, f"{change} was committed after {head}"
                assert change.prev in (head, -1), f"{change} should follow {head}"
                self._heads[change.key] = change.revision
            told = tuple((c.table, c.key, c.op, c.row_id, c.changed) for c in transaction.logged)
            assert told == tuple(e for e in transaction.expected if e[0] == "things")
        return transactions

    def _named(self, oid: int, values: pgoutput.Values) -> dict[str, pgoutput.Value]:
        return {column.name: value for column, value in zip(self._relations[oid].columns, values, strict=True)}

    def _expect(
        self, oid: int, old: dict[str, pgoutput.Value], new: dict[str, pgoutput.Value]
    ) -> Iterator[tuple[str, str, str, str, frozenset[str]]]:
        table = self._relations[oid].table
        where = [(row.get("project_id"), row.get("id")) for row in (old, new)]
        if old and new and where[0] == where[1]:
            changed = frozenset(name for name in new if new[name] != old[name]) - {"secret"}
            if changed and where[0][0] is not None:
                yield (table, str(where[1][0]), "U", str(where[1][1]), changed)
            return
        if old and where[0][0] is not None:
            yield (table, str(where[0][0]), "D", str(where[0][1]), frozenset())
        if new and where[1][0] is not None:
            yield (table, str(where[1][0]), "I", str(where[1][1]), frozenset())


def _logged(row: dict[str, pgoutput.Value]) -> Logged:
    changed = str(row["changed"] or "{}").strip("{}")
    return Logged(
        key=str(row["key"]),
        revision=int(str(row["revision"])),
        prev=int(str(row["prev"])),
        table=str(row["table_name"]),
        row_id=str(row["row_id"]),
        op=str(row["op"]),
        changed=frozenset(changed.split(",")) - {""},
    )


@pytest.fixture
def judge(things: Connection) -> Iterator[Judge]:
    """The judge of what is done to `things`, from now on."""
    judge = Judge(things)
    yield judge
    judge.close()
