"""Slow readers: of 1,000 viewers 100 stop reading; what do the others notice, and how much is kept for those?

    python -m benchmarks.slow

Changes are of 8,000 bytes at 5 a second, so that the kernel's buffers are full soon. The others' lateness is measured
without stopped readers and with them, by turns, on streams opened anew each time; memory is the server's own (USS) at
its peak while 100 have stopped, over its peak while none have. Then changes go on until a stopped reader must have met
one of rowcast's bounds: 1 MiB of outbox, or 30 s in which the socket took nothing.
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks.contenders import SERVERS, Contender, NotInstalled, rowcast
from benchmarks.load import watching_all
from benchmarks.rivals.start import Start, nchan, sse_starlette
from benchmarks.run import Bench, main
from benchmarks.stack import running_stack
from benchmarks.table import Row, beside
from benchmarks.viewers import stamp

RATE = 5
LENGTH = 8000
SHARE = 0.1
WORSE = 1.5
FILL_SECONDS = 3
"""After so long whoever does not read can be sent nothing more."""
PATIENCE_SECONDS = 40
"""Longer than a stopped reader is kept by any bound of rowcast's."""
BOUND_KIB = 1.25 * 1024
"""For each stopped reader: the outbox, and what is on its way to the socket."""


@dataclass(frozen=True)
class Figures:
    """p99 of those that read, in ms, without and with stopped ones; KiB kept for a stopped one at most."""

    p99: float
    p99_beside: float
    kib: float

    def __str__(self) -> str:
        ratio = self.p99_beside / self.p99
        return f"p99 {self.p99:.0f} → {self.p99_beside:.0f} ms ({ratio:.2f} times), {self.kib:.0f} KiB for each"


def rows(bench: Bench) -> Iterator[Row]:
    told: dict[str, str] = {}
    with running_stack() as devstack:
        starts: dict[str, Start] = {
            name: partial(rowcast, devstack, name, [devstack.project()], 1, length=LENGTH) for name in SERVERS
        }
        starts |= {"sse-starlette": partial(sse_starlette, LENGTH), "nchan": partial(nchan, LENGTH)}
        measured: dict[str, Figures] = {}
        for name, start in starts.items():
            try:
                with start() as contender:
                    measured[name] = _measured(bench, contender)
                told[name] = str(measured[name])
            except NotInstalled as reason:
                told[name] = f"not installed ({reason})"
    here, granian = told.pop("hypercorn"), told.pop("granian")
    ours = measured["hypercorn"]
    stopped = round(bench.viewers * SHARE)
    yield Row(
        f"{stopped} stopped readers among {bench.viewers:,}: the others, and memory", here, granian, beside(told),
        f"{WORSE} times, {BOUND_KIB:.0f} KiB", ours.p99_beside <= ours.p99 * WORSE and ours.kib <= BOUND_KIB,
    )  # fmt: skip


def _measured(bench: Bench, contender: Contender) -> Figures:
    stopped = round(bench.viewers * SHARE)
    without: list[tuple[float, int]] = []
    beside: list[tuple[float, int]] = []
    for turn in range(bench.repeat):
        without.append(_window(bench, contender, 0))
        beside.append(_window(bench, contender, stopped, to_the_end=turn == bench.repeat - 1))
    kib = (max(peak for _, peak in beside) - max(peak for _, peak in without)) / 1024 / stopped
    return Figures(statistics.median(p99 for p99, _ in without), statistics.median(p99 for p99, _ in beside), kib)


def _window(bench: Bench, contender: Contender, stopped: int, *, to_the_end: bool = False) -> tuple[float, int]:
    """p99 of those that read, in ms, and the server's memory at its peak, in bytes."""
    with watching_all(bench, contender, stopped=stopped) as viewers:
        _publish(contender, FILL_SECONDS)
        viewers.received(round(RATE * FILL_SECONDS) * viewers.reading)
        viewers.mark()
        peak = _publish(contender, bench.seconds)
        viewers.received(round(RATE * bench.seconds) * viewers.reading)
        p99 = viewers.report().p99
        if to_the_end:
            peak = max(peak, _publish(contender, PATIENCE_SECONDS))
    time.sleep(1)  # until the server has seen them go
    return p99, peak


def _publish(contender: Contender, seconds: float) -> int:
    """Publishes for so long; the server's memory at its peak meanwhile, in bytes."""
    began, peak = time.monotonic(), 0
    for number in range(round(RATE * seconds)):
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        contender.publish(stamp())
        if number % RATE == 0:
            peak = max(peak, contender.server.memory())
    return peak


if __name__ == "__main__":
    main(__doc__ or "", rows)
