"""Devstacks in processes of their own, started and ended as a person would."""

import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.conftest import ROOT, unused_port

ROWCAST = str(Path(sys.executable).parent / "rowcast")


def new_ports(*names: str) -> list[str]:
    """Options for a first start, so that tests that run at the same time don't try for the same preferred ports."""
    return [f"--{name}-port={unused_port()}" for name in ("gateway", "database", "studio", *names)]


def devstack(directory: Path, *options: str, project: Path = ROOT) -> list[str]:
    return [sys.executable, "-m", "devstack", f"--data-dir={directory}", f"--project-dir={project}", *options]


def dev(directory: Path, *options: str) -> list[str]:
    return [ROWCAST, "dev", f"--data-dir={directory}", *options]


@contextlib.contextmanager
def started(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A running program, killed at the end if it has not ended before. ``options`` are Popen's."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def announced(process: subprocess.Popen[str]) -> dict[str, str]:
    """The addresses and keys that ``python -m devstack`` tells once everything is up."""
    assert process.stdout is not None
    lines = itertools.takewhile(lambda line: line != "\n", process.stdout)
    return dict(line.rstrip("\n").split("=", 1) for line in lines)


def ended(process: subprocess.Popen[str], signal: int | None = None) -> tuple[int, str]:
    """The exit status of a program, after a signal if one is given, and what it said on stderr."""
    if signal is not None:
        process.send_signal(signal)
    _, complaint = process.communicate()
    return process.returncode, complaint


def refused(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """The one line that a command which fails says."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.rstrip("\n")


def processes_of(directory: Path) -> dict[int, str]:
    """Every living process that has to do with a data directory, by its command line, environment or working one."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            known_by = [*process.cmdline(), *process.environ().values(), process.cwd()]
            if any(str(directory) in text for text in known_by):
                found[process.pid] = " ".join(process.cmdline())
    return found


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Waits until something outside of this process has happened."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not become true within {seconds} s")
        time.sleep(0.005)
