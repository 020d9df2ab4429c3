"""The Realtime stand-in under load: how late frames are, how many changes it takes, and what a stopped reader costs.

    python -m benchmarks.realtime

PostgreSQL, the stand-in, its clients and the writer are processes of their own. On a machine that others use too,
`chrt -r 1` before it keeps them out of the figures. Rows are shaped like the change log's (with row security, so that
PostgreSQL is asked about each), of 200 keys; each key has a channel of its own, filtered by it. Times run from just
before COMMIT is sent to the frame's arrival in the client.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import psycopg
from aiohttp import web

from benchmarks.stack import ROOT
from benchmarks.table import Row, print_table
from devstack.postgres import Postgres
from devstack.realtime.connection import MAX_QUEUED
from devstack.realtime.server import StandIn, routes
from devstack.stack import BOOTSTRAP, run_script
from devstack.state import OTHER_PORTS, free_port

CHANNELS = 200
PER_SOCKET = 100
KEYS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(CHANNELS)]
SECRET = "sb_secret_benchmark"
SETUP = """
create table changes (
  feed text not null, key uuid not null, revision bigint not null, prev bigint not null, table_name text not null,
  row_id text not null, op "char" not null, changed text[], row jsonb,
  committed_at timestamptz not null default clock_timestamp(), primary key (feed, key, revision)
);
alter table changes enable row level security;
alter publication supabase_realtime add table changes;
"""
INSERT = """
insert into changes select 'project', (%(keys)s::uuid[])[1 + n %% array_length(%(keys)s, 1)], n, n - 1, 'jobs',
  gen_random_uuid()::text, 'U', '{status,progress_current}', jsonb_build_object(
    'id', gen_random_uuid(), 'status', 'running', 'title', repeat('x', %(padding)s), 'progress_current', n)
from generate_series(%(first)s::bigint, %(last)s::bigint) n
"""
PADDING = 120


async def serve(database_url: str) -> None:
    """The stand-in's process: says its address, and ends when its standard input does."""
    async with StandIn(database_url, "not used: no tokens in this benchmark", "sb_publishable", SECRET) as stand_in:
        app = web.Application()
        app.add_routes(routes(stand_in))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await stand_in.stop_serving()
        await runner.cleanup()


class Listening:
    """Channels on as many sockets as they need, and when each revision came."""

    def __init__(self, url: str, filters: list[str]) -> None:
        self.url = f"{url}/realtime/v1/websocket?apikey={SECRET}&vsn=2.0.0"
        self.filters = filters
        self.sockets: list[aiohttp.ClientWebSocketResponse] = []
        self.came: list[tuple[int, float]] = []
        self.arrived = asyncio.Event()

    async def open(self, stack: AsyncExitStack) -> None:
        """Connect and join, and wait until changes flow on every channel."""
        http = await stack.enter_async_context(aiohttp.ClientSession())
        for first in range(0, len(self.filters), PER_SOCKET):
            socket = await http.ws_connect(self.url, max_msg_size=2**26)
            self.sockets.append(socket)
            for number, filter_ in enumerate(self.filters[first : first + PER_SOCKET]):
                binding = {"event": "INSERT", "schema": "public", "table": "changes"}
                binding |= {"filter": filter_} if filter_ else {}
                join = {"config": {"postgres_changes": [binding]}}
                await socket.send_json([str(number), str(number), f"realtime:{first + number}", "phx_join", join])
            for _ in self.filters[first : first + PER_SOCKET]:
                while (frame := await socket.receive_json())[3] != "system":
                    pass
                if frame[4]["status"] != "ok":
                    raise RuntimeError(f"not subscribed: {frame}")

    async def read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            at = message.data.find('"revision": ')
            if at >= 0:
                now = time.perf_counter()
                self.came.append((int(message.data[at + 12 : at + 32].partition(",")[0]), now))
                self.arrived.set()

    async def take(self, count: int) -> list[tuple[int, float]]:
        """The next so many arrivals; fewer if nothing comes for 10 seconds."""
        with contextlib.suppress(TimeoutError):
            while len(self.came) < count:
                self.arrived.clear()
                await asyncio.wait_for(self.arrived.wait(), 10)
        taken, self.came = self.came[:count], self.came[count:]
        return taken


