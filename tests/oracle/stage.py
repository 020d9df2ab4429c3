"""What the oracle plays on: a devstack with faults, service processes behind proxies, projects and their users."""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGABRT, SIGKILL, Signals
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import psutil
import psycopg
from httpx_aiohttp import HttpxAiohttpClient

from devstack.leftovers import MARK
from devstack.postgres import Postgres
from devstack.state import DataDirectory
from tests.conftest import ROOT, StackFacts, running_devstack, unused_port
from tests.oracle.project import Database
from tests.oracle.truth import NOTE_EVENTS
from tests.service.conftest import add_user, service_environment
from tests.service.proxy import FaultyProxy, faulty_proxy

PROJECTS = 12
USERS = 12
TUNINGS = (
    # The first is never killed: its tasks, files and memory are looked at in the end.
    {"ROWCAST_LINGER_SECONDS": "1", "ROWCAST_HEADS_SECONDS": "2", "ROWCAST_STREAM_MAX_AGE_SECONDS": "60"},
    {"ROWCAST_LINGER_SECONDS": "0", "ROWCAST_HEADS_SECONDS": "1", "ROWCAST_OUTBOX_BYTES": str(64 << 10)},
    {"ROWCAST_LINGER_SECONDS": "5", "ROWCAST_STREAM_MAX_AGE_SECONDS": "10", "ROWCAST_STUCK_SECONDS": "2"},
)
"""Each service process is set otherwise, so that short limits are met and usual ones are tried too."""
PLACES = 8
"""Streams that a user may have open in each process: more than there are viewers of one user."""
COMMON = {
    "ROWCAST_KEEPALIVE_SECONDS": "2", "ROWCAST_RETENTION_DAYS": "1", "ROWCAST_STREAMS_PER_USER": str(PLACES),
    "ROWCAST_REQUESTS_PER_MINUTE": "0", "PYTHONFAULTHANDLER": "1",
}  # fmt: skip
START_SECONDS = 60.0
STOP_SECONDS = 20.0


class StageError(Exception):
    """The stage itself does not stand; nothing is said about the service."""


class Service:
    """A service process, started again at the same address after its end."""

    def __init__(self, name: str, environment: dict[str, str], proxy: FaultyProxy, log: Path) -> None:
        self.name = name
        self.port = unused_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.proxy = proxy
        self.log = log
        self.busy = asyncio.Lock()
        """Held by a fault that stops the process or keeps it from something."""
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it and waits until it answers. Raises :class:`StageError`."""
        with self.log.open("a") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "service.cli", "serve", "--bind", f"127.0.0.1:{self.port}",
                cwd=ROOT, env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        async with httpx.AsyncClient(headers={"Connection": "close"}) as client:
            while time.monotonic() < deadline and self._process.returncode is None:
                try:
                    await client.get(f"{self.url}/livez")
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                else:
                    return
        raise StageError(f"{self.name} does not start; its log is {self.log}")

    def connections(self) -> Counter[str]:
        """The process's sockets: where they lead, and in what state they are."""
        assert self._process is not None
        purposes = {self.port: "from pages", urlsplit(self.proxy.url).port: "to Supabase"}
        found: Counter[str] = Counter()
        for connection in psutil.Process(self._process.pid).net_connections("tcp"):
            ends = (connection.raddr or connection.laddr, connection.laddr)
            purpose = next((purposes[end.port] for end in ends if end.port in purposes), "elsewhere")
            found[f"{purpose} {connection.status}"] += 1
        return found

    def send(self, signal: Signals) -> None:
        assert self._process is not None
        self._process.send_signal(signal)

    async def end(self, signal: Signals) -> bool:
        """Ends the process; returns whether it did within STOP_SECONDS. If not, its log tells where it was."""
        if self._process is None or self._process.returncode is not None:
            return True
        self.send(signal)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self.send(SIGABRT)
            await self._process.wait()
            return False
        return True


@dataclass(frozen=True)
class User:
    """Someone who is a member of every project. ``claims`` are those of an access token."""

    name: str
    claims: dict[str, Any] = field(repr=False)
    secret: str = field(repr=False)

    def token(self, seconds: float) -> str:
        """An access token that is good for so long."""
        now = int(time.time())
        return jwt.encode(self.claims | {"iat": now, "exp": now + int(seconds)}, self.secret, algorithm="HS256")


