"""What a devstack keeps in its data directory: ports, keys and passwords.

``stack.json`` is all of it, readable by its owner alone. A lock on the file ``lock`` says that a devstack runs on the
directory; the operating system lets go of it however that process ends.
"""

import fcntl
import json
import os
import random
import secrets
import shutil
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from devstack.errors import DevstackError, way_out
from devstack.lite import Keys

PREFERRED_PORTS = {"gateway": 54321, "database": 54322, "studio": 54323, "service": 8000}
PARTS = ("gateway", "database", "studio")
# Below the range from which systems take the ports of outgoing connections: those would get in the way of a restart.
OTHER_PORTS = range(20000, 32000)
# All that a devstack makes in its directory, but the lock.
FILES = ("stack.json", "stack.json.new", "env", "env.new", "dev.log", "lite.log", "postgres.log", "service.log")
FOLDERS = ("lite", "postgres")


@dataclass
class State:
    """The contents of stack.json. ``prepared`` says that the database has its roles, migrations and seed."""

    ports: dict[str, int]
    keys: Keys
    database_password: str
    demo_password: str
    prepared: bool = False

    def choose_ports(self, names: Iterable[str], asked: dict[str, int]) -> None:
        """Gives each name a port: the one asked for, the one it had before, its preferred one, or any free one.

        Those of a first start that failed do not count: nobody has come to rely on them.

        Raises :class:`DevstackError` when two names would share a port.
        """
        self.ports = (self.ports if self.prepared else {}) | asked
        for name in names:
            if name not in self.ports:
                self.ports[name] = free_port(PREFERRED_PORTS[name], avoid=set(self.ports.values()))
        owners: dict[int, str] = {}
        for name in names:
            other = owners.setdefault(self.ports[name], name)
            if other != name:
                raise DevstackError(
                    f"Port {self.ports[name]} can't be both the {other}'s and the {name}'s; "
                    f"choose another with --{name}-port or --{other}-port."
                )


class DataDirectory:
    """One devstack's directory, held by at most one running devstack.

    Raises :class:`DevstackError` when it is no such directory, is damaged, or another devstack runs on it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._file = self.path / "stack.json"
        self._lock: IO[str] | None = None

    def _check(self) -> None:
        """Refuses a path that is something else."""
        if self.path.exists() and not self.path.is_dir():
            raise DevstackError(f"{self.path} is a file; name a directory with --data-dir.")
        if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / "lock").exists():
            raise DevstackError(
                f"{self.path} holds other files and no rowcast data; name a new or empty directory with --data-dir."
            )

    def acquire(self) -> None:
        """Makes the directory if need be and takes its lock."""
        self._check()
        self.path.mkdir(parents=True, exist_ok=True)
        lock = (self.path / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            end = way_out("--stop", self.path)
            raise DevstackError(
                f"A devstack already runs on {self.path} (process {self.holder()}); {end} ends it."
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
                written = lock.read()
                # Only a look at the lock proves that the process is a devstack's, but it can get in the way of one
                # that is just starting. So it is the last thing to look at.
                if not written.isdecimal() or not psutil.pid_exists(int(written)):
                    return None
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(written)
        except FileNotFoundError:
            pass
        return None

    def load(self) -> State | None:
        """The state as saved, or None in a new directory."""
        try:
            if not self._file.exists():
                if (self.path / "postgres").exists():
                    raise ValueError("it is missing, though there is a database")
                return None
            return _parse(json.loads(self._file.read_text()))
        except ValueError as error:
            reset = way_out("--reset", self.path)
            raise DevstackError(
                f"{self._file} is damaged ({error}); {reset} deletes the data and begins anew."
            ) from None

    def save(self, state: State) -> None:
        self.write_private(self._file.name, json.dumps(asdict(state), indent=2))

    def write_private(self, name: str, text: str) -> Path:
        """Writes a file, at once as a whole, that only its owner may read, and returns its path."""
        path, scratch = self.path / name, self.path / f"{name}.new"
        scratch.unlink(missing_ok=True)
        scratch.touch(mode=0o600)
        scratch.write_text(text)
        scratch.replace(path)
        return path

    def erase(self) -> None:
        """Deletes what a devstack made, but the lock, and leaves all else; the directory must be held."""
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)
        for name in FOLDERS:
            if (self.path / name).exists():
                shutil.rmtree(self.path / name)


def _parse(saved: Any) -> State:
    """Raises ValueError when ``saved`` is not what :meth:`DataDirectory.save` writes."""
    try:
        keys, ports = Keys(**saved["keys"]), dict(saved["ports"])
        state = State(ports, keys, saved["database_password"], saved["demo_password"], saved["prepared"])
    except KeyError as error:
        raise ValueError(f"it has no {error}") from None
    except TypeError:
        raise ValueError("it is not what a devstack writes") from None
    texts = (*asdict(keys).values(), state.database_password, state.demo_password)
    if not (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(port, int) and 0 < port < 65536 for port in ports.values())
        and isinstance(state.prepared, bool)
    ):
        raise ValueError("it is not what a devstack writes")
    return state


def new_state() -> State:
    """A fresh state with keys and passwords of its own."""
    keys = Keys(
        publishable=f"sb_publishable_{secrets.token_urlsafe(24)}",
        secret=f"sb_secret_{secrets.token_urlsafe(24)}",
        jwt_secret=secrets.token_urlsafe(48),
    )
    return State({}, keys, database_password=secrets.token_urlsafe(18), demo_password=secrets.token_urlsafe(12))


def check_port(name: str, port: int) -> None:
    """Raises :class:`DevstackError`, naming the option to choose another, when ``port`` can't be listened on."""
    if error := _bind(port):
        raise DevstackError(
            f"The {name} can't have port {port} ({error.strerror}); free it, or choose another with --{name}-port."
        )


def free_port(preferred: int, avoid: set[int]) -> int:
    """``preferred`` when nobody has it, else one of OTHER_PORTS."""
    for port in (preferred, *random.sample(OTHER_PORTS, len(OTHER_PORTS))):
        if port not in avoid and _bind(port) is None:
            return port
    raise DevstackError("No port is free.")


def _bind(port: int) -> OSError | None:
    """What keeps a program from listening on 127.0.0.1:``port``, if anything."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error
    return None
