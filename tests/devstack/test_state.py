import json
import os
import socket
import stat
import subprocess
import sys
from dataclasses import replace

import pytest

from devstack.errors import DevstackError
from devstack.state import OTHER_PORTS, PREFERRED_PORTS, DataDirectory, check_port, free_port, new_state
from tests.conftest import unused_port


@pytest.fixture
def data(tmp_path):
    data = DataDirectory(tmp_path / "data")
    data.acquire()
    yield data
    data.release()


@pytest.fixture
def taken():
    """A port on which another program listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", unused_port()))
        listener.listen()
        yield listener.getsockname()[1]


# The directory


def test_a_path_to_a_file_is_refused(tmp_path):
    (tmp_path / "notes").touch()
    with pytest.raises(DevstackError, match=r"notes is a file; name a directory with --data-dir\.$"):
        DataDirectory(tmp_path / "notes").acquire()


def test_a_directory_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DevstackError, match="holds other files and no rowcast data; name a new or empty directory"):
        DataDirectory(tmp_path).acquire()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_it_is_made_with_its_parents(tmp_path):
    data = DataDirectory(tmp_path / "a" / "b")
    data.acquire()
    data.release()
    assert (tmp_path / "a" / "b").is_dir()


def test_one_at_a_time_holds_it(data):
    with pytest.raises(DevstackError) as refusal:
        DataDirectory(data.path).acquire()
    assert str(refusal.value) == (
        f"A devstack already runs on {data.path} (process {os.getpid()}); "
        f"`rowcast dev --data-dir {data.path} --stop` ends it."
    )
    assert DataDirectory(data.path).holder() == os.getpid()
    data.release()
    assert DataDirectory(data.path).holder() is None
    other = DataDirectory(data.path)
    other.acquire()
    other.release()


def test_nobody_holds_it_once_the_holder_is_dead(tmp_path):
    code = "import os, pathlib, devstack.state as s; s.DataDirectory(pathlib.Path('.')).acquire(); os._exit(9)"
    died = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    assert died.wait() == 9
    assert (tmp_path / "lock").read_text() == str(died.pid)
    assert DataDirectory(tmp_path).holder() is None
    (tmp_path / "lock").write_text(str(os.getpid()))  # the number now belongs to another process
    assert DataDirectory(tmp_path).holder() is None


def test_no_directory_has_no_holder(tmp_path):
    assert DataDirectory(tmp_path / "none").holder() is None


def test_erasing_takes_only_what_a_devstack_made(data):
    data.save(new_state())
    data.write_private("env", "A=1\n")
    for made in ("lite", "postgres"):
        (data.path / made / "deep").mkdir(parents=True)
    (data.path / "mine.txt").touch()
    (data.path / "dev.log.old").mkdir()
    data.erase()
    assert {path.name for path in data.path.iterdir()} == {"lock", "mine.txt", "dev.log.old"}


# What it keeps


def test_the_state_comes_back_as_saved(data):
    state = replace(new_state(), ports={"gateway": 54321, "service": 8000}, prepared=True)
    data.save(state)
    assert data.load() == state


def test_a_new_directory_has_no_state(data):
    assert data.load() is None


def test_only_the_owner_may_read_secrets(data):
    before = os.umask(0)
    try:
        data.save(new_state())
        (data.path / "env").touch(mode=0o666)
        (data.path / "env.new").touch(mode=0o666)  # left by a crash
        data.write_private("env", "KEY=1\n")
    finally:
        os.umask(before)
    assert {stat.S_IMODE((data.path / name).stat().st_mode) for name in ("stack.json", "env")} == {0o600}
    assert (data.path / "env").read_text() == "KEY=1\n"
    assert not (data.path / "env.new").exists()


def _without(key):
    saved = json.loads(_sound())
    del saved[key]
    return json.dumps(saved)


def _with(**changes):
    return json.dumps(json.loads(_sound()) | changes)


def _sound():
    return json.dumps({
        "ports": {"gateway": 1024},
        "keys": {"publishable": "p", "secret": "s", "jwt_secret": "j"},
        "database_password": "d",
        "demo_password": "e",
        "prepared": True,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe\x00garbage", "can't decode"),
        (_sound()[:-9].encode(), "Unterminated string"),
        (b"[]", "not what a devstack writes"),
        (b"null", "not what a devstack writes"),
        (_without("keys").encode(), "it has no 'keys'"),
        (_without("database_password").encode(), "it has no 'database_password'"),
        (_with(keys={"secret": "s"}).encode(), "not what a devstack writes"),
        (_with(keys={"publishable": 1, "secret": "s", "jwt_secret": "j"}).encode(), "not what a devstack writes"),
        (_with(ports=5).encode(), "not what a devstack writes"),
        (_with(ports={"gateway": "80"}).encode(), "not what a devstack writes"),
        (_with(ports={"gateway": 70000}).encode(), "not what a devstack writes"),
        (_with(prepared="yes").encode(), "not what a devstack writes"),
        (_with(demo_password=None).encode(), "not what a devstack writes"),
    ],
)
def test_a_damaged_state_is_told_with_the_way_out(data, content, why):
    (data.path / "stack.json").write_text(_sound())
    assert data.load() is not None
    (data.path / "stack.json").write_bytes(content)
    with pytest.raises(DevstackError) as damage:
        data.load()
    assert str(damage.value).startswith(f"{data.path / 'stack.json'} is damaged (")
    assert why in str(damage.value)
    assert str(damage.value).endswith(
        f"); `rowcast dev --data-dir {data.path} --reset` deletes the data and begins anew."
    )


def test_a_database_whose_state_is_gone_is_not_taken_for_new(data):
    (data.path / "postgres").mkdir()
    with pytest.raises(DevstackError, match=r"damaged \(it is missing, though there is a database\).*--reset"):
        data.load()


def test_every_state_has_secrets_of_its_own():
    one, other = new_state(), new_state()
    assert one.keys.publishable.startswith("sb_publishable_")
    assert one.keys.secret.startswith("sb_secret_")
    secrets = [
        secret
        for state in (one, other)
        for secret in (*vars(state.keys).values(), state.database_password, state.demo_password)
    ]
    assert len(set(secrets)) == len(secrets) == 10


# Ports


def test_a_port_asked_for_wins_and_is_kept():
    state = replace(new_state(), prepared=True)
    port = unused_port()
    state.choose_ports(["gateway", "service"], {"gateway": port})
    chosen = dict(state.ports)
    assert chosen["gateway"] == port
    state.choose_ports(["gateway", "service"], {})
    assert state.ports == chosen
    state.choose_ports(["gateway", "service"], {"gateway": port + 1})
    assert state.ports == {**chosen, "gateway": port + 1}


def test_a_preferred_port_is_taken_when_nobody_has_it(taken, monkeypatch):
    free = unused_port()
    monkeypatch.setitem(PREFERRED_PORTS, "gateway", free)
    monkeypatch.setitem(PREFERRED_PORTS, "studio", taken)
    state = new_state()
    state.choose_ports(["gateway", "studio"], {})
    assert state.ports["gateway"] == free
    assert state.ports["studio"] in OTHER_PORTS
    assert state.ports["studio"] != taken


def test_the_ports_of_a_first_start_that_failed_are_forgotten(taken):
    state = replace(new_state(), ports={"gateway": taken})
    state.choose_ports(["gateway"], {})
    assert state.ports["gateway"] != taken


def test_a_port_is_not_given_twice():
    free = unused_port()
    assert free_port(free, avoid=set()) == free
    assert free_port(free, avoid={free}) != free


def test_two_parts_can_not_have_one_port():
    port = unused_port()
    with pytest.raises(DevstackError) as refusal:
        new_state().choose_ports(["gateway", "studio"], {"gateway": port, "studio": port})
    assert str(refusal.value) == (
        f"Port {port} can't be both the gateway's and the studio's; "
        "choose another with --studio-port or --gateway-port."
    )


def test_a_taken_port_is_told_with_the_option_to_choose_another(taken):
    with pytest.raises(DevstackError) as refusal:
        check_port("studio", taken)
    assert str(refusal.value) == (
        f"The studio can't have port {taken} (Address already in use); free it, or choose another with --studio-port."
    )
    check_port("studio", unused_port())
