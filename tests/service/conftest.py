"""The running service, and projects with members to look at them."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from devstack.accounts import access_token
from tests.conftest import StackFacts, unused_port
from tests.service.hidden import secrets_in

ADMIN_TOKEN = "an-admin-token-that-only-these-tests-know"


def service_environment(stack: StackFacts) -> dict[str, str]:
    """What a service that belongs to ``stack`` is told; nothing of the tests' own environment but PATH."""
    return {
        "PATH": os.environ["PATH"],
        "SUPABASE_URL": stack.supabase_url,
        "SUPABASE_SECRET_KEY": stack.secret_key,
        "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key,
        "SUPABASE_JWT_SECRET": stack.jwt_secret,
        "SUPABASE_JWT_ISSUER": "",
        "ROWCAST_CORS_ORIGINS": "http://localhost:3000",
        "ROWCAST_ADMIN_TOKEN": ADMIN_TOKEN,
        "ROWCAST_STREAMS_PER_USER": "0",  # a crowd of pages has one user here
    }


@contextmanager
def served(environment: dict[str, str], path: str = "/readyz") -> Iterator[str]:
    """The address of a service of its own, served by hypercorn in a process, once ``path`` answers 200."""
    url = f"http://127.0.0.1:{unused_port()}"
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve", "--bind", url.removeprefix("http://")],
            env=environment, stdout=log, stderr=log,
        ) as process,
    ):  # fmt: skip
        try:
            while not answers(f"{url}{path}"):
                if process.poll() is not None:
                    log.seek(0)
                    raise RuntimeError(f"the service did not start: {log.read()}")
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()
        process.wait()
        log.seek(0)
        assert secrets_in(log.read(), environment) == []


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == httpx.codes.OK
    except httpx.ConnectError:
        return False


@asynccontextmanager
async def served_beside(environment: dict[str, str]) -> AsyncIterator[str]:
    """As :func:`served`, for a test whose own event loop the service needs, because a proxy of its runs there."""
    service = served(environment)
    url = await asyncio.to_thread(service.__enter__)
    try:
        yield url
    finally:
        await asyncio.to_thread(service.__exit__, None, None, None)


@pytest.fixture(scope="session")
def service(stack: StackFacts) -> Iterator[str]:
    """The address of one service for the whole run."""
    with served(service_environment(stack)) as url:
        yield url


@dataclass(frozen=True)
class Project:
    """A project of its own for a test. ``token`` is a member's."""

    id: str
    token: str
    user_id: str
    database: psycopg.Connection[tuple[object, ...]]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def another(self) -> "Project":
        """Another project with the same member."""
        row = self.database.execute(
            "with p as (insert into projects (organization_id, name) "
            "select organization_id, 'Another' from projects where id = %s returning id) "
            "insert into project_members (project_id, user_id, role) "
            "select id, %s, 'viewer' from p returning project_id",
            [self.id, self.user_id],
        ).fetchone()
        assert row is not None
        return replace(self, id=str(row[0]))

    def source(self, name: str = "a.md", status: str = "pending") -> str:
        return self._insert("ingestion_sources", source_name=name, source_type="markdown", status=status)

    def job(self, title: str = "Manuals", **columns: object) -> str:
        return self._insert("jobs", kind="ingestion", title=title, **columns)

    def proposal(self, title: str, confidence: float = 0.5) -> str:
        return self._insert("proposed_nodes", title=title, confidence=confidence)

    def bom(self, *parts: str | None, source: str = "customer") -> str:
        """A BOM of these part numbers; None is a line without one."""
        items = [{"line_number": number, "mpn": part} for number, part in enumerate(parts, start=1)]
        made = self.call("create_bom", project_id=self.id, filename="b.csv", items=json.dumps(items), source=source)
        return str(made["bom_id"])

    def call(self, function: str, **arguments: object) -> Any:
        names = ", ".join(f"{name} => %s" for name in arguments)
        row = self.database.execute(f"select {function}({names})", list(arguments.values())).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return row[0]

    def start(self, bom: str) -> "Run":
        """Starts a BOM's enrichment, and is its worker."""
        self.call("start_enrichment", bom_id=bom)
        return self.claimed(bom)

    def claimed(self, bom: str) -> "Run":
        """Is the worker of a BOM's enrichment that somebody has started."""
        row = self.database.execute("select id from jobs where bom_id = %s and status = 'queued'", [bom]).fetchone()
        assert row is not None
        held = self.call("claim_job", kinds=["bom_enrichment"], job_id=row[0])
        return Run(self, held["job"]["id"], held["claim"])

    def role(self, role: str) -> None:
        """Gives the member another role."""
        self.execute("update project_members set role = %s where project_id = %s", role, self.id)

    def execute(self, statement: str, *parameters: object) -> None:
        self.database.execute(statement, parameters)  # type: ignore[arg-type]

    def _insert(self, table: str, **columns: object) -> str:
        names = ", ".join(["project_id", *columns])
        holes = ", ".join(["%s"] * (len(columns) + 1))
        row = self.database.execute(
            f"insert into {table} ({names}) values ({holes}) returning id",  # type: ignore[arg-type]
            [self.id, *columns.values()],
        ).fetchone()
        assert row is not None
        return str(row[0])


@dataclass(frozen=True)
class Run:
    """A claimed enrichment, worked on batch by batch. Parts called x… are not known."""

    project: Project
    job: str
    claim: str

    def batch(self) -> bool:
        """Writes the outcome of the next batch; False when there was none."""
        items = self._write([])["items"]
        self._write([self._outcome(item) for item in items])
        return bool(items)

    def all(self) -> None:
        while self.batch():
            pass

    def _write(self, results: list[dict[str, object]]) -> Any:
        return self.project.call("write_batch", job_id=self.job, claim=self.claim, results=json.dumps(results))

    def _outcome(self, item: dict[str, Any]) -> dict[str, object]:
        if item["mpn"] is None:
            return {"id": item["id"], "status": "failed", "error_message": "no part number"}
        if item["mpn"].startswith("x"):
            return {"id": item["id"], "status": "not_found"}
        return {"id": item["id"], "status": "enriched", "enrichment_data": {"description": item["mpn"]}}


def add_user(database: psycopg.Connection[tuple[object, ...]], stack: StackFacts) -> tuple[str, str]:
    """A new user's id and access token."""
    email = f"{uuid4().hex}@example.com"
    answer = httpx.post(
        f"{stack.supabase_url}/auth/v1/signup",
        headers={"apikey": stack.publishable_key},
        json={"email": email, "password": "a-test-password"},
    )
    answer.raise_for_status()
    return answer.json()["user"]["id"], access_token(stack.database_url, stack.jwt_secret, email, time.time())


@pytest.fixture
def project(stack: StackFacts) -> Iterator[Project]:
    """A new project with one member."""
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        user_id, token = add_user(database, stack)
        row = database.execute(
            "with o as (insert into organizations (name) values ('Test') returning id) "
            "insert into projects (organization_id, name) select id, 'Test' from o returning id"
        ).fetchone()
        assert row is not None
        project_id = str(row[0])
        database.execute(
            "insert into project_members (project_id, user_id, role) values (%s, %s, 'viewer')", [project_id, user_id]
        )
        yield Project(project_id, token, user_id, database)