@dataclass(frozen=True)
class Stage:
    facts: StackFacts
    postgres: Postgres
    devstack: psutil.Process
    services: list[Service]
    projects: list[str]
    boms: dict[str, str]
    """Each project's BOM, with the project."""
    users: list[User]
    http: httpx.AsyncClient
    """For questions to services, each on a connection of its own that ends with the answer."""

    async def rest(self) -> psutil.Process:
        """The process that answers for REST and Auth, as soon as there is one: another fault may have crashed it."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for child in self.devstack.children():
                with suppress(psutil.Error):
                    if child.environ().get(MARK, "").startswith("lite:"):
                        return child
            await asyncio.sleep(0.1)
        raise StageError("the devstack has no Supabase Lite")

    async def database(self) -> Database:
        """A connection of its own, as the superuser. Raises psycopg.OperationalError."""
        return await psycopg.AsyncConnection.connect(self.facts.database_url, autocommit=True)


@asynccontextmanager
async def stage(directory: Path, random_: random.Random) -> AsyncIterator[Stage]:
    """Logs stay in ``directory``; the database's data go in the end."""
    async with AsyncExitStack() as stack:
        log = stack.enter_context((directory / "devstack.log").open("w"))
        running = running_devstack(directory / "stack", "--faults", log=log)
        facts = await asyncio.to_thread(running.__enter__)
        stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        data = DataDirectory(facts.data_dir)
        saved = data.load()
        if saved is None:
            raise StageError("the devstack has saved nothing")
        postgres = Postgres(facts.data_dir, saved.ports["database"], saved.database_password)
        services = []
        for name, tuning in zip("abcdefgh", TUNINGS, strict=False):
            proxy = await stack.enter_async_context(faulty_proxy(facts.supabase_url))
            environment = service_environment(facts) | {"SUPABASE_URL": proxy.url} | COMMON | tuning
            service = Service(f"service-{name}", environment, proxy, directory / f"service-{name}.log")
            stack.push_async_callback(service.end, SIGKILL)
            services.append(service)
        boms, users = await asyncio.to_thread(populate, facts, random_)
        await asyncio.gather(*(service.start() for service in services))
        # carried by aiohttp: pages leave at any moment, and httpcore would lose connections with them
        http = await stack.enter_async_context(HttpxAiohttpClient(timeout=20, headers={"Connection": "close"}))
        yield Stage(facts, postgres, psutil.Process(data.holder()), services, list(boms.values()), boms, users, http)


def populate(facts: StackFacts, random_: random.Random) -> tuple[dict[str, str], list[User]]:
    """Projects, each with a BOM and one of staff, whose jobs nobody sees; users, every one a member of every project.

    Returns the BOMs with their projects, and the users.
    """
    with psycopg.connect(facts.database_url, autocommit=True) as database:
        accounts = [add_user(database, facts) for _ in range(USERS)]
        bystander, _ = add_user(database, facts)
        ids = [f"{number:08x}-0000-4000-8000-{random_.getrandbits(48):012x}" for number in range(PROJECTS)]
        database.execute("insert into organizations (name) values ('Oracle')")
        database.execute(
            "insert into projects (id, organization_id, name) "
            "select unnest(%s::uuid[]), id, 'Oracle' from organizations where name = 'Oracle'",
            [ids],
        )
        database.execute(
            "insert into project_members (project_id, user_id, role) select p, u, 'viewer' "
            "from unnest(%s::uuid[]) p, unnest(%s::uuid[]) u",
            [ids, [user_id for user_id, _ in accounts] + [bystander]],
        )
        boms = database.execute(
            "insert into boms (project_id, organization_id, filename, source) "
            "select id, organization_id, 'a.csv', unnest(array['staff', 'customer']) "
            "from projects where id = any(%s::uuid[]) returning id::text, project_id::text, source",
            [ids],
        ).fetchall()
        database.execute(NOTE_EVENTS)
    users = [
        User(f"user {number}", jwt.decode(token, options={"verify_signature": False}), facts.jwt_secret)
        for number, (_, token) in enumerate(accounts)
    ]
    return {bom: project for bom, project, source in boms if source == "customer"}, users
