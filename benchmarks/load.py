"""Changes at a steady rate to one server, and what they cost it."""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.contenders import Contender
from benchmarks.run import Bench
from benchmarks.viewers import Viewers, stamp, watching

OPENING_PAUSE = 0.008
"""Between two streams, in s: where opening is not what is measured, no server is hurried."""


@contextmanager
def watching_all(
    bench: Bench, contender: Contender, count: int | None = None, *, stopped: int = 0, pause: float = OPENING_PAUSE
) -> Iterator[Viewers]:
    """``count`` streams of a server, all of ``bench.viewers`` when None, opened without haste."""
    with watching(
        bench.program, contender.port, contender.asks, bench.viewers if count is None else count,
        stopped=stopped, expect_data=contender.says_hello, pause=pause,
    ) as viewers:  # fmt: skip
        viewers.opened()
        yield viewers


@dataclass(frozen=True)
class Window:
    """CPU of the server in µs; lateness in ms; frames that the load client had for each read that brought any.

    A server that can't keep up is given the time it takes: the CPU is that of the changes of a second all the same.
    """

    per_delivery: float
    per_viewer_second: float
    p50: float
    p99: float
    frames_a_read: float


def measure(
    contender: Contender, viewers: Viewers, rate: float, seconds: float, *, audience: int | None = None
) -> Window:
    """Publishes ``rate`` changes a second, evenly, and waits until all who should have them do: ``audience`` streams
    each, all that are read when None.

    Raises RuntimeError when a stream was closed or a frame came twice, TimeoutError when one does not come.
    """
    viewers.mark()
    cpu, began = contender.server.cpu(), time.monotonic()
    changes = max(1, round(rate * seconds))
    for number in range(changes):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        contender.publish(stamp())
    due = changes * (audience or viewers.reading)
    viewers.received(due)
    time.sleep(max(0.0, began + changes / rate - time.monotonic()))
    spent = (contender.server.cpu() - cpu) * 1e6
    seen = viewers.report()
    if seen.closed or seen.stamped != due:
        raise RuntimeError(f"{contender.name}: {due} frames were due, this came: {seen}")
    return Window(spent / due, spent / viewers.reading / (changes / rate), seen.p50, seen.p99, due / seen.reads)


def median(windows: Sequence[Window]) -> Window:
    """Of each figure its median."""
    return Window(
        *(statistics.median(getattr(window, name) for window in windows) for name in Window.__dataclass_fields__)
    )
