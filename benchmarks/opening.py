"""How long 1,000 streams take that are asked for at once, of one user and of a user each.

    python -m benchmarks.opening

From the first connection to the last stream's first event (nchan's: its headers). The rivals ask nobody whether a
stream may be opened; rowcast asks the database for each user, and whom it has asked a moment ago not again.
"""

import statistics
import time
from collections.abc import Iterator
from functools import partial

from benchmarks.contenders import SERVERS, NotInstalled, rowcast
from benchmarks.rivals.start import BARE, RIVALS, Start
from benchmarks.run import Bench, main
from benchmarks.stack import running_stack
from benchmarks.table import Row, beside
from benchmarks.viewers import watching

TARGET_SECONDS = 2
FORGETTING_SECONDS = 6
"""After so long every user is asked about anew."""


def rows(bench: Bench) -> Iterator[Row]:
    with running_stack() as devstack:
        rivals = {name: _told(bench, start)[0] for name, start in {**RIVALS, **BARE}.items() if "Quart" not in name}
        for users, whose in ((1, "of one user"), (bench.viewers, "of a user each")):
            told = {
                name: _told(bench, partial(rowcast, devstack, name, [devstack.project()], users)) for name in SERVERS
            }
            here, met = told["hypercorn"]
            yield Row(
                f"time to open {bench.viewers:,} streams at once, {whose}", here, told["granian"][0], beside(rivals),
                f"< {TARGET_SECONDS} s", met,
            )  # fmt: skip


def _told(bench: Bench, start: Start) -> tuple[str, bool]:
    """The median's words, and whether it is good."""
    try:
        seconds, refused = _measured(bench, start)
    except NotInstalled as reason:
        return f"not installed ({reason})", False
    words = f"{seconds:.2f} s" + (f", {refused} refused" if refused else "")
    return words, seconds < TARGET_SECONDS and not refused


def _measured(bench: Bench, start: Start) -> tuple[float, int]:
    """The median of some openings, and the most that were refused in one."""
    taken: list[float] = []
    worst = 0
    with start() as contender:
        for _ in range(1 + bench.repeat):  # the first is the server's first at all: a storm's, measured there
            with watching(
                bench.program, contender.port, contender.asks, bench.viewers, expect_data=contender.says_hello
            ) as viewers:
                seconds, refused = viewers.answered()
            taken.append(seconds)
            worst = max(worst, refused)
            time.sleep(FORGETTING_SECONDS)
    return statistics.median(taken[1:]), worst


if __name__ == "__main__":
    main(__doc__ or "", rows)