async def listen(url: str, filters: list[str], *, deaf: bool) -> None:
    """A client's process: says "ready"; for each number read, the arrivals of so many frames. A deaf one reads none."""
    async with AsyncExitStack() as stack:
        listening = Listening(url, filters)
        await listening.open(stack)
        tasks = [] if deaf else [asyncio.create_task(listening.read(socket)) for socket in listening.sockets]
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await listening.take(int(line))), flush=True)
        for task in tasks:
            task.cancel()


class Child:
    """A process of this script, told on its standard input what to do next."""

    def __init__(self, stack: ExitStack, *arguments: str) -> None:
        self._process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.realtime", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
        )
        stack.callback(self.stop)
        self.first_line = self.says()
        self.usage = psutil.Process(self._process.pid)

    def says(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended")
        return line.strip()

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def cpu(self) -> float:
        times = self.usage.cpu_times()
        return float(times.user + times.system)

    def megabytes(self) -> float:
        return float(self.usage.memory_info().rss) / 2**20


@dataclass
class Run:
    """What came of some writing."""

    changes: int
    seconds: float
    late: list[float]
    """Of each change whose frame came, the milliseconds from its COMMIT to it."""
    in_order: bool
    cpu: float
    """The stand-in's, in microseconds a change."""

    def percentile(self, percent: int) -> float:
        if len(self.late) < 2:
            raise RuntimeError(f"of {self.changes:,} changes {len(self.late)} came within 10 s of each other")
        return statistics.quantiles(self.late, n=100)[percent - 1]


class Rig:
    """One stand-in with its database and its clients."""

    def __init__(self, stack: ExitStack, database_url: str) -> None:
        self.stack = stack
        self.server = Child(stack, "--serve", database_url)
        self.client = self.connect()
        self.sql = stack.enter_context(psycopg.connect(database_url, autocommit=True))
        self.next = 1

    def connect(self, *options: str) -> Child:
        return Child(self.stack, "--listen", self.server.first_line, *options)

    def idle_question(self, times: int) -> tuple[float, float]:
        """Milliseconds from asking PostgreSQL the least, 100 times a second, to its answer: median and p99."""
        took: list[float] = []
        for _ in range(times):
            time.sleep(0.01)
            asked = time.perf_counter()
            self.sql.execute("select 1")
            took.append((time.perf_counter() - asked) * 1000)
        return statistics.median(took), statistics.quantiles(took, n=100)[98]

    def write(self, rate: float, batch: int, seconds: float, padding: int = PADDING) -> Run:
        """Transactions of `batch` changes, `rate` changes a second, each key's turn after the other's."""
        transactions = max(1, round(rate * seconds / batch))
        first, cpu = self.next, self.server.cpu()
        self.next += transactions * batch
        self.client.tell(str(transactions * batch))
        committed: list[float] = []
        began = time.perf_counter()
        for number in range(transactions):
            time.sleep(max(0.0, began + number * batch / rate - time.perf_counter()))
            with self.sql.transaction():
                start = first + number * batch
                values = {"keys": KEYS, "first": start, "last": start + batch - 1, "padding": padding}
                self.sql.execute(INSERT, values, prepare=True)
                committed.append(time.perf_counter())
        wrote = time.perf_counter() - began
        came: list[tuple[int, float]] = json.loads(self.client.says())
        late = [(at - committed[(revision - first) // batch]) * 1000 for revision, at in came]
        by_key: dict[int, int] = {}
        in_order = all(by_key.get(revision % CHANNELS, 0) < revision == _seen(by_key, revision) for revision, _ in came)
        spent = (self.server.cpu() - cpu) * 1e6 / (transactions * batch)
        return Run(transactions * batch, wrote, late, in_order, spent)


def _seen(by_key: dict[int, int], revision: int) -> int:
    by_key[revision % CHANNELS] = revision
    return revision


def _rows(rig: Rig, seconds: float) -> Iterator[Row]:
    idle = rig.idle_question(500)
    question = "the machine alone: PostgreSQL answers an idle client, median and p99"
    yield _row(question, f"{idle[0]:.1f} and {idle[1]:.1f} ms")
    rig.write(100, 1, 2)  # whatever is done once, is done
    run = rig.write(100, 1, seconds)
    median, p99 = run.percentile(50), run.percentile(99)
    yield _row("100 changes/s, 200 channels: commit to frame, median", f"{median:.1f} ms", "2 ms", median <= 2)
    yield _row("… p99", f"{p99:.1f} ms", "10 ms", p99 <= 10)
    yield _row("… CPU for a change", f"{run.cpu:.0f} µs")

    bursts = [rig.write(1000, 1000, 1) for _ in range(10)]
    whole = all(len(burst.late) == burst.changes and burst.in_order for burst in bursts)
    last = statistics.median(max(burst.late) for burst in bursts)
    yield _row("1,000 changes in a transaction: commit to last frame", f"{last:.0f} ms", "all, in order", whole)

    run = rig.write(10_000, 100, seconds)
    rate = run.changes / run.seconds
    figure = f"{rate:,.0f}/s written, {len(run.late):,} of {run.changes:,} came"
    whole = len(run.late) == run.changes and run.in_order
    yield _row("10,000 changes/s, 200 channels", figure, "all, in order", whole)
    behind = max(run.late[-1000:])
    yield _row("… behind at the end", f"{behind:.0f} ms", "1 s", rate > 9_900 and behind < 1000)
    yield _row("… commit to frame, median and p99", f"{run.percentile(50):.0f} and {run.percentile(99):.0f} ms")
    yield _row("… CPU for a change", f"{run.cpu:.0f} µs", "100 µs", run.cpu < 100)
    yield from _memory(rig)


def _memory(rig: Rig) -> Iterator[Row]:
    """Beside the clients that read, one that does not: what it costs, in memory and in time."""

    def written(runs: int) -> tuple[list[float], float]:
        """The stand-in's megabytes after each of some runs, and their median p99."""
        done = [(rig.write(4_000, 100, 2, padding=2_000), rig.server.megabytes()) for _ in range(runs)]
        return [held for _, held in done], statistics.median(run.percentile(99) for run, _ in done)

    before, alone = written(3)
    deaf = rig.connect("--deaf")
    peaks, beside = written(12)
    more = max(peaks) - max(before)
    figure = f"{max(before):.0f} MB before, then " + " ".join(f"{peak:.0f}" for peak in peaks)
    allowed = MAX_QUEUED / 2**20 + 8  # and what the allocator keeps in pieces
    yield _row("a client that reads nothing, 200 MB of frames for it", figure, f"+{allowed:.0f} MB", more < allowed)
    yield _row("… p99 of those that read, without and with it", f"{alone:.0f} and {beside:.0f} ms")
    deaf.stop()


def _row(what: str, figure: str, target: str = "", met: bool | None = None) -> Row:
    return Row(f"stand-in: {what}", figure, target=target, met=met)


@contextlib.contextmanager
def database() -> Iterator[str]:
    """The URL of a new database of a PostgreSQL of its own."""
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        cluster = Postgres(Path(directory), free_port(random.choice(OTHER_PORTS), avoid=set()), "bench")
        cluster.start()
        try:
            run_script(cluster.url(), BOOTSTRAP)
            with psycopg.connect(cluster.url(), autocommit=True) as admin:
                admin.execute(SETUP)
            yield cluster.url()
        finally:
            cluster.stop("immediate")


def rows(_: object = None, seconds: float = 10) -> Iterator[Row]:
    with database() as url, ExitStack() as stack:
        yield from _rows(Rig(stack, url), seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10, help="length of each run")
    parser.add_argument("--serve", metavar="DATABASE_URL", help=argparse.SUPPRESS)
    parser.add_argument("--listen", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--deaf", action="store_true", help=argparse.SUPPRESS)
    arguments: Any = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(arguments.serve))
    elif arguments.listen:
        filters = [""] if arguments.deaf else [f"key=eq.{key}" for key in KEYS]
        asyncio.run(listen(arguments.listen, filters, deaf=arguments.deaf))
    else:
        print_table(rows(seconds=arguments.seconds))


if __name__ == "__main__":
    main()
