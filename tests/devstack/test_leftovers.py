import os
import signal
import subprocess
import sys

import psutil
import pytest

from devstack import leftovers
from devstack.leftovers import mark, stop_leftovers, wait_ended


@pytest.fixture
def part(tmp_path):
    """Starts a process that is marked as a part of the devstack on a directory, and says its first line."""
    processes = []

    def start(name, directory=tmp_path, code="pass"):
        script = f"import signal, sys, subprocess\n{code}\nprint('up', flush=True)\nsignal.pause()"
        process = subprocess.Popen(
            [sys.executable, "-c", script], env=os.environ | mark(name, directory), stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "up\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_marked_processes_are_ended_and_named(part, tmp_path):
    lite, service, second = part("lite"), part("service"), part("service")
    assert stop_leftovers(tmp_path) == ["lite", "service"]
    assert [process.wait() for process in (lite, service, second)] == [-signal.SIGINT] * 3
    assert stop_leftovers(tmp_path) == []


def test_other_directories_processes_are_left_alone(part, tmp_path):
    other = part("lite", tmp_path / "other")
    deeper = part("lite", tmp_path / "deeper" / "still")
    assert stop_leftovers(tmp_path) == []
    assert stop_leftovers(tmp_path / "deeper") == []
    assert other.poll() is None
    assert deeper.poll() is None


def test_children_inherit_the_mark(part, tmp_path):
    parent = part("postgres", code="subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])")
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    assert stop_leftovers(tmp_path) == ["postgres"]
    assert wait_ended([child], 0) == []


def test_one_that_does_not_listen_is_killed(part, tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers, "STOP_SECONDS", 0.2)
    stubborn = part("service", code="signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert stop_leftovers(tmp_path) == ["service"]
    assert stubborn.wait() == -signal.SIGKILL


def test_a_path_through_a_link_is_the_same_directory(part, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    part("lite", tmp_path / "link")
    assert stop_leftovers(tmp_path / "real") == ["lite"]


def test_waiting_does_not_need_the_parent_to_bury_its_child(part):
    process = part("service")
    known = psutil.Process(process.pid)
    assert wait_ended([known], 0) == [known]
    process.kill()
    assert wait_ended([known], 30) == []
    assert known.status() == psutil.STATUS_ZOMBIE
