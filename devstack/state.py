"""What a devstack keeps in its data directory: ports, keys, and the processes it has running.

``stack.json`` is all of it, readable by its owner alone. A lock on the file ``lock`` says that a devstack runs on the
directory; the operating system lets go of it however that process ends, so processes listed without it are leftovers.
"""

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import psutil

from devstack.errors import DevstackError
from devstack.lite import Keys

PREFERRED_PORTS = {"gateway": 54321, "database": 54322, "studio": 54323, "service": 8000}
PARTS = ("gateway", "database", "studio")
STOP_SECONDS = 10


@dataclass
class State:
    """The contents of stack.json. ``processes`` maps a name to (pid, start time in s since the epoch); ``prepared``
    says that the database has its roles, migrations and seed."""

    ports: dict[str, int]
    keys: Keys
    database_password: str
    demo_password: str
    prepared: bool = False
    processes: dict[str, tuple[int, float]] = field(default_factory=dict)

    def choose_ports(self, names: Iterable[str], asked: dict[str, int]) -> None:
        """Gives each name a port: the one asked for, the one it had before, its preferred one, or any free one."""
        self.ports |= asked
        for name in names:
            if name not in self.ports:
                self.ports[name] = free_port(PREFERRED_PORTS[name], avoid=set(self.ports.values()))


class DataDirectory:
    """One devstack's directory, held by at most one running devstack.

    Raises :class:`DevstackError` when it is no such directory, is damaged, or another devstack runs on it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._file = self.path / "stack.json"
        self._lock: IO[str] | None = None

    def check(self) -> None:
        """Refuses a path that is something else."""
        if self.path.exists() and not self.path.is_dir():
            raise DevstackError(f"{self.path} is a file; name a directory with --data-dir.")
        if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / "lock").exists():
            raise DevstackError(
                f"{self.path} holds other files and no rowcast data; name a new or empty directory with --data-dir."
            )

    def acquire(self) -> None:
        """Makes the directory if need be and takes its lock."""
        self.check()
        self.path.mkdir(parents=True, exist_ok=True)
        lock = (self.path / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise DevstackError(
                f"A devstack already runs on {self.path} (process {self.holder()}); `rowcast dev --stop` ends it."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def release(self) -> None:
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def holder(self) -> int | None:
        """The process that holds the directory, or None."""
        try:
            with (self.path / "lock").open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(lock.read() or 0) or None
        except FileNotFoundError:
            pass
        return None

    def load(self) -> State | None:
        """The state as saved, or None in a new directory."""
        if not self._file.exists():
            return None
        try:
            saved = json.loads(self._file.read_text())
            processes = {name: (int(pid), float(born)) for name, (pid, born) in saved.pop("processes").items()}
            return State(keys=Keys(**saved.pop("keys")), processes=processes, **saved)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DevstackError(
                f"{self._file} is damaged ({error}); `rowcast dev --reset` deletes the data and begins anew."
            ) from None

    def save(self, state: State) -> None:
        scratch = self._file.with_suffix(".new")
        scratch.touch(mode=0o600)
        scratch.write_text(json.dumps(asdict(state), indent=2))
        scratch.replace(self._file)

    def write_private(self, name: str, text: str) -> Path:
        """Writes a file that only its owner may read, and returns its path."""
        path = self.path / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def erase(self) -> None:
        """Deletes all but the lock; the directory must be held."""
        for entry in self.path.iterdir():
            if entry.name == "lock":
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def new_state() -> State:
    """A fresh state with keys and passwords of its own."""
    keys = Keys(
        publishable=f"sb_publishable_{secrets.token_urlsafe(24)}",
        secret=f"sb_secret_{secrets.token_urlsafe(24)}",
        jwt_secret=secrets.token_urlsafe(48),
    )
    return State({}, keys, database_password=secrets.token_urlsafe(18), demo_password=secrets.token_urlsafe(12))


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(preferred: int, avoid: set[int]) -> int:
    """``preferred`` when nobody has it, else one the system gives."""
    if preferred not in avoid and port_is_free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def started_at(pid: int) -> float:
    """When a running process began, in s since the epoch; with its pid that names it for good."""
    return psutil.Process(pid).create_time()


def stop_leftovers(processes: dict[str, tuple[int, float]]) -> list[str]:
    """Ends those of ``processes`` that still run and are the very ones listed; returns their names."""
    found = {}
    for name, (pid, born) in processes.items():
        try:
            process = psutil.Process(pid)
            if abs(process.create_time() - born) < 1:
                process.send_signal(signal.SIGTERM)
                found[name] = process
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(list(found.values()), timeout=STOP_SECONDS)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)
    return list(found)
