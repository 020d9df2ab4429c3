"""Fan-out: 1,000 viewers of one project at 1, 10 and 100 changes a second of 250 bytes.

    python -m benchmarks.fanout

Every server has viewers of its own and is measured in turn, three times over, while the others idle. ``hypercorn
alone`` is the smallest application that can be written for it (rivals/bare.py): what is left for rowcast to save.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks.contenders import SERVERS, Contender, NotInstalled, rowcast
from benchmarks.load import Window, measure, median, watching_all
from benchmarks.rivals.start import BARE, RIVALS, Start
from benchmarks.run import Bench, main
from benchmarks.stack import running_stack
from benchmarks.table import Row, beside
from benchmarks.viewers import Viewers

RATES = (1, 10, 100)
ALONE = "hypercorn alone"
SHARE_OF_USUAL = 0.5
"""Of sse-starlette's CPU, at most so much."""
LATE_MS = 1000
"""Who falls behind saves CPU, because more frames go into a write; that meets no target."""


def rows(bench: Bench) -> Iterator[Row]:
    windows, missing = _measured(bench)
    for rate in RATES:
        yield from _rate(bench, rate, {name: runs[rate] for name, runs in windows.items()}, missing)


def _measured(bench: Bench) -> tuple[dict[str, dict[int, Window]], dict[str, str]]:
    """By server: medians by rate, and why one is missing."""
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        devstack = stack.enter_context(running_stack())
        ours: dict[str, Start] = {
            name: partial(rowcast, devstack, name, [devstack.project()], bench.viewers) for name in SERVERS
        }
        running: list[tuple[Contender, Viewers]] = []
        for name, start in {**ours, **RIVALS, ALONE: BARE[ALONE]}.items():
            try:
                contender = stack.enter_context(start())
            except NotInstalled as reason:
                missing[name] = f"not installed ({reason})"
                continue
            viewers = stack.enter_context(watching_all(bench, contender))
            running.append((contender, viewers))
        for contender, viewers in running:  # whatever is done once, is done
            measure(contender, viewers, 10, 1)
        taken: dict[tuple[str, int], list[Window]] = {}
        for _ in range(bench.repeat):
            for rate in RATES:
                for contender, viewers in running:
                    seconds = bench.seconds * 0.6 if rate == 100 else bench.seconds
                    taken.setdefault((contender.name, rate), []).append(measure(contender, viewers, rate, seconds))
    medians = {
        contender.name: {rate: median(taken[contender.name, rate]) for rate in RATES} for contender, _ in running
    }
    return medians, missing


def _rate(bench: Bench, rate: int, windows: dict[str, Window], missing: dict[str, str]) -> Iterator[Row]:
    ours = windows["hypercorn"]

    def row(figure: str, form: str, target: str = "", met: bool | None = None) -> Row:
        told = {name: form.format(window) for name, window in windows.items()}
        here, granian = told.pop("hypercorn"), told.pop("granian", missing.get("granian", ""))
        absent = {name: why for name, why in missing.items() if name != "granian"}
        return Row(f"{bench.crowd}, {rate}/s: {figure}", here, granian, beside(told | absent), target, met)

    target, met = "", None
    limits: dict[str, float] = {}
    if usual := windows.get("sse-starlette"):
        limits["half sse-starlette's"] = usual.per_viewer_second * SHARE_OF_USUAL
    if rate == 100 and (nchan := windows.get("nchan")):
        limits["less than nchan's"] = nchan.per_viewer_second
    if limits:
        target = ", ".join(f"{name}: {limit:.0f} µs" for name, limit in limits.items())
        met = ours.p99 < LATE_MS and all(ours.per_viewer_second < limit for limit in limits.values())
    yield row("CPU a viewer-second", "{0.per_viewer_second:.0f} µs", target, met)
    yield row("CPU a delivery", "{0.per_delivery:.1f} µs")
    yield row("commit to frame, p50 / p99", "{0.p50:.0f} / {0.p99:.0f} ms")
    yield row("frames a read", "{0.frames_a_read:.1f}")


if __name__ == "__main__":
    main(__doc__ or "", rows)
