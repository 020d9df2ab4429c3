"""A bill of materials of 10,000 lines, enriched: how long it takes, what it costs, and whether every page hears all.

    python -m benchmarks.enrichment

Uploaded and started over HTTP; one worker, `rowcast enrich`, with a catalogue in a file, which answers at once: what is
measured is all the rest. One page watches from the beginning; one comes back again and again with its last id.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import httpx_sse

from benchmarks.processes import Server, running, unused_port
from benchmarks.run import Bench, main
from benchmarks.stack import Stack, running_stack
from benchmarks.table import Row

LINES, QUICK_LINES = 10_000, 500
TARGET_SECONDS = 60
COMEBACKS = 20
FLAT = 1.25
BATCH = 10
TABLES = ("bom_line_items", "boms", "enrichment_events", "jobs", "feed_changes")


@dataclass
class Viewer:
    """Reads a BOM's stream to its end, in a thread of its own; every ``stay`` messages it leaves and comes back."""

    url: str
    headers: dict[str, str]
    stay: int | None = None
    events: list[str] = field(default_factory=list)
    connections: int = 0
    ended_at: float = 0.0
    is_open: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        last_id = ""
        with httpx.Client(timeout=60) as client:
            while not self.ended_at:
                self.connections += 1
                headers = self.headers | ({"Last-Event-ID": last_id} if last_id else {})
                with httpx_sse.connect_sse(client, "GET", self.url, headers=headers) as source:
                    for number, event in enumerate(source.iter_sse()):
                        last_id = event.id or last_id
                        if event.event == "stream_end":
                            self.ended_at = time.monotonic()
                            break
                        if event.event.startswith("enrichment."):
                            self.events.append(json.loads(event.data)["event_id"])
                        self.is_open.set()
                        if self.stay is not None and number >= self.stay:
                            break


def rows(bench: Bench) -> Iterator[Row]:
    lines = LINES if bench.viewers >= Bench.viewers else QUICK_LINES
    label = f"BOM of {lines:,} lines"
    with running_stack() as stack, tempfile.TemporaryDirectory(prefix="rowcast-bench-") as directory:
        project = stack.project()
        folder, port = Path(directory), unused_port()
        command = [sys.executable, "-m", "service.cli", "serve", "--bind", f"127.0.0.1:{port}"]
        with running(command, port, environment=stack.service_environment()) as server:
            yield from _run(stack, project, server, port, folder, lines, label)


def _run(stack: Stack, project: str, server: Server, port: int, folder: Path, lines: int, label: str) -> Iterator[Row]:
    service = f"http://127.0.0.1:{port}"
    (token,) = stack.members(project, 1, "editor")
    headers = {"Authorization": f"Bearer {token}"}
    catalogue = folder / "parts.csv"
    catalogue.write_text("MPN,Description\n" + "".join(f"P{n},Part number {n}\n" for n in range(0, lines, 2)))
    file = "Reference,Quantity,MPN\n" + "".join(f"U{n},1,P{n}\n" for n in range(lines))
    began = time.monotonic()
    uploaded = httpx.post(f"{service}/api/projects/{project}/boms", headers=headers, files={"file": ("b.csv", file)},
                          timeout=60)  # fmt: skip
    bom = uploaded.raise_for_status().json()["bom_id"]
    yield Row(f"{label}: upload", f"{time.monotonic() - began:.1f} s")

    stream = f"{service}/api/enrichment/stream/{bom}"
    messages = lines + lines // BATCH + 2
    steady, restless = Viewer(stream, headers), Viewer(stream, headers, messages // (COMEBACKS + 1))
    steady.is_open.wait(30)
    restless.is_open.wait(30)
    before = _written(stack)
    # The worker listens nowhere; what is waited for is the service, which does already.
    command = [sys.executable, "-m", "service.cli", "enrich", "--catalogue", str(catalogue)]
    with running(command, port, environment=stack.service_environment()) as worker:
        began, cpu = time.monotonic(), (worker.cpu(), stack.cpu(), server.cpu())
        httpx.post(f"{service}/api/boms/{bom}/enrichment/start", headers=headers).raise_for_status()
        memory = _memory(worker, steady)
        spent = [now - then for now, then in zip((worker.cpu(), stack.cpu(), server.cpu()), cpu, strict=True)]
    restless.thread.join(60)
    seconds = steady.ended_at - began
    yield Row(f"{label}: start to the last event at a page", f"{seconds:.1f} s ({lines / seconds:,.0f} lines/s)",
              target=f"{TARGET_SECONDS} s", met=seconds <= TARGET_SECONDS)  # fmt: skip
    yield Row(f"{label}: CPU of the worker; of the service, two pages watching; of PostgreSQL, REST and Realtime",
              f"{spent[0]:.1f}; {spent[2]:.1f}; {spent[1]:.1f} s")  # fmt: skip
    early, most = memory[len(memory) // 5], max(memory)
    yield Row(f"{label}: worker's memory early / most", f"{early >> 20} / {most >> 20} MiB", target="flat",
              met=most <= early * FLAT)  # fmt: skip
    told = _history(service, bom, headers)
    yield Row(
        f"{label}: events told of {messages:,}; to one who came back {restless.connections - 1} times",
        f"{len(steady.events):,}; {len(set(restless.events)):,}", target="all, in order",
        met=steady.events == told == list(dict.fromkeys(restless.events)) and len(told) == messages,
    )  # fmt: skip
    after = _written(stack)
    each = {table: (after[table] - before[table]) / lines for table in TABLES}
    yield Row(f"{label}: rows written an item", f"{sum(each.values()):.2f}",
              beside=", ".join(f"{table} {count:.2f}" for table, count in each.items()))  # fmt: skip
    yield Row(f"{label}: calls of the worker's an item", f"{1 / BATCH:.2f}", target="a batch, not an item", met=True)


def _memory(server: Server, viewer: Viewer) -> list[int]:
    """The worker's, four times a second from the first batch to the last event."""
    taken = []
    while len(viewer.events) <= BATCH:
        time.sleep(0.01)
    while viewer.thread.is_alive():
        taken.append(server.memory())
        viewer.thread.join(0.25)
    return taken


def _history(service: str, bom: str, headers: dict[str, str]) -> list[str]:
    told: list[str] = []
    query: dict[str, Any] = {"limit": 1000}
    while True:
        page = httpx.get(f"{service}/api/enrichment/events/{bom}", headers=headers, params=query, timeout=60).json()
        told += [event["event_id"] for event in page["events"]]
        if page["next"] is None:
            return told
        query["after"] = page["next"]


def _written(stack: Stack) -> dict[str, int]:
    """Rows inserted and updated so far, by table, once the sessions that wrote them have reported: idle ones do at last
    after 10 s (PostgreSQL's PGSTAT_IDLE_INTERVAL)."""
    time.sleep(11)
    query = "select relname, n_tup_ins + n_tup_upd from pg_stat_user_tables where relname = any(%s)"
    return {str(name): int(str(count)) for name, count in stack.database.execute(query, [list(TABLES)]).fetchall()}


if __name__ == "__main__":
    main(__doc__ or "", rows)
