"""Supabase Lite (npm ``@supabase/lite``): REST, Auth and Studio on a PostgreSQL of ours.

Lite reads a configuration of its own, whose keys are not the Supabase CLI's. So it gets a generated directory, in
which the project's migrations are linked; nothing of it shows in the project's ``supabase/``.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psycopg
from yarl import URL

from devstack.errors import DevstackError
from devstack.leftovers import mark

NODE_MAJOR = 20
SERVING_ROLE = "supabase_lite"
START_SECONDS = 30
STOP_SECONDS = 5
PACKAGES = Path(__file__).parent / "node_modules"
PROGRAM = PACKAGES / "@supabase" / "lite" / "dist" / "cli" / "index.js"


@dataclass(frozen=True)
class Keys:
    """The API keys and the secret that signs access tokens."""

    publishable: str
    secret: str
    jwt_secret: str


def find_node() -> str:
    """The path of a Node.js that can run Lite: the one on PATH, or the one `make setup` put beside our Python."""
    beside_python = Path(sys.executable).parent
    found = []
    for node in (shutil.which("node"), shutil.which("node", path=str(beside_python))):
        if node is None:
            continue
        try:
            # What is called node may be a wrapper that passes no signals on (that of the wheel is): ask who it runs.
            asked = [node, "-p", "process.version + ' ' + process.execPath"]
            said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        except OSError:
            said = ""
        told = re.match(r"(v(\d+)\.\S+) (.+)", said)
        if told and int(told[2]) >= NODE_MAJOR:
            return told[3]
        found.append(f"{node} is {told[1] if told else 'broken'}")
    raise DevstackError(
        f"The devstack needs Node.js {NODE_MAJOR} or newer ({'; '.join(found) or 'none found'}). "
        "Install it, or run `make setup`, which brings one."
    )


def program() -> list[str]:
    """The command that runs Lite. Raises :class:`DevstackError` when Node.js or Lite is missing."""
    if not PROGRAM.exists():
        raise DevstackError("Supabase Lite is not installed: run `make setup`.")
    return [find_node(), str(PROGRAM)]


class Lite:
    """One Supabase Lite, configured in ``directory``/lite and listening on 127.0.0.1:``port``."""

    def __init__(self, directory: Path, port: int, database_url: str, keys: Keys, migrations: Path) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._root = directory.resolve() / "lite"
        self._database_url = database_url
        self._keys = keys
        self._migrations = migrations
        self._process: asyncio.subprocess.Process | None = None
        self._mark = mark("lite", directory)
        self.log = directory.resolve() / "lite.log"

    def configure(self, role: str = "postgres") -> None:
        """Writes Lite's configuration, readable by its owner alone (it holds the keys).

        ``role`` is who it is in the database: the superuser to migrate, SERVING_ROLE to serve (see lite_role.sql).
        """
        config: dict[str, dict[str, object]] = {
            "api": {"port": self.port},
            "db": {"driver": "postgres", "url": str(URL(self._database_url).with_user(role))},
            "db.seed": {"sql_paths": []},
            "auth": {
                "enabled": True,
                "jwt_secret": self._keys.jwt_secret,
                "jwt_expiry": 3600,
                "enable_signup": True,
                "publishable_key": self._keys.publishable,
                "secret_key": self._keys.secret,
            },
            "auth.email": {"enable_confirmations": False},
        }
        folder = self._root / "supabase"
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / "migrations"
        link.unlink(missing_ok=True)
        link.symlink_to(self._migrations.resolve())
        path = folder / "config.toml"
        path.touch(mode=0o600)
        path.write_text(
            "\n".join(
                f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
                for section, values in config.items()
            )
        )

    async def migrate(self) -> None:
        """Applies the migrations that the database has not had yet."""
        await self._spawn("migration", "up")
        if await self.wait() != 0:
            raise DevstackError(f"Supabase Lite can't migrate the database: {self._complaint()}")

    async def start(self) -> None:
        """Starts the server and waits until it answers."""
        # Studio needs admin mode: on Lite's own port a request from there, which brings no key, acts as the service
        # role. The gateway, which everybody else uses, lets no request through without a key.
        process = await self._spawn("start", "--admin", "--host", "127.0.0.1")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as session:
                while process.returncode is None:
                    try:
                        async with session.get(f"{self.url}/auth/v1/health"):
                            await self._first_request(session)
                            return
                    except (aiohttp.ClientConnectionError, psycopg.OperationalError):
                        await asyncio.sleep(0.02)
        raise DevstackError(f"Supabase Lite did not start: {self._complaint()}")

    async def _first_request(self, session: aiohttp.ClientSession) -> None:
        """Reads no row of some table. The first request that reaches one makes Lite grant things in the database; of
        several that come first at once, some would be answered 500, "tuple concurrently updated"."""
        async with await psycopg.AsyncConnection.connect(self._database_url) as database:
            tables = await database.execute(
                "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' limit 1"
            )
            for (table,) in await tables.fetchall():
                url = (URL(self.url) / "rest/v1" / table).with_query(limit=0)
                async with session.get(url, headers={"apikey": self._keys.secret}):
                    pass  # whatever it answers: that table may be nobody's to read

    async def wait(self) -> int:
        """Returns the server's exit status once it has ended."""
        if self._process is None:
            raise DevstackError("Supabase Lite was not started.")
        return await self._process.wait()

    async def stop(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _spawn(self, *arguments: str) -> asyncio.subprocess.Process:
        with self.log.open("w") as log:
            self._process = await asyncio.create_subprocess_exec(
                *program(), "--no-telemetry", *arguments,
                cwd=self._root, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                # A session of its own: Ctrl-C in a terminal reaches the devstack alone, which stops its parts in order.
                start_new_session=True, env={**os.environ, **self._mark, "NO_COLOR": "1", "DO_NOT_TRACK": "1"},
            )  # fmt: skip
        return self._process

    def _complaint(self) -> str:
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        told = [line for line in lines if re.search("error|failed|cannot", line, re.IGNORECASE)] or lines
        return f"{told[-1] if told else 'no message'} (all of it: {self.log})"
