"""Whole devstacks, each in a process of its own, without the service (test_dev.py has it too)."""

import asyncio
import os
import pwd
import shlex
import shutil
import signal
import socket
import sys
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from devstack import postgres
from devstack.errors import DevstackError
from devstack.leftovers import MARK
from devstack.stack import Devstack, reset, until_signalled
from devstack.state import PARTS
from tests.conftest import ROOT, unused_port
from tests.devstack.programs import announced, devstack, ended, new_ports, processes_of, refused, started, until


@pytest.fixture
def project(directory):
    """A project of one migration, which a test may spoil."""
    root = directory.with_name("project of " + directory.name)
    (root / "supabase" / "migrations").mkdir(parents=True)
    (root / "supabase" / "migrations" / "20260101000001_notes.sql").write_text(
        "create table notes (id int primary key);"
    )
    (root / "supabase" / "seed.sql").write_text("insert into notes values (1);")
    return root


def rows(told, table):
    answer = httpx.get(f"{told['SUPABASE_URL']}/rest/v1/{table}", headers={"apikey": told["SUPABASE_SECRET_KEY"]})
    assert answer.status_code == 200
    return answer.json()


def is_running(directory, part):
    return any(part in command for command in processes_of(directory).values())


# Starting, stopping, starting again


def test_a_later_start_keeps_data_ports_and_keys_and_nothing_runs_between(directory, project, stack):
    with started(devstack(directory, *new_ports(), project=project), process_group=0) as process:
        told = announced(process)
        assert told["SUPABASE_URL"] != stack.supabase_url  # two run side by side
        with psycopg.connect(told["DATABASE_URL"], autocommit=True) as connection:
            connection.execute("insert into notes values (2)")
        assert rows(told, "notes") == [{"id": 1}, {"id": 2}]
        strange = httpx.get(f"{told['SUPABASE_URL']}/rest/v1/notes", headers={"apikey": stack.secret_key})
        assert strange.status_code == 401
        assert httpx.get(told["STUDIO_URL"]).status_code == 200

        assert refused(devstack(directory, project=project)) == (
            f"devstack: A devstack already runs on {directory} (process {process.pid}); "
            f"`rowcast dev --data-dir {shlex.quote(str(directory))} --stop` ends it."
        )
        for part in ("bin/postgres", "lite/dist/cli/index.js", "-m devstack"):
            assert is_running(directory, part)
        assert all(os.getpgid(pid) != process.pid for pid in processes_of(directory) if pid != process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does, which must not reach the parts
        assert ended(process) == (0, "")
    assert processes_of(directory) == {}

    # A port of the first start has been taken since.
    port = int(told["STUDIO_URL"].rpartition(":")[2])
    with socket.socket() as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        rival.bind(("127.0.0.1", port))
        rival.listen()
        assert refused(devstack(directory, project=project)) == (
            f"devstack: The studio can't have port {port} (Address already in use); "
            "free it, or choose another with --studio-port."
        )
    assert processes_of(directory) == {}

    later = project / "supabase" / "migrations" / "20260102000001_later.sql"
    later.write_text("alter table notes add later text default 'yes';")
    (project / "supabase" / "seed.sql").write_text("no longer read")
    with started(devstack(directory, project=project)) as process:
        assert announced(process) == told
        assert rows(told, "notes") == [{"id": 1, "later": "yes"}, {"id": 2, "later": "yes"}]

        # A part of it dies.
        (lite,) = [pid for pid, command in processes_of(directory).items() if "lite/dist/cli/index.js" in command]
        psutil.Process(lite).kill()
        assert ended(process) == (
            1,
            f"devstack: Supabase Lite ended by itself (exit status -9); its log is {directory / 'lite.log'}.\n",
        )
    assert processes_of(directory) == {}


def test_with_faults_supabase_lite_is_started_again_when_it_dies(directory, project):
    with started(devstack(directory, "--faults", *new_ports(), project=project)) as process:
        told = announced(process)
        (lite,) = [pid for pid, command in processes_of(directory).items() if "lite/dist/cli/index.js" in command]
        psutil.Process(lite).kill()
        url, key = f"{told['SUPABASE_URL']}/rest/v1/notes", {"apikey": told["SUPABASE_SECRET_KEY"]}
        until(lambda: not psutil.pid_exists(lite) and httpx.get(url, headers=key).status_code == 200)
        assert rows(told, "notes") == [{"id": 1}]
        assert "exit status -9" in ended(process, signal.SIGTERM)[1]


def test_a_first_start_that_crashed_or_failed_is_no_obstacle_to_the_next(directory, project):
    command = devstack(directory, *new_ports(), project=project)
    for moment in ("bin/initdb", "migration up"):
        with started(command) as process:
            until(lambda moment=moment: is_running(directory, moment) or process.poll() is not None)
            assert ended(process, signal.SIGKILL) == (-signal.SIGKILL, "")
        assert processes_of(directory) != {}

    seed = project / "supabase" / "seed.sql"
    seed.write_text("insert into notes values ('one');")
    assert refused(command) == f'devstack: {seed} failed: invalid input syntax for type integer: "one"'
    assert processes_of(directory) == {}

    seed.write_text("insert into notes values (1);")
    with started(command) as process:
        assert rows(announced(process), "notes") == [{"id": 1}]
        assert ended(process, signal.SIGTERM) == (0, "")
    assert processes_of(directory) == {}


# What goes wrong


def test_what_is_missing_is_told_before_anything_is_made(directory, scratch):
    no_node = {**os.environ, "PATH": str(scratch)}
    if not (Path(sys.executable).parent / "node").exists():  # `make setup` may have put one there
        assert refused(devstack(directory), no_node) == (
            "devstack: The devstack needs Node.js 20 or newer (none found). "
            "Install it, or run `make setup`, which brings one."
        )
    assert refused(devstack(directory, project=scratch)) == (
        f"devstack: {scratch} has no supabase/migrations; "
        "run this in a checkout of rowcast, or name one with --project-dir."
    )
    assert not directory.exists()


def test_what_can_not_be_used_is_told_in_a_line(directory):
    directory.mkdir()
    (directory / "thesis.txt").write_text("years of work")
    assert refused(devstack(directory)) == (
        f"devstack: {directory} holds other files and no rowcast data; name a new or empty directory with --data-dir."
    )
    below = directory / "thesis.txt" / "below"
    assert refused(devstack(below)) == f"devstack: [Errno 20] Not a directory: {str(below)!r}"


# Who starts it


def reachable_python():
    """This Python, or one of the same version that every user can run, and what makes it find the same modules."""
    for found in (sys.executable, shutil.which(f"python{sys.version_info[0]}.{sys.version_info[1]}", path="/usr/bin")):
        if found and all(parent.stat().st_mode & 0o001 for parent in Path(found).resolve().parents):
            packages = [path for path in sys.path if path.endswith("-packages")]
            return found, os.pathsep.join([str(ROOT), *packages])
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="all the other tests have started it as a normal user")
def test_a_normal_user_can_start_it(scratch):
    nobody = pwd.getpwnam("nobody")
    python = reachable_python()
    if python is None or not all(parent.stat().st_mode & 0o001 for parent in Path(__file__).parents):
        pytest.skip("no Python of this version, or not this checkout, can be reached by another user than root")
    home = scratch / "nobody"
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": python[1]}
    as_nobody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "umask": 0o077}
    command = [python[0], *devstack(home / "data", *new_ports())[1:]]
    with started(command, cwd=home, env=environment, **as_nobody) as process:
        told = announced(process)
        assert told, process.communicate()
        assert len(rows(told, "projects")) == 1
        assert {psutil.Process(pid).username() for pid in processes_of(home)} == {"nobody"}
        assert {path.owner() for path in home.rglob("*") if not path.is_symlink()} == {"nobody"}
        assert ended(process, signal.SIGTERM) == (0, "")
    assert processes_of(home) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as somebody else")
