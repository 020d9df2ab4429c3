"""What reporting costs the work: nanoseconds per `advance()`, beside tqdm's and rich's in the same run, and the rows
that come of it.

    python -m benchmarks.advance

Against a REST of its own that answers at once over a real socket, so that the writer thread does all it does in life.
tqdm and rich draw on a terminal that is /dev/null, as often as they do by default.
"""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from uuid import uuid4

from rich.console import Console
from rich.progress import Progress, TaskID
from tqdm import tqdm

import rowcast
from benchmarks.run import Bench, main
from benchmarks.table import Row, beside
from rowcast import Job

CALLS_A_SECOND = 200_000  # that a figure's measuring is given
PROPOSALS_A_SECOND = 2_000
NOWHERE = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process
REQUESTS: Counter[str] = Counter()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.answer()

    def do_PATCH(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        REQUESTS["heartbeat" if "rpc" in self.path else self.command] += 1
        body = json.dumps({"status": "running", "cancel_requested": False} if "rpc" in self.path else [{}]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def rows(bench: Bench) -> Iterator[Row]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    calls = int(CALLS_A_SECOND * bench.seconds)
    measure = _Measure(bench.repeat, calls)
    with rowcast.connect(address, "sb_secret_benchmark") as client, client.job(uuid4(), kind="b", title="B") as job:
        job.plan({"counting": 1, "tracked": 1, "shared": 1})
        job.stage("counting", calls)
        yield Row("SDK: an empty loop, a turn", measure(lambda: _nothing(calls)))
        yield Row("SDK: job.advance()", measure(lambda: _advance(job, calls)), beside=_rivals(measure, calls))
        yield Row("SDK: job.advance(message=...)", measure(lambda: _advance_with_message(job, calls)))
        yield Row(
            "SDK: job.track(), an item",
            measure(lambda: _exhaust(job.track(range(calls), "tracked"))),
            beside=beside({"tqdm": measure(lambda: _exhaust(_bar(calls, items=range(calls))))}),
        )
        yield Row("SDK: rowcast.tqdm, an item", measure(lambda: _exhaust(rowcast.tqdm(range(calls), "tracked"))))
        yield Row("SDK: job.advance() from 8 threads at once", measure(lambda: _threads(job, calls)))
        items = calls // 100
        yield Row(
            "SDK: job.pool(4), an item that does nothing",
            _Measure(bench.repeat, items)(lambda: _pool(job, items)),
        )
        proposals = int(PROPOSALS_A_SECOND * bench.seconds)
        yield Row(
            "SDK: job.propose(), until written",
            _Measure(bench.repeat, proposals)(lambda: _propose(job, proposals)),
        )
        yield _written("advancing all the time", bench.seconds, job.advance)
        yield _written("doing nothing that is reported", bench.seconds, lambda: None)
    server.shutdown()


class _Measure:
    """Nanoseconds of a call, the median of some runs of so many calls."""

    def __init__(self, repeat: int, calls: int) -> None:
        self.repeat, self._calls = repeat, calls

    def __call__(self, work: Callable[[], None]) -> str:
        taken = []
        for _ in range(self.repeat):
            began = time.perf_counter()
            work()
            taken.append((time.perf_counter() - began) / self._calls * 1e9)
        return f"{median(taken):,.0f} ns"


def _rivals(measure: _Measure, calls: int) -> str:
    fewer = calls // 10
    with Progress(console=Console(file=NOWHERE, force_terminal=True)) as progress:
        task = progress.add_task("counting", total=fewer * measure.repeat)
        rich = _Measure(measure.repeat, fewer)(lambda: _rich(progress, task, fewer))
    return beside({"tqdm.update(1)": measure(lambda: _tqdm(calls)), "rich progress.advance()": rich})


def _written(doing: str, seconds: float, report: Callable[[], None]) -> Row:
    """The rows that a while of work writes: of progress, each a change in the log; of heartbeats, which are none."""
    time.sleep(1)  # what was reported before is written by then
    before, ends = REQUESTS.copy(), time.perf_counter() + seconds
    while time.perf_counter() < ends:
        report()
        time.sleep(0.001)
    more = REQUESTS - before
    a_minute = 60 / seconds
    told = f"{more['PATCH'] * a_minute:.0f} of progress (at most 120), {more['heartbeat'] * a_minute:.0f} heartbeats"
    return Row(f"SDK: rows written in a minute of work, {doing}", told)


def _nothing(calls: int) -> None:
    for _ in range(calls):
        pass


def _advance(job: Job, calls: int) -> None:
    for _ in range(calls):
        job.advance()


def _tqdm(calls: int) -> None:
    with _bar(calls) as bar:
        for _ in range(calls):
            bar.update(1)


def _bar(calls: int, items: range | None = None) -> "tqdm[int]":
    return tqdm(items, total=calls, file=NOWHERE)


def _rich(progress: Progress, task: TaskID, calls: int) -> None:
    for _ in range(calls):
        progress.advance(task)


def _advance_with_message(job: Job, calls: int) -> None:
    for _ in range(calls):
        job.advance(message="reading a page")


def _exhaust(items: Iterable[int]) -> None:
    for _ in items:
        pass


def _threads(job: Job, calls: int) -> None:
    several = [threading.Thread(target=_advance, args=(job, calls // 8)) for _ in range(8)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()


def _pool(job: Job, items: int) -> None:
    with job.pool(4) as pool:
        for _ in pool.map(abs, range(items), "shared"):
            pass


def _propose(job: Job, proposals: int) -> None:
    for _ in range(proposals):
        job.propose("A title", confidence=0.5, body="A body of the usual length. " * 10)
    job.flush()


if __name__ == "__main__":
    main(__doc__ or "", rows)
