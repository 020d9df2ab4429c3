"""The devstack as one thing: starts its parts in order, watches them, and stops them in reverse.

    async with Devstack(data_dir, project=checkout) as stack:
        print(stack.supabase_url)
        await stack.run_until(asked_to_stop)    # an asyncio.Event; a part that dies raises DevstackError

What a crash left behind (PostgreSQL, Lite, whatever was added with :meth:`Devstack.adopt`) is found by its recorded
pid and start time and ended before anything new is started.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import psycopg

from devstack import gateway, state
from devstack.errors import DevstackError
from devstack.lite import Lite, find_node
from devstack.postgres import Postgres
from devstack.realtime.server import StandIn, routes


@dataclass(frozen=True)
class Project:
    """Where a project keeps what the Supabase CLI would read."""

    root: Path

    @property
    def migrations(self) -> Path:
        return self.root / "supabase" / "migrations"

    @property
    def seed(self) -> Path:
        return self.root / "supabase" / "seed.sql"

    def check(self) -> None:
        if not self.migrations.is_dir():
            raise DevstackError(
                f"{self.root} has no supabase/migrations; run this in a checkout of rowcast, or name one with --project."
            )


BOOTSTRAP = Path(__file__).parent / "bootstrap.sql"


def run_script(database_url: str, script: Path) -> None:
    """Runs an SQL file as the superuser."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(script.read_bytes())


class Devstack:
    """A running devstack; see the module for its life.

    ``ports`` pins ports by name (gateway, database, studio, and those of ``also``: programs that the caller will
    start beside the devstack's own parts, each on a port of its own).
    """

    def __init__(
        self, directory: Path, project: Path, ports: dict[str, int] | None = None, also: tuple[str, ...] = ()
    ) -> None:
        self.directory = state.DataDirectory(directory)
        self._project = Project(project)
        self._asked_ports = ports or {}
        self._names = (*state.PARTS, *also)
        self._stack = contextlib.AsyncExitStack()
        self.leftovers: list[str] = []
        self.is_new = False

    @property
    def supabase_url(self) -> str:
        return f"http://127.0.0.1:{self.state.ports['gateway']}"

    @property
    def studio_url(self) -> str:
        return self.lite.url

    @property
    def database_url(self) -> str:
        return self.postgres.url()

    async def __aenter__(self) -> Self:
        self._project.check()
        find_node()
        try:
            self.directory.acquire()
            self._stack.callback(self.directory.release)
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        saved = self.directory.load()
        self.state = saved or state.new_state()
        self.is_new = not self.state.prepared
        self.state.choose_ports(self._names, self._asked_ports)
        ports, keys = self.state.ports, self.state.keys
        self.postgres = Postgres(self.directory.path, ports["database"], self.state.database_password)
        self.lite = Lite(self.directory.path, ports["studio"], self.database_url, keys, self._project.migrations)

        self.leftovers = state.stop_leftovers(self.state.processes)
        if self.postgres.is_running():
            self.leftovers.append("postgres")
            await asyncio.to_thread(self.postgres.stop, "immediate")
        if self.is_new:
            self.postgres.erase()  # a first start that failed half-way, or a cluster whose password is gone
        self._check_ports()
        self.state.processes = {}
        self.directory.save(self.state)

        await asyncio.to_thread(self.postgres.start)
        self._stack.callback(self.postgres.stop)
        if self.is_new:
            run_script(self.database_url, BOOTSTRAP)
        self.lite.configure()
        await self.lite.migrate()
        if self.is_new and self._project.seed.exists():
            run_script(self.database_url, self._project.seed)
        self.state.prepared = True
        self.directory.save(self.state)
        self._stack.push_async_callback(self.lite.stop)
        await self.lite.start()
        if self.lite.pid:
            self.adopt("lite", self.lite.pid)
        self.stand_in = await self._stack.enter_async_context(
            StandIn(self.database_url, keys.jwt_secret, keys.publishable, keys.secret)
        )
        await self._stack.enter_async_context(gateway.serve(ports["gateway"], self.lite.url, routes(self.stand_in)))

    def _check_ports(self) -> None:
        for name in self._names:
            port = self.state.ports[name]
            if not state.port_is_free(port):
                raise DevstackError(
                    f"Port {port}, which the {name} needs, is taken by another program; "
                    f"free it, or choose another with --{name}-port."
                )

    def adopt(self, name: str, pid: int) -> None:
        """Notes a process as part of the stack, so that the next start ends it if a crash leaves it behind."""
        self.state.processes[name] = (pid, state.started_at(pid))
        self.directory.save(self.state)

    async def run_until(self, asked_to_stop: asyncio.Event, *beside: Coroutine[None, None, NoReturn]) -> None:
        """Returns when asked to stop; raises what a part of the stack, or of ``beside``, raises when it dies."""
        stop = asyncio.ensure_future(asked_to_stop.wait())
        watches = [asyncio.ensure_future(watch) for watch in (self._lite_ended(), *beside)]
        try:
            done, _ = await asyncio.wait({stop, *watches}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stop, *watches):
                task.cancel()
        if stop not in done:
            for task in done:
                task.result()

    async def _lite_ended(self) -> NoReturn:
        status = await self.lite.wait()
        raise DevstackError(f"Supabase Lite ended by itself (exit status {status}); its log is {self.lite.log}.")


def reset(directory: Path) -> None:
    """Deletes a devstack's data; nothing may run on it."""
    data = state.DataDirectory(directory)
    if not data.path.exists():
        return
    data.acquire()
    try:
        try:
            saved = data.load()
        except DevstackError:
            saved = None  # damaged: that is what a reset is for
        if saved:
            state.stop_leftovers(saved.processes)
        postgres = Postgres(data.path, port=0, password="")
        postgres.stop("immediate")
        postgres.erase()
        data.erase()
    finally:
        data.release()
