"""Starts the rivals. Each raises :class:`NotInstalled` when something of it is missing."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.contenders import (
    LENGTH,
    Command,
    Contender,
    NotInstalled,
    granian,
    need,
    payloads,
    program,
    publisher,
    python,
)
from benchmarks.processes import running, unused_port
from benchmarks.stack import ROOT, Stack
from benchmarks.viewers import Ask

ASKS = [Ask("/status/project")]
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
"""Where Debian's package puts it."""

Start = Callable[[], AbstractContextManager[Contender]]


@contextmanager
def sse_starlette(length: int = LENGTH) -> Iterator[Contender]:
    """On uvicorn with uvloop and httptools, and Redis's client with hiredis: the fastest of the usual set-ups."""
    need("sse_starlette")
    need("hiredis")
    port = unused_port()
    with _redis() as redis_port:
        command = python(
            "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--backlog", "4096",
            "--loop", "uvloop", "--http", "httptools", "benchmarks.rivals.sse_starlette_app:app",
        )  # fmt: skip
        environment = _environment(REDIS_URL=f"redis://127.0.0.1:{redis_port}")
        with (
            running(command, port, environment=environment, directory=ROOT) as server,
            _connection(redis_port) as connection,
        ):
            payload = payloads(length)

            def publish(stamp: int) -> None:
                data = payload(stamp)
                connection.sendall(b"*3\r\n$7\r\nPUBLISH\r\n$7\r\nproject\r\n$%d\r\n%s\r\n" % (len(data), data))
                connection.recv(100)

            yield Contender("sse-starlette", port, ASKS, server, publish)


@contextmanager
def _redis() -> Iterator[int]:
    """A Redis that keeps nothing on disk; its port."""
    port = unused_port()
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as directory:
        command = [
            program("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--dir", directory,
            "--save", "", "--appendonly", "no", "--maxclients", "15000",
        ]  # fmt: skip
        with running(command, port):
            yield port


@contextmanager
def nchan(length: int = LENGTH) -> Iterator[Contender]:
    nginx = program("nginx", "nginx-light libnginx-mod-nchan")
    if not NCHAN.exists():
        raise NotInstalled("apt install libnginx-mod-nchan")
    port = unused_port()
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)  # the worker is another user when this is root
        text = Path(__file__).with_name("nchan.conf").read_text()
        for name, value in {"PORT": str(port), "MODULE": str(NCHAN), "DIRECTORY": directory}.items():
            text = text.replace(name, value)
        file = Path(directory) / "nginx.conf"
        file.write_text(text)
        with running([nginx, "-c", str(file), "-p", directory, "-e", "stderr"], port) as server:
            publishing = HTTPConnection("127.0.0.1", port)
            publishing.connect()
            publishing.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            payload = payloads(length)

            def publish(stamp: int) -> None:
                publishing.request("POST", "/publish/project", payload(stamp))
                publishing.getresponse().read()

            yield Contender("nchan", port, ASKS, server, publish, says_hello=False)
            publishing.close()


@contextmanager
def floor() -> Iterator[Contender]:
    port = unused_port()
    command = python("benchmarks.rivals.floor", str(port))
    with running(command, port, directory=ROOT) as server, _connection(port) as connection:
        connection.sendall(b"GET /publish HTTP/1.1\r\n\r\n")
        yield Contender("asyncio floor", port, ASKS, server, _by_lines(connection))


@contextmanager
def naive(stack: Stack, supabase_url: str) -> Iterator[Contender]:
    port = unused_port()
    project = stack.project()
    environment = _environment(SUPABASE_URL=supabase_url, SUPABASE_SECRET_KEY=stack.variables["SUPABASE_SECRET_KEY"])
    command = python("hypercorn", "--bind", f"127.0.0.1:{port}", "--backlog", "4096", "benchmarks.rivals.naive_app:app")
    with running(command, port, environment=environment, directory=ROOT) as server:
        yield Contender("naive", port, [Ask(f"/status/{project}")], server, publisher(stack, [project]))


@contextmanager
def bare(name: str, command: Command) -> Iterator[Contender]:
    """The server that ``command`` starts, with an application that does nothing else; see bare.py."""
    port, publish_port = unused_port(), unused_port()
    environment = _environment(PUBLISH_PORT=str(publish_port))
    with (
        running(command(port), port, environment=environment, directory=ROOT) as server,
        _connection(publish_port) as connection,
    ):
        yield Contender(name, port, ASKS, server, _by_lines(connection))


def _hypercorn(application: str) -> Command:
    return lambda port: python(
        "hypercorn",
        "-k",
        "uvloop",
        "--bind",
        f"127.0.0.1:{port}",
        "--backlog",
        "4096",
        f"benchmarks.rivals.bare:{application}",
    )


BARE: Mapping[str, Start] = {
    "hypercorn alone": lambda: bare("hypercorn alone", _hypercorn("asgi")),
    "hypercorn and Quart alone": lambda: bare("hypercorn and Quart alone", _hypercorn("quart")),
    "granian alone": lambda: bare("granian alone", lambda port: granian(port, "benchmarks.rivals.bare:asgi")),
}
RIVALS: Mapping[str, Start] = {"sse-starlette": sse_starlette, "nchan": nchan, "asyncio floor": floor}


def _environment(**variables: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **variables}


@contextmanager
def _connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def _by_lines(connection: socket.socket) -> Callable[[int], None]:
    """Publishes over a connection, a line for each change."""
    payload = payloads()
    return lambda stamp: connection.sendall(payload(stamp) + b"\n")
