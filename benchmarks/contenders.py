"""The servers that are compared: what is known of a running one, and how rowcast's are started.

Every change is the same JSON, about 250 bytes, with the microsecond in which its writer sent it: to PostgreSQL as a
statement that commits, to Redis as PUBLISH, to nchan as POST, to the others as a line.
"""

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from uuid import uuid4

from benchmarks.processes import Server, running, unused_port
from benchmarks.stack import ROOT, Stack
from benchmarks.viewers import Ask

JOBS = 200
"""Changes are of so many rows in turn: changes of one row would be merged for who is slow."""

LENGTH = 75
"""Of a job's progress_message: about 250 bytes in all."""


class NotInstalled(Exception):
    """The message says what a server needs."""


@dataclass(frozen=True)
class Contender:
    """A running server. ``publish`` tells it of one change, stamped with the number given."""

    name: str
    port: int
    asks: Sequence[Ask]
    server: Server
    publish: Callable[[int], None]
    says_hello: bool = True
    """Whether a stream begins with an event; nchan's begins with the first change."""


Command = Callable[[int], list[str]]
"""What starts a server on a port."""


def message(stamp: int, length: int = LENGTH) -> str:
    """A job's progress_message."""
    return f"@t={stamp} {'of the catalogue, '.ljust(length - 20, '.')}"


def payloads(length: int = LENGTH) -> Callable[[int], bytes]:
    """What rowcast makes of changes of jobs' progress, for those who don't make it themselves."""
    jobs = cycle([str(uuid4()) for _ in range(JOBS)])

    def payload(stamp: int) -> bytes:
        progress = {
            "stage": "parsing", "current": 1000, "total": 1000000, "message": message(stamp, length),
            "timestamp": stamp // 1000, "percent": 0.1, "etaSeconds": None,
        }  # fmt: skip
        told = {"type": "progress_update", "jobId": next(jobs), "progress": progress}
        return json.dumps(told, separators=(",", ":")).encode()

    return payload


def need(module: str) -> None:
    """Raises :class:`NotInstalled` when a Python package is missing."""
    if importlib.util.find_spec(module) is None:
        raise NotInstalled("pip install 'rowcast[bench]'")


def program(name: str, package: str) -> str:
    """A program's path. Raises :class:`NotInstalled` naming Debian's package."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NotInstalled(f"apt install {package}")
    return found


def python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def on_hypercorn(port: int) -> list[str]:
    return python("service.cli", "serve", "--bind", f"127.0.0.1:{port}")


def granian(port: int, *application: str) -> list[str]:
    need("granian")
    return python(
        "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), "--backlog", "4096", "--no-ws",
        "--backpressure", "100000",  # else no more streams than its backlog; the next ones wait without an answer
        "--loop", "uvloop", *application,
    )  # fmt: skip


def on_granian(port: int) -> list[str]:
    return granian(port, "--factory", "service.app:create_app")


SERVERS: dict[str, Command] = {"hypercorn": on_hypercorn, "granian": on_granian}


def asks(stack: Stack, projects: Sequence[str], users_each: int, *headers: str) -> list[Ask]:
    """Requests for the projects' streams, by ``users_each`` users of each project."""
    tokens = [stack.members(project, users_each) for project in projects]
    return [
        Ask(f"/api/projects/{project}/status", [f"Authorization: Bearer {users[number]}", *headers])
        for number in range(users_each)
        for project, users in zip(projects, tokens, strict=True)
    ]


def publisher(stack: Stack, projects: list[str], jobs_each: int = JOBS, length: int = LENGTH) -> Callable[[int], None]:
    """Commits a change of the next project's next job."""
    ids = cycle(stack.jobs(projects, jobs_each))

    def publish(stamp: int) -> None:
        stack.database.execute(
            "update jobs set progress_current = progress_current + 1, progress_message = %s where id = %s",
            [message(stamp, length), next(ids)],
            prepare=True,
        )

    return publish


@contextmanager
def rowcast(
    stack: Stack,
    name: str,
    projects: list[str],
    users_each: int,
    *,
    supabase_url: str | None = None,
    length: int = LENGTH,
) -> Iterator[Contender]:
    """rowcast on one of SERVERS; it reaches Supabase at ``supabase_url``, or directly."""
    port = unused_port()
    command, environment = SERVERS[name](port), stack.service_environment(supabase_url)
    with running(command, port, environment=environment, directory=ROOT) as server:
        jobs = max(1, JOBS // len(projects))
        publish = publisher(stack, projects, jobs, length)
        yield Contender(name, port, asks(stack, projects, users_each), server, publish)
