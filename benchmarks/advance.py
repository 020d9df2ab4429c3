"""What reporting costs the work: nanoseconds per `advance()`, and writes per second of work.

    python benchmarks/advance.py

Against a REST of its own that answers at once over a real socket, so that the writer thread does all it does in life.
"""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import rowcast

CALLS = 1_000_000


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


def measure(name: str, work: Callable[[], None], calls: int = CALLS) -> None:
    before, began = Answers.requests, time.perf_counter()
    work()
    took = time.perf_counter() - began
    print(f"{name:40} {took / calls * 1e9:8.0f} ns a call   {Answers.requests - before:4} requests in {took:.2f} s")


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    with rowcast.connect(address, "sb_secret_benchmark") as client, client.job(uuid4(), kind="b", title="B") as job:

        def nothing() -> None:
            for _ in range(CALLS):
                pass

        def advance() -> None:
            for _ in range(CALLS):
                job.advance()

        def advance_with_message() -> None:
            for _ in range(CALLS):
                job.advance(message="reading a page")

        def track() -> None:
            for _ in job.track(range(CALLS), stage="tracked"):
                pass

        def threads() -> None:
            several = [threading.Thread(target=lambda: [job.advance() for _ in range(CALLS // 8)]) for _ in range(8)]
            for thread in several:
                thread.start()
            for thread in several:
                thread.join()

        def propose() -> None:
            for _ in range(10_000):
                job.propose("A title", confidence=0.5, body="A body of the usual length. " * 10)
            job.flush()

        job.stage("counting", CALLS)
        measure("an empty loop", nothing)
        measure("advance()", advance)
        measure("advance(message=...)", advance_with_message)
        measure("track(), an item", track)
        measure("advance() from 8 threads at once", threads)
        measure("propose(), until written", propose, 10_000)
    server.shutdown()


if __name__ == "__main__":
    main()
