"""What a viewer costs while nothing happens: memory, over 5,000 of them, and whose it is.

    python -m benchmarks.idle

Memory is the server process's own (USS), after all viewers have been there for a moment, less before the first; what
the kernel holds for a socket is not in it. One server runs at a time.
"""

import time
from collections.abc import Iterator
from functools import partial

from benchmarks.contenders import SERVERS, NotInstalled, rowcast
from benchmarks.load import watching_all
from benchmarks.rivals.start import BARE, RIVALS, Start
from benchmarks.run import Bench, main
from benchmarks.stack import running_stack
from benchmarks.table import Row, beside

TARGET_KIB = 24
SETTLE_SECONDS = 3


def rows(bench: Bench) -> Iterator[Row]:
    kib: dict[str, float] = {}
    told: dict[str, str] = {}
    with running_stack() as devstack:
        ours: dict[str, Start] = {name: partial(rowcast, devstack, name, [devstack.project()], 1) for name in SERVERS}
        for name, start in {**ours, **BARE, **RIVALS}.items():
            try:
                kib[name] = _kib_a_viewer(bench, start)
                told[name] = f"{kib[name]:.1f} KiB"
            except NotInstalled as reason:
                told[name] = f"not installed ({reason})"
    here, granian = told.pop("hypercorn"), told.pop("granian")
    met = kib["hypercorn"] <= TARGET_KIB
    figure = f"memory of an idle viewer, of {bench.idle_viewers:,}"
    yield Row(figure, here, granian, beside(told), f"{TARGET_KIB} KiB", met)
    parts = {
        name: f"{kib[f'{name} alone']:.1f} KiB the server's, {kib[name] - kib[f'{name} alone']:.1f} rowcast's"
        for name in SERVERS
        if name in kib
    }
    yield Row("… whose it is", parts["hypercorn"], parts.get("granian", ""))


def _kib_a_viewer(bench: Bench, start: Start) -> float:
    with start() as contender, watching_all(bench, contender, 1):  # what the first viewer brings in stays
        before = contender.server.memory()
        with watching_all(bench, contender, bench.idle_viewers, pause=0.001):
            time.sleep(SETTLE_SECONDS)
            return (contender.server.memory() - before) / bench.idle_viewers / 1024


if __name__ == "__main__":
    main(__doc__ or "", rows)
