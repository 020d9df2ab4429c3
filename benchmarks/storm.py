"""A storm: the service restarts, 1,000 viewers come back at once with their old ids, and want what they missed.

    python -m benchmarks.storm

200 changes happen while the service is away. The ids are all the same (where everybody was when it stopped), spread
over the last 1,000 changes, or too old for a replay (5,000 changes at most), so that a snapshot is told instead. Timed
from the first connection until the last viewer has the newest change; a gateway counts what the database was asked.
That pages come back spread over seconds, as `retry:` tells them to, is left out: this is the worst case.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.contenders import JOBS, SERVERS, NotInstalled, asks, message, publisher
from benchmarks.gateway import Gateway, counting
from benchmarks.processes import running, unused_port
from benchmarks.run import Bench, main
from benchmarks.stack import ROOT, Stack, running_stack
from benchmarks.table import Row
from benchmarks.viewers import Ask, stamp, watching

AWAY = 200
SPREAD = 1000
TOO_OLD = 6000
"""Changes while the service is away; over which ids are spread; of which nobody is told one by one."""
TARGET_SECONDS = 3.0
TARGET_QUERIES = 3
"""For what was missed; who may read is asked for each user besides."""
QUERIES = ("projects", "feed_heads", "feed_since", "project_snapshot")

Cursors = Callable[["Place"], list[int]]
"""The ids that viewers come back with, taken in turn."""


@dataclass(frozen=True)
class Storm:
    """Until the last viewer that was let in had caught up; ``refused`` were not, or were cut."""

    seconds: float
    refused: int
    queries: Counter[str]

    def __str__(self) -> str:
        asked = ", ".join(f"{self.queries[name]} {name}" for name in QUERIES if self.queries[name])
        refused = f"{self.refused} REFUSED; " if self.refused else ""
        return f"{self.seconds:.1f} s; {refused}{asked}"

    @property
    def is_good(self) -> bool:
        for_the_past = self.queries["feed_since"] + self.queries["project_snapshot"]
        return self.seconds <= TARGET_SECONDS and not self.refused and for_the_past <= TARGET_QUERIES


def rows(bench: Bench) -> Iterator[Row]:
    cases: dict[str, tuple[int, Cursors]] = {
        "one user, the same id": (1, lambda place: [place.revisions(AWAY)[0]]),
        "a user each, the same id": (bench.viewers, lambda place: [place.revisions(AWAY)[0]]),
        "a user each, ids over 1,000 changes": (bench.viewers, lambda place: place.spread(bench.viewers)),
        "a user each, ids too old": (bench.viewers, lambda place: [place.revisions(TOO_OLD)[0]]),
    }
    with ExitStack() as stack:
        devstack = stack.enter_context(running_stack())
        gateway = stack.enter_context(counting(devstack.variables["SUPABASE_URL"]))
        for case, (users, cursors) in cases.items():
            ours = Place(devstack, gateway, "hypercorn", users).storm(bench, cursors)
            try:
                granian = str(Place(devstack, gateway, "granian", users).storm(bench, cursors))
            except NotInstalled as reason:
                granian = f"not installed ({reason})"
            figure = f"storm of {bench.viewers:,} after a restart, {case}: all caught up, what was asked"
            target = f"{TARGET_SECONDS:.0f} s, {TARGET_QUERIES} queries for what was missed"
            yield Row(figure, str(ours), granian, "none of the rivals can tell what was missed", target, ours.is_good)


class Place:
    """A project that has seen much, its users, and one of SERVERS that is going to restart."""

    def __init__(self, devstack: Stack, gateway: Gateway, server: str, users: int) -> None:
        self._devstack = devstack
        self._gateway = gateway
        self._server = server
        self._project = devstack.project()
        self._asks = asks(devstack, [self._project], users)
        self._publish = publisher(devstack, [self._project])

    def revisions(self, last: int) -> list[int]:
        """The last so many revisions, oldest first."""
        found = self._devstack.database.execute(
            "select revision from feed_changes where feed = 'project' and key = %s order by revision desc limit %s",
            [self._project, last],
        ).fetchall()
        return sorted(int(str(revision)) for (revision,) in found)

    def spread(self, viewers: int) -> list[int]:
        """An id each, of the last SPREAD changes; the same ones each time."""
        return random.Random(0).choices(self.revisions(SPREAD)[:-1], k=viewers)

    def storm(self, bench: Bench, cursors: Cursors) -> Storm:
        for _ in range(TOO_OLD // JOBS):
            self._devstack.database.execute(
                "update jobs set progress_current = progress_current + 1, progress_message = %s where project_id = %s",
                [message(stamp()), self._project],
            )
        newest = 0
        for _ in range(AWAY):
            self._publish(newest := stamp())
        port = unused_port()
        environment = self._devstack.service_environment(self._gateway.url)
        back = self._back(cursors(self), bench.viewers)
        with running(SERVERS[self._server](port), port, environment=environment, directory=ROOT):
            self._gateway.counted()
            with watching(bench.program, port, back, bench.viewers) as viewers:
                seconds, refused = viewers.caught_up(newest)
                return Storm(seconds, refused, self._gateway.counted())

    def _back(self, cursors: list[int], viewers: int) -> list[Ask]:
        return [
            Ask(ask.path, [*ask.headers, f"Last-Event-ID: {cursors[number % len(cursors)]}"])
            for number, ask in ((number, self._asks[number % len(self._asks)]) for number in range(viewers))
        ]


if __name__ == "__main__":
    main(__doc__ or "", rows)
