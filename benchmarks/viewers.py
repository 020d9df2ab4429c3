"""Many streams at once, read by a small C program: see viewers.c for what it counts and what it is told."""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("viewers.c")


class NoCompiler(Exception):
    """The message says what to install."""


@contextmanager
def compiled() -> Iterator[Path]:
    """The load client's program, compiled into a directory that is gone at the end. Raises :class:`NoCompiler`."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        raise NoCompiler("The load client is written in C and no compiler `cc` was found (Debian: apt install gcc).")
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as directory:
        program = Path(directory) / "viewers"
        subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE)], check=True)
        yield program


@dataclass(frozen=True)
class Ask:
    """One request: its path, and headers as they are sent."""

    path: str
    headers: Sequence[str] = ()

    def line(self) -> str:
        return "\t".join([self.path, *self.headers])


@dataclass(frozen=True)
class Seen:
    """What all streams that are read were sent in a window; lateness in ms, from a change's stamp to its frame."""

    frames: int
    stamped: int
    bytes: int
    reads: int
    least: int
    most: int
    closed: int
    p50: float
    p99: float
    worst: float


class Viewers:
    """The streams of one run of the load client.

    They are opened ``pause`` seconds apart. The first ``stopped`` read nothing once all are open. ``expect_data`` is
    False for a server whose streams begin with no event.
    """

    def __init__(
        self,
        program: Path,
        port: int,
        asks: Sequence[Ask],
        count: int,
        *,
        stopped: int = 0,
        expect_data: bool = True,
        pause: float = 0.0,
    ) -> None:
        self.count = count
        self.reading = count - stopped
        self._process = subprocess.Popen(
            [str(program), str(port), str(count), str(stopped), str(int(expect_data)), str(round(pause * 1e6))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self._tell(f"{len(asks)}\n" + "".join(f"{ask.line()}\n" for ask in asks))

    @property
    def pid(self) -> int:
        return self._process.pid

    def opened(self, seconds: float = 180) -> float:
        """Waits until every stream has its first answer; the seconds that took.

        Raises RuntimeError when one was refused, TimeoutError.
        """
        taken, refused = self.answered(seconds)
        if refused:
            raise RuntimeError(f"{refused} of {self.count} streams were refused")
        return taken

    def answered(self, seconds: float = 180) -> tuple[float, int]:
        """Waits until every stream has its first answer; the seconds that took, and how many were refused."""
        told = self._says(seconds)
        return float(told["seconds"]), int(told["refused"])

    def mark(self) -> None:
        """Begins a window."""
        self._tell("mark\n")
        self._says(30)

    def received(self, frames: int, seconds: float = 120) -> Seen:
        """Waits until so many frames have come since the mark. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while (seen := self.report()).stamped < frames:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{frames} frames were due, this came: {seen}")
            time.sleep(0.02)
        return seen

    def caught_up(self, stamp: int, seconds: float = 180) -> tuple[float, int]:
        """Waits until every stream has seen a stamp of at least this, or has been refused or closed: seconds since the
        first connected, and how many have not seen it.

        To be asked at once, before :meth:`opened`. Raises TimeoutError.
        """
        self._tell(f"until {stamp}\n")
        self.answered(seconds)
        told = self._says(seconds)
        return float(told["seconds"]), self.reading - int(told["caught"])

    def report(self) -> Seen:
        self._tell("report\n")
        told = self._says(30)
        if told["odd"]:
            raise RuntimeError(f"{told['odd']} frames had a stamp that could not be read")
        lateness = {name: told.pop(f"{key}_us") / 1000 for name, key in
                    {"p50": "p50", "p99": "p99", "worst": "max"}.items()}  # fmt: skip
        return Seen(**{name: told[name] for name in told if name != "odd"}, **lateness)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _tell(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())

    def _says(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready:
            raise TimeoutError(f"the load client said nothing for {seconds:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load client ended with status {self._process.wait()}")
        told: dict[str, Any] = json.loads(line)
        return told


@contextmanager
def watching(program: Path, port: int, asks: Sequence[Ask], count: int, **how: Any) -> Iterator[Viewers]:
    """``count`` streams that take ``asks`` in turn; see :class:`Viewers` for ``how``."""
    viewers = Viewers(program, port, asks, count, **how)
    try:
        yield viewers
    finally:
        viewers.close()


def stamp() -> int:
    """Now, as frames carry it: microseconds since the epoch, 16 digits."""
    return time.time_ns() // 1000
