"""What reporting costs the work: nanoseconds per `advance()`, and the requests that come of it.

    python -m benchmarks.advance

Against a REST of its own that answers at once over a real socket, so that the writer thread does all it does in life.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import rowcast
from benchmarks.run import Bench, main
from benchmarks.table import Row
from rowcast import Job

CALLS = 1_000_000
PROPOSALS = 10_000


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    requests = 0

    def do_POST(self) -> None:
        self.answer()

    def do_PATCH(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Answers.requests += 1
        body = json.dumps({"status": "running", "cancel_requested": False} if "rpc" in self.path else [{}]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def rows(_: Bench) -> Iterator[Row]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    with rowcast.connect(address, "sb_secret_benchmark") as client, client.job(uuid4(), kind="b", title="B") as job:
        job.stage("counting", CALLS)
        idle = _measured(_nothing)
        yield _row("an empty loop, a turn", idle)
        yield _row("job.advance()", _measured(lambda: _advance(job)))
        yield _row("job.advance(message=...)", _measured(lambda: _advance_with_message(job)))
        yield _row("job.track(), an item", _measured(lambda: _track(job)))
        yield _row("job.advance() from 8 threads at once", _measured(lambda: _threads(job)))
        yield _row("job.propose(), until written", _measured(lambda: _propose(job), PROPOSALS))
    server.shutdown()


def _row(what: str, measured: tuple[float, int]) -> Row:
    nanoseconds, requests = measured
    return Row(f"SDK: {what}", f"{nanoseconds:,.0f} ns, {requests} requests in all")


def _measured(work: Callable[[], None], calls: int = CALLS) -> tuple[float, int]:
    """Nanoseconds of a call, and the requests that all of them led to."""
    before, began = Answers.requests, time.perf_counter()
    work()
    return (time.perf_counter() - began) / calls * 1e9, Answers.requests - before


def _nothing() -> None:
    for _ in range(CALLS):
        pass


def _advance(job: Job, calls: int = CALLS) -> None:
    for _ in range(calls):
        job.advance()


def _advance_with_message(job: Job) -> None:
    for _ in range(CALLS):
        job.advance(message="reading a page")


def _track(job: Job) -> None:
    for _ in job.track(range(CALLS), stage="tracked"):
        pass


def _threads(job: Job) -> None:
    several = [threading.Thread(target=_advance, args=(job, CALLS // 8)) for _ in range(8)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()


def _propose(job: Job) -> None:
    for _ in range(PROPOSALS):
        job.propose("A title", confidence=0.5, body="A body of the usual length. " * 10)
    job.flush()


if __name__ == "__main__":
    main(__doc__ or "", rows)
