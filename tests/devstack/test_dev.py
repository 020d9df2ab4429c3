"""``rowcast dev`` as a person uses it: the devstack, the service, the demo user, the environment for other programs."""

import asyncio
import os
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from devstack import dev as module
from devstack.errors import DevstackError
from tests.conftest import unused_port
from tests.devstack.programs import ROWCAST, dev, ended, new_ports, processes_of, refused, started, until
from tests.service.handmade import TABLES

NAMES = {
    "SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY", "SUPABASE_JWT_SECRET", "DATABASE_URL",
    "ROWCAST_URL", "ROWCAST_DEBUG", "STUDIO_URL", "ROWCAST_DEMO_PROJECT", "ROWCAST_DEMO_EMAIL", "ROWCAST_DEMO_PASSWORD",
}  # fmt: skip


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def sourced(directory):
    """The environment of a shell that has read DATA_DIR/env, as the welcome says."""
    script = f"set -a; . {shlex.quote(str(directory / 'env'))}; set +a; env -0"
    told = run(["sh", "-c", script], env={"PATH": os.environ["PATH"]})
    return dict(line.split("=", 1) for line in told.split("\0") if line)


def holder(directory):
    return int((directory / "lock").read_text())


def test_a_project_with_tables_of_its_own_needs_no_demo_user(directory, tmp_path):
    migrations = tmp_path / "project" / "supabase" / "migrations"
    migrations.mkdir(parents=True)
    (migrations / "20250101000000_mine.sql").write_text(TABLES)
    detach = dev(directory, "--detach", f"--project-dir={tmp_path / 'project'}")
    assert run([*detach, *new_ports("service")]).startswith("rowcast is up (")
    assert httpx.get(f"{sourced(directory)['ROWCAST_URL']}/readyz").json()["mode"] == "direct"
    run(dev(directory, "--stop"))


def test_in_the_background_with_a_crash_and_an_end(directory):
    detach = dev(directory, "--detach")
    told = run([*detach, *new_ports("service")])
    environment = sourced(directory)
    assert told.startswith("rowcast is up (")
    for name in ("ROWCAST_URL", "SUPABASE_URL", "STUDIO_URL"):
        assert environment[name] in told
    assert f"set -a; . {shlex.quote(str(directory / 'env'))}; set +a" in told
    assert stat.S_IMODE((directory / "env").stat().st_mode) == 0o600
    assert {*environment} >= NAMES
    assert all(environment[name] for name in NAMES)
    assert httpx.get(f"{environment['ROWCAST_URL']}/readyz").status_code == 200

    # The demo user may see the demo project, others may not.
    token = run([ROWCAST, "token", "--email", environment["ROWCAST_DEMO_EMAIL"]], env=environment)
    assert token.count("\n") == 1
    assert (read(environment, "projects", token), read(environment, "projects", None)) == (
        [environment["ROWCAST_DEMO_PROJECT"]], [],
    )  # fmt: skip
    assert refused([ROWCAST, "token", "--email", "a@example.com"], environment) == (
        "Error: The devstack has no user a@example.com; sign up first (POST /auth/v1/signup)."
    )
    key = {"apikey": environment["SUPABASE_PUBLISHABLE_KEY"]}
    password = {"email": environment["ROWCAST_DEMO_EMAIL"], "password": environment["ROWCAST_DEMO_PASSWORD"]}
    auth = f"{environment['SUPABASE_URL']}/auth/v1"
    assert httpx.post(f"{auth}/token?grant_type=password", headers=key, json=password).status_code == 200
    other = httpx.post(f"{auth}/signup", headers=key, json={"email": "b@example.com", "password": "pa55word!"})
    assert read(environment, "projects", other.json()["access_token"]) == []

    # Nothing disturbs it.
    process = psutil.Process(holder(directory))
    stop = f"`rowcast dev --data-dir {shlex.quote(str(directory))} --stop`"
    line = f"Error: A devstack already runs on {directory} (process {process.pid}); {stop} ends it."
    before = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    for option in ("--reset", "--detach"):
        assert refused(dev(directory, option)) == line
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == before

    # It crashes, all of it, and leaves three running.
    process.kill()
    until(lambda: not any("service.cli dev" in command for command in processes_of(directory).values()))
    left = " ".join(processes_of(directory).values())
    assert all(part in left for part in ("bin/postgres", "lite/dist/cli/index.js", "service.cli serve"))
    told = run(detach)
    assert told.startswith("Cleaned up after a crash: lite, postgres, service.\nrowcast is up (")
    assert sourced(directory) == environment
    assert read(environment, "projects", token) == [environment["ROWCAST_DEMO_PROJECT"]]

    assert run(dev(directory, "--stop")) == "Stopped.\n"
    assert processes_of(directory) == {}
    assert not module.stop(directory)


