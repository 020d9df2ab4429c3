"""What servers cost, as the kernel counts it, and how to start and stop them."""

import random
import resource
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from devstack.state import OTHER_PORTS, free_port

START_SECONDS = 30


def unused_port() -> int:
    return free_port(random.choice(OTHER_PORTS), avoid=set())


def many_files() -> None:
    """Lets this process and those it starts open as many files as they may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Server:
    """A server and the processes it has started."""

    def __init__(self, pid: int) -> None:
        self.process = psutil.Process(pid)

    def _all(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu(self) -> float:
        """Seconds of CPU, its own and the kernel's on its behalf, since it started: to the nanosecond, as the scheduler
        counts it (``/proc/PID/schedstat``). Of threads that have ended nothing is known."""
        tasks = (task for process in self._all() for task in Path(f"/proc/{process.pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def memory(self) -> int:
        """Bytes of memory of its own (USS): what would be free if it ended."""
        return sum(int(process.memory_full_info().uss) for process in self._all())


@contextmanager
def running(
    command: Sequence[str], port: int, *, environment: Mapping[str, str] | None = None, directory: Path | None = None
) -> Iterator[Server]:
    """Starts a server, and stops it at the end; it has begun when something listens on ``port``.

    Raises RuntimeError, with what it said, when it does not begin.
    """
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory
        ) as process,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{' '.join(command)} did not start: {log.read()}")
                time.sleep(0.05)
            yield Server(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
