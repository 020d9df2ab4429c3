"""What a change costs upstream, the database and Realtime, with 1 viewer of a project and with 1,000.

    python -m benchmarks.upstream

Counted at a gateway of the benchmark's own: frames that Realtime sends and requests that the service makes, over
changes at 20 a second; what is asked whether or not anything
changes (heads, and whether each user may still read) is told apart. CPU is that of PostgreSQL, of REST and of the
stand-in for Realtime. Beside it the naive design (rivals/naive.py): a Realtime channel for each stream, at a hundred
viewers, because a connection carries no more channels.
"""

import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.contenders import Contender, rowcast
from benchmarks.gateway import Gateway, counting
from benchmarks.load import measure, watching_all
from benchmarks.rivals.start import naive
from benchmarks.run import Bench, main
from benchmarks.stack import Stack, running_stack
from benchmarks.table import Row, beside

RATE = 20
NAIVE_VIEWERS = 100
HEADS_A_MINUTE = 12
UPKEEP = ("stall_jobs", "prune_feed_changes", "stream_tickets")
"""What a process asks the database to do now and then, for all."""


@dataclass(frozen=True)
class Cost:
    """A change's: frames, requests and bytes to the service, and µs of CPU upstream. ``server_us`` is the service's own
    CPU a viewer-second; ``standing`` are the requests a minute that no change is the reason for."""

    frames: float
    requests: float
    bytes: float
    upstream_us: float
    server_us: float
    standing: float


def rows(bench: Bench) -> Iterator[Row]:
    with ExitStack() as stack:
        devstack = stack.enter_context(running_stack())
        gateway = stack.enter_context(counting(devstack.variables["SUPABASE_URL"]))
        ours = stack.enter_context(
            rowcast(devstack, "hypercorn", [devstack.project()], bench.viewers, supabase_url=gateway.url)
        )
        one = _cost(bench, devstack, gateway, ours, 1)
        many = _cost(bench, devstack, gateway, ours, bench.viewers)
        rival = stack.enter_context(naive(devstack, gateway.url))
        naive_one = _cost(bench, devstack, gateway, rival, 1)
        naive_many = _cost(bench, devstack, gateway, rival, min(NAIVE_VIEWERS, bench.viewers))
    viewers = f"1 / {bench.viewers:,} viewers"
    naive_viewers = f"naive, 1 / {min(NAIVE_VIEWERS, bench.viewers)} viewers:"

    def row(figure: str, form: str, target: str = "", met: bool | None = None) -> Row:
        ours = f"{form.format(one)} / {form.format(many)}"
        naive = f"{naive_viewers} {form.format(naive_one)} / {form.format(naive_many)}"
        return Row(f"upstream, a change, {viewers}: {figure}", ours, "", naive, target, met)

    yield row("Realtime frames", "{0.frames:.2f}", "equal", one.frames == many.frames)
    yield row("requests to the database", "{0.requests:.2f}", "equal", one.requests == many.requests)
    yield row("bytes to the service", "{0.bytes:.0f}")
    equal = many.upstream_us < one.upstream_us * 1.25
    yield row("CPU of database, REST and Realtime", "{0.upstream_us:.0f} µs", "equal (within 25 %)", equal)
    standing = f"{one.standing:.0f} / {many.standing:.0f}"
    met = many.standing < 1.5 * (HEADS_A_MINUTE + bench.viewers)
    target = f"{HEADS_A_MINUTE} for heads, 1 a user"
    yield Row(f"upstream, a minute, {viewers}: requests for heads and access", standing, target=target, met=met)
    yield Row(
        f"{NAIVE_VIEWERS} viewers, {RATE}/s: CPU a viewer-second of the naive design", "", "",
        beside({"naive": f"{naive_many.server_us:.0f} µs"}),
    )  # fmt: skip


def _cost(bench: Bench, devstack: Stack, gateway: Gateway, contender: Contender, viewers: int) -> Cost:
    upstream: list[float] = []
    server: list[float] = []
    counted: Counter[str] = Counter()
    changes = 0
    with watching_all(bench, contender, viewers) as opened:
        measure(contender, opened, RATE, 1)
        gateway.counted()
        for _ in range(bench.repeat):
            before = devstack.cpu()
            window = measure(contender, opened, RATE, bench.seconds)
            taken = round(RATE * bench.seconds)
            upstream.append((devstack.cpu() - before) * 1e6 / taken)
            server.append(window.per_viewer_second)
            changes += taken
        counted = gateway.counted()
    # the heads are read, and each user's access is asked about anew, whether or not anything happens
    standing = counted["feed_heads"] + counted["projects"]
    upkeep = sum(counted[name] for name in UPKEEP)
    return Cost(
        counted["changes"] / changes, (counted["requests"] - standing - upkeep) / changes, counted["bytes"] / changes,
        statistics.median(upstream), statistics.median(server), standing / (changes / RATE) * 60,
    )  # fmt: skip


if __name__ == "__main__":
    main(__doc__ or "", rows)
