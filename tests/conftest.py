"""The real parts, started once a run: PostgreSQL, and on demand a whole devstack."""

import asyncio
import contextlib
import io
import itertools
import random
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

import psycopg
import pytest

from devstack.lite import Keys, Lite
from devstack.postgres import Postgres
from devstack.stack import BOOTSTRAP, run_script
from devstack.state import OTHER_PORTS, free_port

ROOT = Path(__file__).parent.parent
TEMPLATE = "template_rowcast"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Shows what a coroutine that never came to its end waited for: the traceback ends in the event loop."""
    try:
        return (yield)
    except pytest.fail.Exception:
        if isinstance(item, pytest.Function) and asyncio.iscoroutinefunction(item.function):
            stacks = io.StringIO()
            for task in asyncio.all_tasks(asyncio.get_event_loop()):
                task.print_stack(file=stacks)
            item.add_report_section("call", "tasks", stacks.getvalue())
        raise


def unused_port() -> int:
    """One of which no outgoing connection is made: a server that starts again on it must not find it taken."""
    return free_port(random.choice(OTHER_PORTS), avoid=set())


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory for servers, which another user can reach (pytest's own temporary directories forbid that)."""
    with tempfile.TemporaryDirectory(prefix="rowcast-tests-", ignore_cleanup_errors=True) as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture(scope="session")
def postgres(scratch: Path) -> Iterator[Postgres]:
    """A running PostgreSQL, whose database TEMPLATE has the devstack's roles and all migrations."""
    directory = scratch / "postgres"
    directory.mkdir()
    cluster = Postgres(directory, unused_port(), "test-password")
    cluster.start()
    try:
        with psycopg.connect(cluster.url(), autocommit=True) as admin:
            admin.execute(f"create database {TEMPLATE}")
        run_script(cluster.url(TEMPLATE), BOOTSTRAP)
        lite = Lite(directory, 0, cluster.url(TEMPLATE), Keys("p", "s", "j"), ROOT / "supabase" / "migrations")
        lite.configure()
        asyncio.run(lite.migrate())
        yield cluster
    finally:
        cluster.stop("immediate")


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The URL of a fresh database with all migrations, for one test."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"create database {name} template {TEMPLATE}")
        yield postgres.url(name)
        admin.execute(f"drop database {name} with (force)")


@dataclass(frozen=True)
class StackFacts:
    """Where a running devstack is and what opens it."""

    supabase_url: str
    publishable_key: str
    secret_key: str
    jwt_secret: str
    database_url: str
    data_dir: Path


@contextlib.contextmanager
def running_devstack(data_dir: Path, *options: str, log: IO[str] | None = None) -> Iterator[StackFacts]:
    """A devstack in a process of its own, on free ports, stopped at the end; what it complains of goes to ``log``."""
    ports = [f"--{name}-port={unused_port()}" for name in ("gateway", "database", "studio")]
    with subprocess.Popen(
        [sys.executable, "-m", "devstack", f"--data-dir={data_dir}", f"--project={ROOT}", *ports, *options],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    ) as process:
        assert process.stdout is not None
        until_ready = itertools.takewhile(lambda line: line != "\n", process.stdout)
        told = dict(line.strip().split("=", 1) for line in until_ready if "=" in line)
        if "SUPABASE_URL" not in told:
            raise RuntimeError(f"the devstack did not start: exit status {process.wait()}")
        try:
            yield StackFacts(
                told["SUPABASE_URL"], told["SUPABASE_PUBLISHABLE_KEY"], told["SUPABASE_SECRET_KEY"],
                told["SUPABASE_JWT_SECRET"], told["DATABASE_URL"], data_dir,
            )  # fmt: skip
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def stack(scratch: Path) -> Iterator[StackFacts]:
    """One devstack for the whole run: PostgreSQL, REST, Auth and Realtime behind one URL."""
    with running_devstack(scratch / "stack") as facts:
        yield facts
