"""The devstack as one thing: starts its parts in order, watches them, and stops them in reverse.

    async with Devstack(data_dir, project=checkout) as stack:
        print(stack.supabase_url)
        await stack.watch()    # until cancelled; a part that dies raises DevstackError

What a crash left behind is found and ended before anything new is started. PostgreSQL is not watched: whoever stops
it on purpose, to see what the rest then does, can start it again.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import psycopg
from psycopg import sql

from devstack import gateway, state
from devstack.errors import DevstackError
from devstack.leftovers import mark, stop_leftovers
from devstack.lite import SERVING_ROLE, Lite, program
from devstack.postgres import Postgres
from devstack.realtime.control import control_routes
from devstack.realtime.faults import Faults
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
                f"{self.root} has no supabase/migrations; "
                "run this in a checkout of rowcast, or name one with --project-dir."
            )


logger = logging.getLogger(__name__)

RESTART_SECONDS = 0.5
BOOTSTRAP = Path(__file__).parent / "bootstrap.sql"
LITE_ROLE = Path(__file__).parent / "lite_role.sql"


def run_script(database_url: str, script: Path) -> None:
    """Runs an SQL file as the superuser. Raises :class:`DevstackError` when a statement of it fails."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        try:
            connection.execute(script.read_bytes())
        except psycopg.Error as error:
            raise DevstackError(f"{script} failed: {error.diag.message_primary or error}") from None


async def until_signalled(work: Coroutine[None, None, None]) -> None:
    """Runs ``work``; SIGINT, SIGTERM or SIGHUP (the terminal was closed) cancels it, once: its end is not disturbed."""
    task = asyncio.ensure_future(work)
    told: list[int] = []

    def stop(number: int) -> None:
        if not told:
            task.cancel()
        told.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not told:
            raise


class Devstack:
    """A running devstack; see the module for its life.

    ``ports`` pins ports by name (gateway, database, studio, and those of ``also``: programs that the caller will
    start beside the devstack's own parts, each on a port of its own). With ``faults``, Realtime can be made to fail
    through its control endpoint, and Supabase Lite is started again when it dies.
    """

    def __init__(
        self,
        directory: Path,
        project: Path,
        ports: dict[str, int] | None = None,
        also: tuple[str, ...] = (),
        *,
        faults: bool = False,
    ) -> None:
        self.directory = state.DataDirectory(directory)
        self._project = Project(project)
        self._asked_ports = ports or {}
        self._names = (*state.PARTS, *also)
        self._faults = Faults() if faults else None
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
        program()
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

        self.leftovers = stop_leftovers(self.directory.path)
        self.postgres.stop("immediate")  # one that somebody started by hand
        if self.is_new:
            self.postgres.erase()  # of a first start that failed half-way, or of a directory that was deleted
        for name in self._names:
            state.check_port(name, ports[name])
        self.directory.save(self.state)

        self._stack.callback(self.postgres.stop)
        self.postgres.start()
        if self.is_new:
            run_script(self.database_url, BOOTSTRAP)
        self.lite.configure()
        self._stack.push_async_callback(self.lite.stop)
        await self.lite.migrate()
        if self.is_new and self._project.seed.exists():
            run_script(self.database_url, self._project.seed)
        self.state.prepared = True
        self.directory.save(self.state)
        run_script(self.database_url, LITE_ROLE)
        with psycopg.connect(self.database_url, autocommit=True) as database:
            role, password = sql.Identifier(SERVING_ROLE), sql.Literal(self.state.database_password)
            database.execute(sql.SQL("alter role {} password {}").format(role, password))
        self.lite.configure(SERVING_ROLE)
        await self.lite.start()
        self.stand_in = await self._stack.enter_async_context(
            StandIn(self.database_url, keys.jwt_secret, keys.publishable, keys.secret, faults=self._faults)
        )
        realtime = [*routes(self.stand_in), *control_routes(self.stand_in)]
        await self._stack.enter_async_context(gateway.serve(ports["gateway"], self.lite.url, keys, realtime))
        self._stack.push_async_callback(self.stand_in.stop_serving)  # the gateway would wait for open sockets

    def mark(self, name: str) -> dict[str, str]:
        """The environment that makes a process the caller starts a part of the stack: a crash's leftover is found."""
        return mark(name, self.directory.path)

    async def watch(self, *beside: Coroutine[None, None, NoReturn]) -> NoReturn:
        """Raises what a part of the stack, or of ``beside``, raises when it dies."""
        watches = [asyncio.ensure_future(watch) for watch in (self._lite_ended(), self._realtime_died(), *beside)]
        try:
            ended, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for watch in watches:
                watch.cancel()
        ended.pop().result()

    async def _lite_ended(self) -> NoReturn:
        while True:
            status = await self.lite.wait()
            told = f"Supabase Lite ended by itself (exit status {status}); its log is {self.lite.log}."
            if self._faults is None:
                raise DevstackError(told)
            logger.warning("%s It is started again.", told)
            await self._restart_lite()

    async def _restart_lite(self) -> None:
        """Where faults are wanted Lite's end is one more of them: PostgreSQL going away under load can crash it."""
        while True:
            try:
                await self.lite.start()
            except DevstackError as error:
                logger.warning("%s", error)
                await self.lite.stop()
                await asyncio.sleep(RESTART_SECONDS)
            else:
                return

    async def _realtime_died(self) -> NoReturn:
        try:
            await self.stand_in.died()
        except RuntimeError as error:
            raise DevstackError(str(error)) from error


def reset(directory: Path) -> None:
    """Deletes a devstack's data; nothing may run on it."""
    data = state.DataDirectory(directory)
    if not data.path.exists():
        return
    data.acquire()
    try:
        stop_leftovers(data.path)
        postgres = Postgres(data.path, port=0, password="")
        postgres.stop("immediate")
        postgres.erase()
        data.erase()
    finally:
        data.release()
