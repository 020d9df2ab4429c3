"""Many projects: 500 with 2 viewers each, beside one project with 2 viewers, at the same 20 changes a second in all.

python -m benchmarks.projects
"""

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.contenders import Contender, rowcast
from benchmarks.gateway import counting
from benchmarks.load import Window, measure, median
from benchmarks.run import Bench, main
from benchmarks.stack import running_stack
from benchmarks.table import Row
from benchmarks.viewers import Viewers, watching

RATE = 20
VIEWERS_EACH = 2
FLAT = 1.5
CHANNELS_PER_SOCKET = 100
IDLE_SECONDS = 6


@dataclass(frozen=True)
class Side:
    """One server with its viewers. ``counted`` is what opening took at Supabase."""

    contender: Contender
    viewers: Viewers
    opening: float
    counted: Counter[str]
    kib_a_project: float


def rows(bench: Bench) -> Iterator[Row]:
    with ExitStack() as stack:
        one, many = _side(bench, stack, 1), _side(bench, stack, bench.projects)
        windows: dict[str, list[Window]] = {"one": [], "many": []}
        for _ in range(bench.repeat):
            for name, side in (("one", one), ("many", many)):
                windows[name].append(measure(side.contender, side.viewers, RATE, bench.seconds, audience=VIEWERS_EACH))
        of_one, of_many = median(windows["one"]), median(windows["many"])
        idle = {name: _idle(bench, side) for name, side in (("one", one), ("many", many))}
    counted = many.counted
    sockets = -(-bench.projects // CHANNELS_PER_SOCKET)
    many_label = f"{bench.projects} projects of {VIEWERS_EACH} viewers"
    yield Row(
        f"{many_label}: channels, Realtime sockets", f"{counted['subscribed']}, {counted['open sockets']}", "", "",
        f"one a project, {sockets} sockets",
        counted["subscribed"] == bench.projects and counted["open sockets"] == sockets,
    )  # fmt: skip
    yield Row(
        f"{many_label}, {RATE}/s in all: commit to frame, p50 / p99", f"{of_many.p50:.1f} / {of_many.p99:.1f} ms", "",
        f"1 project: {of_one.p50:.1f} / {of_one.p99:.1f} ms", f"within {FLAT} times", of_many.p50 <= of_one.p50 * FLAT,
    )  # fmt: skip
    yield Row(
        f"{many_label}, {RATE}/s in all: CPU a delivery", f"{of_many.per_delivery:.0f} µs", "",
        f"1 project: {of_one.per_delivery:.0f} µs",
    )  # fmt: skip
    yield Row(
        f"{many_label}, nothing happens: CPU of a second",
        f"{idle['many']:.1f} ms",
        "",
        f"1 project: {idle['one']:.1f} ms",
    )
    yield Row(f"{many_label}: memory, a project with its viewers", f"{many.kib_a_project:.0f} KiB")
    yield Row(
        f"{many_label}: all opened at once", f"{many.opening:.2f} s, {counted['requests']} requests", "",
        f"1 project: {one.opening:.2f} s, {one.counted['requests']} requests",
    )  # fmt: skip


def _side(bench: Bench, stack: ExitStack, projects: int) -> Side:
    """Each side has a devstack of its own, so that one's channels are no work for the other's."""
    devstack = stack.enter_context(running_stack())
    gateway = stack.enter_context(counting(devstack.variables["SUPABASE_URL"]))
    ids = devstack.projects(projects)
    contender = stack.enter_context(rowcast(devstack, "hypercorn", ids, VIEWERS_EACH, supabase_url=gateway.url))
    before = contender.server.memory()
    viewers = stack.enter_context(watching(bench.program, contender.port, contender.asks, projects * VIEWERS_EACH))
    opening = viewers.opened()
    counted = gateway.counted()
    while counted["subscribed"] < projects:  # a stream begins before its channel when that takes long
        time.sleep(0.1)
        counted += gateway.counted()
    memory = contender.server.memory() - before
    measure(contender, viewers, RATE, 1, audience=VIEWERS_EACH)
    return Side(contender, viewers, opening, counted, memory / projects / 1024)


def _idle(bench: Bench, side: Side) -> float:
    """ms of CPU in a second: keeping channels, and asking for the heads."""
    taken = []
    for _ in range(bench.repeat):
        before, began = side.contender.server.cpu(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        taken.append((side.contender.server.cpu() - before) * 1000 / (time.monotonic() - began))
    return statistics.median(taken)


if __name__ == "__main__":
    main(__doc__ or "", rows)