async def test_root_can_start_it_in_a_place_of_its_own(directory, project, scratch, monkeypatch):
    home = scratch / "root-home"
    monkeypatch.setattr(postgres, "ROOT_HOME", home)
    directory.mkdir(mode=0o700)
    data = directory / "data"
    asked = {name: unused_port() for name in PARTS}

    async with Devstack(data, project, asked) as stack:
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute("insert into notes values (2)")
    (elsewhere,) = home.glob("data-*")
    assert not (data / "postgres").exists()

    shutil.rmtree(data)  # what was kept elsewhere for it must not come back
    async with Devstack(data, project, asked) as stack:
        with psycopg.connect(stack.database_url) as connection:
            assert connection.execute("select id from notes").fetchall() == [(1,)]
        assert elsewhere.exists()

    reset(data)
    assert not elsewhere.exists()
    assert [path.name for path in data.iterdir()] == ["lock"]


def test_its_parts_are_marked_and_itself_is_not(stack):
    marks = {}
    for pid, command in processes_of(stack.data_dir).items():
        marks[" ".join(command.split()[:3])] = psutil.Process(pid).environ().get(MARK)
    assert marks.pop(f"{sys.executable} -m devstack") is None
    assert {mark for mark in marks.values() if mark} == {f"{part}:{stack.data_dir}" for part in ("lite", "postgres")}


# Signals


@pytest.fixture
def signals():
    """Puts everybody's handlers back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_the_first_signal_ends_the_work_and_no_other_disturbs_its_end(signals, number):
    steps = []

    async def work():
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), number)
            await asyncio.sleep(0)
            await asyncio.to_thread(steps.append, "cleaned up")

    await until_signalled(work())
    assert steps == ["cleaned up"]


async def test_a_hangup_is_ignored_under_nohup(signals):
    async def work():
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    await until_signalled(work())
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


async def test_what_the_work_raises_is_raised(signals):
    async def work(error):
        raise error

    with pytest.raises(DevstackError, match="broken"):
        await until_signalled(work(DevstackError("broken")))
    with pytest.raises(asyncio.CancelledError):
        await until_signalled(work(asyncio.CancelledError()))
