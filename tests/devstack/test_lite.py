import asyncio
import shutil
import signal
import stat
import sys
import tomllib
from pathlib import Path

import aiohttp
import psycopg
import pytest

from devstack import lite
from devstack.errors import DevstackError
from devstack.lite import Keys, Lite, find_node, program
from tests.conftest import ROOT, unused_port

KEYS = Keys('p"\\', "s", "a secret of at least thirty-two characters")


@pytest.fixture(scope="module")
def real_node():
    return find_node()


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A PATH with nothing on it but what a test puts there, and nothing beside Python."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    (tmp_path / "bin").mkdir()
    return folder


def put(folder, script):
    node = folder / "node"
    node.write_text(f"#!/bin/sh\n{script}\n")
    node.chmod(0o755)
    return node


# Node.js


def test_no_node_is_told(path):
    with pytest.raises(DevstackError) as missing:
        find_node()
    assert str(missing.value) == (
        "The devstack needs Node.js 20 or newer (none found). Install it, or run `make setup`, which brings one."
    )


def test_an_old_node_is_told_with_its_version_and_place(path):
    node = put(path, "echo v18.19.0 /somewhere/node")
    with pytest.raises(DevstackError, match=rf"Node.js 20 or newer \({node} is v18.19.0\)\. Install it"):
        find_node()


@pytest.mark.parametrize("script", ["exit 1", "echo hello", "echo v", "echo vnext.1.2 /node"])
def test_a_node_that_says_no_version_is_told(path, script):
    node = put(path, script)
    with pytest.raises(DevstackError, match=rf"\({node} is broken\)"):
        find_node()


def test_a_node_that_is_no_program_is_told(path):
    node = put(path, "")
    node.write_bytes(b"\x7fELFgarbage")
    with pytest.raises(DevstackError, match=rf"\({node} is broken\)"):
        find_node()


def test_the_node_beside_python_serves_when_the_one_on_the_path_does_not(path, tmp_path):
    old = put(path, "echo v12.0.0 /old/node")
    put(tmp_path / "bin", "echo v24.1.0 /new/node")
    assert find_node() == "/new/node"
    put(tmp_path / "bin", "echo v19.9.9 /new/node")
    with pytest.raises(DevstackError, match=rf"\({old} is v12.0.0; {tmp_path / 'bin' / 'node'} is v19.9.9\)"):
        find_node()


def test_a_wrapper_is_not_taken_for_node_itself(real_node, path):
    put(path, f'{real_node} "$@"; exit $?')
    assert find_node() == real_node


def test_missing_packages_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(lite, "PROGRAM", tmp_path / "none.js")
    with pytest.raises(DevstackError, match=r"^Supabase Lite is not installed: run `make setup`\.$"):
        program()


# The server


@pytest.fixture
def migrations(tmp_path):
    return Path(shutil.copytree(ROOT / "supabase" / "migrations", tmp_path / "migrations"))


@pytest.fixture
async def server(database, migrations, tmp_path):
    server = Lite(tmp_path, unused_port(), database, KEYS, migrations)
    server.configure()
    yield server
    await server.stop()


async def test_it_migrates_and_serves_and_stops(server, database, migrations):
    (migrations / "20991231000001_later.sql").write_text("create table later (id int primary key);")
    await server.migrate()
    await server.migrate()  # has nothing left to do
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from later").fetchone() == (0,)
    await server.start()
    with psycopg.connect(database) as connection:  # several first requests that made it grant things would fail
        granted = connection.execute("select has_table_privilege('anon', 'jobs', 'insert')").fetchone()
        assert granted == (True,), "its first request, as the superuser that it is here, was the start's own"
    async with aiohttp.ClientSession(headers={"apikey": KEYS.secret}) as session:
        async with session.get(f"{server.url}/rest/v1/later") as answer:
            assert (answer.status, await answer.json()) == (200, [])
        async with session.get(f"{server.url}/") as answer:
            assert answer.status == 200
            assert "text/html" in answer.headers["Content-Type"]  # Studio
    await server.stop()
    assert await server.wait() == 0


async def test_its_configuration_holds_the_keys_and_is_its_owner_s_alone(server, database, tmp_path):
    file = tmp_path / "lite" / "supabase" / "config.toml"
    server.configure()  # as at every start
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    config = tomllib.loads(file.read_text())
    assert config["auth"]["publishable_key"] == KEYS.publishable
    assert config["auth"]["secret_key"] == KEYS.secret
    assert config["auth"]["jwt_secret"] == KEYS.jwt_secret
    assert config["db"] == {"driver": "postgres", "url": database, "seed": {"sql_paths": []}}


async def test_a_migration_that_fails_is_told_in_a_line(server, migrations, tmp_path):
    (migrations / "20991231000001_wrong.sql").write_text("create table wrong (id nonsense);")
    with pytest.raises(DevstackError) as failure:
        await server.migrate()
    assert str(failure.value) == (
        "Supabase Lite can't migrate the database: "
        f'Migration failed: type "nonsense" does not exist (all of it: {tmp_path / "lite.log"})'
    )


async def test_a_port_taken_since_is_told(server):
    await server.migrate()
    rival = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", server.port)
    async with rival:
        with pytest.raises(
            DevstackError, match=rf"did not start: Cannot start server: Port {server.port} is .*lite\.log"
        ):
            await server.start()


async def test_one_that_never_answers_and_does_not_end_is_given_up_and_killed(server, monkeypatch, tmp_path):
    (tmp_path / "deaf.js").write_text("process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)")
    monkeypatch.setattr(lite, "PROGRAM", tmp_path / "deaf.js")
    monkeypatch.setattr(lite, "START_SECONDS", 0.5)
    monkeypatch.setattr(lite, "STOP_SECONDS", 0.1)
    with pytest.raises(DevstackError, match="Supabase Lite did not start: no message"):
        await server.start()
    await server.stop()
    assert await server.wait() == -signal.SIGKILL


async def test_waiting_for_one_that_was_not_started_is_an_error(server):
    with pytest.raises(DevstackError, match="was not started"):
        await server.wait()
