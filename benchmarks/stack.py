"""A devstack for a run, with projects, and users who may read them."""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import jwt
import psutil
import psycopg

from benchmarks.processes import Server, unused_port

ROOT = Path(__file__).parent.parent
NO_LIMITS = {
    f"ROWCAST_{name}": "0"
    for name in ("STREAMS", "STREAMS_PER_USER", "STREAMS_PER_PROJECT", "STREAMS_PER_ORGANIZATION",
                 "STREAMS_PER_ADDRESS", "REQUESTS_PER_MINUTE")
}  # fmt: skip
"""All viewers are at one address."""


@dataclass(frozen=True)
class Stack:
    """A running devstack. ``servers`` is all of its processes; PostgreSQL's are no children of the devstack's."""

    variables: dict[str, str]
    database: psycopg.Connection[tuple[object, ...]]
    servers: tuple[Server, ...]

    def cpu(self) -> float:
        """Seconds of CPU of all of it."""
        return sum(server.cpu() for server in self.servers)

    def project(self) -> str:
        """The id of a new project."""
        return self.projects(1)[0]

    def projects(self, count: int) -> list[str]:
        return self._ids(
            "with o as (insert into organizations (name) values ('Benchmark') returning id) "
            "insert into projects (organization_id, name) select id, 'P' || n from o, generate_series(1, %s) n "
            "returning id",
            [count],
        )

    def members(self, project: str, count: int, role: str = "viewer") -> list[str]:
        """Access tokens, good for an hour, of so many new users who may read the project."""
        users = self._ids(
            "with u as (insert into auth.users (id, email) "
            "  select id, id || '@example.com' from (select gen_random_uuid() as id from generate_series(1, %s)) n "
            "  returning id) "
            "insert into project_members (project_id, user_id, role) select %s, id, %s from u returning user_id",
            [count, project, role],
        )
        claims = {"aud": "authenticated", "role": "authenticated", "exp": int(time.time()) + 3600}
        secret = self.variables["SUPABASE_JWT_SECRET"]
        return [jwt.encode(claims | {"sub": user}, secret, algorithm="HS256") for user in users]

    def jobs(self, projects: list[str], each: int) -> list[str]:
        """The ids of new running jobs, ``each`` in every project, in turn."""
        return self._ids(
            "insert into jobs (project_id, kind, title, status, progress_stage, progress_total) "
            "select project, 'ingest', 'Reading the manuals', 'running', 'parsing', 1000000 "
            "from generate_series(1, %s), unnest(%s::uuid[]) project returning id",
            [each, projects],
        )

    def _ids(self, statement: LiteralString, parameters: list[object]) -> list[str]:
        return [str(id_) for (id_,) in self.database.execute(statement, parameters).fetchall()]

    def service_environment(self, supabase_url: str | None = None) -> dict[str, str]:
        names = ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY", "SUPABASE_JWT_SECRET",
                 "SUPABASE_JWT_ISSUER")  # fmt: skip
        told = {name: self.variables[name] for name in names} | NO_LIMITS | {"PATH": os.environ["PATH"]}
        return told | ({"SUPABASE_URL": supabase_url} if supabase_url else {})


@contextmanager
def running_stack() -> Iterator[Stack]:
    """A devstack in processes of its own, on free ports and in a directory that is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)  # PostgreSQL runs as another user when this is root
        ports = [f"--{name}-port={unused_port()}" for name in ("gateway", "database", "studio")]
        command = [sys.executable, "-m", "devstack", f"--data-dir={directory}/stack", f"--project-dir={ROOT}", *ports]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            until_ready = itertools.takewhile(lambda line: line != "\n", process.stdout)
            variables = dict(line.strip().split("=", 1) for line in until_ready if "=" in line)
            if "DATABASE_URL" not in variables:
                raise RuntimeError(f"the devstack did not start: exit status {process.wait()}")
            try:
                with psycopg.connect(variables["DATABASE_URL"], autocommit=True) as database:
                    postmaster = psutil.Process(database.info.backend_pid).parent()
                    assert postmaster is not None
                    servers = (Server(process.pid), Server(postmaster.pid))
                    yield Stack(variables, database, servers)
            finally:
                process.terminate()
