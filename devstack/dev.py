"""``rowcast dev``: the devstack and the service beside it, with a user who owns the demo project."""

import asyncio
import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import aiohttp
import psutil
import psycopg

from devstack.__main__ import environment
from devstack.errors import DevstackError
from devstack.leftovers import wait_ended
from devstack.stack import Devstack, until_signalled
from devstack.state import DataDirectory

DEMO_PROJECT = "00000000-0000-4000-8000-000000000002"
DEMO_EMAIL = "demo@example.com"
CORS_ORIGINS = "http://localhost:3000,http://127.0.0.1:3000"
WEB = Path(__file__).resolve().parent.parent / "web" / "out"
START_SECONDS = 30
STOP_SECONDS = 30


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line; ``ready_fd`` is told "ready" once everything is up."""

    directory: Path
    project: Path
    ports: dict[str, int]
    ready_fd: int | None = None
    faults: bool = False


async def run(options: Options, say: Callable[[str], None]) -> None:
    """Runs everything until SIGINT or SIGTERM. Raises :class:`DevstackError`."""
    await until_signalled(_run(options, say))
    say("Stopped.")


async def _run(options: Options, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    async with Devstack(
        options.directory, options.project, options.ports, also=("service",), faults=options.faults
    ) as stack:
        if stack.leftovers:
            say(f"Cleaned up after a crash: {', '.join(stack.leftovers)}.")
        await ensure_demo_user(stack)
        variables = full_environment(stack)
        file = stack.directory.write_private(
            "env", "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
        )
        log = stack.directory.path / "service.log"
        async with running_service(stack, variables, log) as service:
            say(welcome(variables, file, time.monotonic() - began))
            if options.ready_fd is not None:
                os.write(options.ready_fd, b"ready")
                os.close(options.ready_fd)
            await stack.watch(service_ended(service, log))


def full_environment(stack: Devstack) -> dict[str, str]:
    """What the service and other programs are told; of the project page only where `make web` has built it."""
    page = {"ROWCAST_WEB_DIR": str(WEB)} if (WEB / "index.html").is_file() else {}
    return {
        **environment(stack),
        "ROWCAST_URL": f"http://127.0.0.1:{stack.state.ports['service']}",
        "ROWCAST_CORS_ORIGINS": CORS_ORIGINS,
        "ROWCAST_DEBUG": "1",
        "ROWCAST_DEMO_PROJECT": DEMO_PROJECT,
        "ROWCAST_DEMO_EMAIL": DEMO_EMAIL,
        "ROWCAST_DEMO_PASSWORD": stack.state.demo_password,
        **page,
    }


def welcome(variables: dict[str, str], file: Path, seconds: float) -> str:
    shown = os.path.relpath(file) if file.is_relative_to(Path.cwd()) else str(file)
    page = ""
    if "ROWCAST_WEB_DIR" in variables:
        user = f"{variables['ROWCAST_DEMO_EMAIL']} with {variables['ROWCAST_DEMO_PASSWORD']}"
        page = f"  page      {variables['ROWCAST_URL']} (sign in as {user})\n"
    return (
        f"rowcast is up ({seconds:.1f} s).\n"
        f"{page}"
        f"  service   {variables['ROWCAST_URL']} (a stream as it is: {variables['ROWCAST_URL']}/debug)\n"
        f"  Supabase  {variables['SUPABASE_URL']}\n"
        f"  Studio    {variables['STUDIO_URL']}\n"
        f"For other terminals:  set -a; . {shlex.quote(shown)}; set +a"
    )


async def ensure_demo_user(stack: Devstack) -> None:
    """Signs the demo user up through Auth, once, and makes them the owner of the demo project."""
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        try:
            seeded = database.execute("select 1 from projects where id = %s", [DEMO_PROJECT]).fetchone()
        except psycopg.errors.UndefinedTable:
            seeded = None
        if not seeded:
            return  # a seed, or tables, of the user's own
        if not database.execute("select 1 from auth.users where email = %s", [DEMO_EMAIL]).fetchone():
            await sign_up(stack, DEMO_EMAIL, stack.state.demo_password)
        database.execute(
            "insert into project_members (project_id, user_id, role) "
            "select %s, id, 'owner' from auth.users where email = %s on conflict do nothing",
            [DEMO_PROJECT, DEMO_EMAIL],
        )


async def sign_up(stack: Devstack, email: str, password: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{stack.supabase_url}/auth/v1/signup",
            headers={"apikey": stack.state.keys.publishable},
            json={"email": email, "password": password},
        ) as answer,
    ):
        if answer.status != 200:
            raise DevstackError(f"The demo user could not sign up: {await answer.text()}")


@asynccontextmanager
async def running_service(
    stack: Devstack, variables: dict[str, str], log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs `rowcast serve` while the context is open; it is ready when the context opens."""
    bind = variables["ROWCAST_URL"].removeprefix("http://")
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service.cli", "serve", "--bind", bind, stdin=subprocess.DEVNULL,
            env=os.environ | variables | stack.mark("service"), stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        if not await _is_ready(process, f"{variables['ROWCAST_URL']}/readyz"):
            raise DevstackError(f"The service did not start: {last_line(log)} (all of it: {log})")
        yield process
    finally:
        await _stop(process)


async def _is_ready(process: asyncio.subprocess.Process, url: str) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as session:
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with session.get(url) as answer:
                        if answer.status == 200:
                            return True
                await asyncio.sleep(0.05)
    return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


async def service_ended(process: asyncio.subprocess.Process, log: Path) -> NoReturn:
    status = await process.wait()
    raise DevstackError(f"The service ended by itself (exit status {status}): {last_line(log)} (all of it: {log})")


def last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def detach(options: Options) -> str:
    """Starts :func:`run` in a process of its own and returns what it said once everything is up."""
    data = DataDirectory(options.directory)
    data.acquire()  # to be refused here and now, and so that the log has a place
    data.release()
    reader, writer = os.pipe()
    log_file = options.directory / "dev.log"
    command = [sys.executable, "-m", "service.cli", "dev", f"--data-dir={options.directory}"]
    command += [f"--project-dir={options.project}", f"--ready-fd={writer}"]
    command += [f"--{name}-port={port}" for name, port in options.ports.items()]
    command += ["--faults"] * options.faults
    with log_file.open("w") as log:
        process = subprocess.Popen(
            command, pass_fds=[writer], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as ready:
            told = ready.read()
    except BaseException:  # Ctrl-C: nobody waits for it any more
        process.terminate()
        process.wait()
        raise
    if told != b"ready":
        process.wait()
        raise DevstackError(last_line(log_file).removeprefix("Error: "))
    return log_file.read_text().strip()


def stop(directory: Path) -> bool:
    """Stops the devstack that runs on ``directory``, if any; returns whether there was one."""
    holder = DataDirectory(directory).holder()
    if holder is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(holder)
        process.terminate()
        if wait_ended([process], STOP_SECONDS):
            raise DevstackError(f"Process {holder} did not stop within {STOP_SECONDS} s.")
    return True
