"""Finding what a crash left running.

Every process that a devstack starts has a mark in its environment, which its own children inherit: the part's name
and the data directory. One that has the mark of a directory nobody holds is a leftover. (A list of process ids would
miss what was being started when the crash came.)
"""

import contextlib
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from devstack.errors import DevstackError

MARK = "ROWCAST_DEVSTACK_PART"
STOP_SECONDS = 10
POLL_SECONDS = 0.02


def mark(name: str, directory: Path) -> dict[str, str]:
    """What must be in the environment of a process that is a part of the devstack on ``directory``."""
    return {MARK: f"{name}:{directory.resolve()}"}


def stop_leftovers(directory: Path) -> list[str]:
    """Ends every process that is marked as a part of the devstack on ``directory``; returns the parts' names.

    Raises :class:`DevstackError` when one can't be ended.
    """
    names = set()
    while found := _marked(directory):  # again, for what they started while they were being found
        names |= {*found.values()}
        for end in (signal.SIGINT, signal.SIGKILL):  # to PostgreSQL SIGINT means a fast end, to the others a normal one
            for process in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(end)
            alive = wait_ended(found, STOP_SECONDS)
            if not alive:
                break
        else:
            raise DevstackError(f"Process {alive[0].pid}, which a crash left behind, can't be ended.")
    return sorted(names)


def _marked(directory: Path) -> dict[psutil.Process, str]:
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has just ended, or belongs to somebody else
            name, _, place = process.environ().get(MARK, "").partition(":")
            if name and place == str(directory.resolve()):
                found[process] = name
    return found


def wait_ended(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Waits until processes, which need not be our children, have ended; returns those that have not in time.

    (To psutil's own wait a process that its parent has not buried yet is alive.)
    """
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if _is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