def read(environment, table, token):
    """The ids that the bearer of a token may see through REST."""
    headers = {"apikey": environment["SUPABASE_PUBLISHABLE_KEY"]}
    if token:
        headers["Authorization"] = f"Bearer {token.strip()}"
    answer = httpx.get(f"{environment['SUPABASE_URL']}/rest/v1/{table}", headers=headers)
    return [row["id"] for row in answer.json()] if answer.status_code == 200 else []


def test_damage_is_told_and_a_reset_begins_anew(directory):
    (directory / "postgres").mkdir(parents=True)
    (directory / "postgres" / "foreign.txt").touch()
    (directory / "mine.txt").touch()
    (directory / "lock").touch()
    (directory / "stack.json").write_text("{}")
    assert refused(dev(directory, "--detach")) == (
        f"Error: {directory / 'stack.json'} is damaged (it has no 'keys'); "
        f"`rowcast dev --data-dir {shlex.quote(str(directory))} --reset` deletes the data and begins anew."
    )
    with started(dev(directory, "--reset", *new_ports("service")), process_group=0) as process:
        last = next(line for line in process.stdout if line.startswith("For other terminals"))
        assert last == f"For other terminals:  set -a; . {shlex.quote(str(directory / 'env'))}; set +a\n"
        assert not (directory / "postgres" / "foreign.txt").exists()
        assert (directory / "mine.txt").exists()
        assert all(os.getpgid(pid) != process.pid for pid in processes_of(directory) if pid != process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        assert process.stdout.read() == "Stopped.\n"
        assert ended(process) == (0, "")
    assert processes_of(directory) == {}


def test_in_the_background_a_failed_start_is_told_in_a_line(directory):
    port = new_ports()[0].partition("=")[2]
    assert refused(dev(directory, "--detach", f"--gateway-port={port}", f"--service-port={port}")) == (
        f"Error: Port {port} can't be both the gateway's and the service's; "
        "choose another with --service-port or --gateway-port."
    )
    assert processes_of(directory) == {}


def test_in_the_background_interrupted_while_it_starts_it_leaves_nothing(directory):
    with started(dev(directory, "--detach", *new_ports("service"))) as process:
        until(lambda: any("migration up" in command for command in processes_of(directory).values()))
        assert ended(process, signal.SIGINT) == (130, "\nInterrupted.\n")
    assert processes_of(directory) == {}


async def test_a_service_that_does_not_get_ready_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "START_SECONDS", 0.2)
    runs = await asyncio.create_subprocess_exec(sys.executable, "-c", "import signal; signal.pause()")
    url = f"http://127.0.0.1:{unused_port()}/readyz"
    assert not await module._is_ready(runs, url)
    await module._stop(runs)
    assert runs.returncode == -signal.SIGTERM
    assert not await module._is_ready(runs, url)


async def test_a_service_that_ends_by_itself_is_told_with_its_last_words(tmp_path):
    log = tmp_path / "service.log"
    log.write_text("starting\nout of memory\n\n")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(3)")
    with pytest.raises(DevstackError) as told:
        await module.service_ended(process, log)
    assert str(told.value) == (f"The service ended by itself (exit status 3): out of memory (all of it: {log})")


def test_the_page_is_told_with_who_may_sign_in_where_it_is_built():
    told = dict.fromkeys(("SUPABASE_URL", "STUDIO_URL"), "http://x")
    told |= {
        "ROWCAST_URL": "http://127.0.0.1:1",
        "ROWCAST_DEMO_EMAIL": "demo@example.com",
        "ROWCAST_DEMO_PASSWORD": "secret",
    }
    said = "page      http://127.0.0.1:1 (sign in as demo@example.com with secret)"
    assert said in module.welcome({**told, "ROWCAST_WEB_DIR": "web/out"}, Path("env"), 1)
    assert "sign in" not in module.welcome(told, Path("env"), 1)


def test_the_way_to_the_environment_is_short_where_one_is_and_quoted_where_it_must_be(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    variables = dict.fromkeys(("ROWCAST_URL", "SUPABASE_URL", "STUDIO_URL"), "http://x")
    assert module.welcome(variables, tmp_path / ".rowcast" / "env", 1).endswith(" . .rowcast/env; set +a")
    assert module.welcome(variables, Path("/some where/env"), 1).endswith(" . '/some where/env'; set +a")
