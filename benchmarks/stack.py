"""A devstack for a run, with a user and the projects that the user may read."""

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

import httpx
import psutil
import psycopg

from benchmarks.processes import Server, unused_port
from devstack.accounts import access_token

ROOT = Path(__file__).parent.parent
EMAIL = "viewer@example.com"
NO_LIMITS = {
    f"ROWCAST_{name}": "0"
    for name in ("STREAMS", "STREAMS_PER_USER", "STREAMS_PER_PROJECT", "STREAMS_PER_ORGANIZATION",
                 "STREAMS_PER_ADDRESS", "REQUESTS_PER_MINUTE")
}  # fmt: skip
"""All viewers are one user at one address."""


@dataclass(frozen=True)
class Stack:
    """A running devstack. ``token`` is the user's access token."""

    variables: dict[str, str]
    token: str
    user_id: str
    database: psycopg.Connection[tuple[object, ...]]
    servers: tuple[Server, ...]
    """All of its processes; PostgreSQL's are no children of the devstack's."""

    def cpu(self) -> float:
        """Seconds of CPU of all of it."""
        return sum(server.cpu() for server in self.servers)

    def project(self) -> str:
        """A new project that the user is a member of; its id."""
        return self.projects(1)[0]

    def projects(self, count: int) -> list[str]:
        rows = self.database.execute(
            "with o as (insert into organizations (name) values ('Benchmark') returning id), "
            "p as (insert into projects (organization_id, name) select id, 'P' || n from o, generate_series(1, %s) n "
            "  returning id) "
            "insert into project_members (project_id, user_id, role) select id, %s, 'viewer' from p "
            "returning project_id",
            [count, self.user_id],
        ).fetchall()
        return [str(id_) for (id_,) in rows]

    def jobs(self, projects: list[str], each: int) -> list[str]:
        """The ids of new running jobs, ``each`` in every project, in turn."""
        rows = self.database.execute(
            "insert into jobs (project_id, kind, title, status, progress_stage, progress_total) "
            "select project, 'ingest', 'Reading the manuals', 'running', 'parsing', 1000000 "
            "from generate_series(1, %s), unnest(%s::uuid[]) project returning id",
            [each, projects],
        ).fetchall()
        return [str(id_) for (id_,) in rows]

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
                    user_id = _sign_up(variables)
                    token = access_token(
                        variables["DATABASE_URL"], variables["SUPABASE_JWT_SECRET"], EMAIL, time.time()
                    )
                    postmaster = psutil.Process(database.info.backend_pid).parent()
                    assert postmaster is not None
                    servers = (Server(process.pid), Server(postmaster.pid))
                    yield Stack(variables, token, user_id, database, servers)
            finally:
                process.terminate()


def _sign_up(variables: dict[str, str]) -> str:
    answer = httpx.post(
        f"{variables['SUPABASE_URL']}/auth/v1/signup",
        headers={"apikey": variables["SUPABASE_PUBLISHABLE_KEY"]},
        json={"email": EMAIL, "password": "a-benchmark-password"},
    )
    answer.raise_for_status()
    return str(answer.json()["user"]["id"])
