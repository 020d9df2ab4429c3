"""A small PostgREST of our own that can be told to misbehave. Real sockets; the answers' shapes are Supabase's."""

import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

import rowcast
from rowcast import state

KEY = "sb_secret_test"


class FaultyRest:
    """Keeps rows by table and id. ``faults`` are used up one per request: "drop" closes the connection before the
    write, "drop after" closes it after (the answer is lost), a number answers with that status, a callable is called
    first. ``always`` holds for every request of a table until removed."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.tables: dict[str, dict[str, dict]] = {}
        self.writes: list[tuple[str, str, object]] = []  # method, table, body: those that were carried out
        self.requests = 0
        self.faults: deque[object] = deque()
        self.always: dict[str, object] = {}
        self.headers: dict[str, str] = {}
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begins to listen, after `die` on the same port."""
        rest = self

        class Handler(_Handler):
            server_rest = rest

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                """Connections break on purpose here."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def die(self) -> None:
        """Stops listening and breaks every open connection."""
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in list(self._connections):
            with _ignored(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def wait(self, condition: Callable[[], bool], timeout: float = 20) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout), "the server never saw what the test waits for"

    def row(self, table: str, row_id: object) -> dict:
        return self.tables.get(table, {}).get(str(row_id), {})

    def updates(self, column: str, table: str = "jobs") -> list[object]:
        return [
            body[column] for method, name, body in self.writes if method == "PATCH" and name == table and column in body
        ]

    def take_fault(self, table: str) -> object:
        with self.changed:
            self.requests += 1
            self.changed.notify_all()
            if table in self.always:
                return self.always[table]
            return self.faults.popleft() if self.faults else None

    def apply(self, method: str, table: str, query: dict[str, str], body: object) -> object:
        with self.changed:
            self.writes.append((method, table, body))
            answer = self._apply(method, table, query, body)
            self.changed.notify_all()
            return answer

    def _apply(self, method: str, table: str, query: dict[str, str], body: object) -> object:
        if table == "rpc/job_heartbeat":
            job = self.row("jobs", body["job_id"])
            asked = bool(job.get("cancel_requested_at"))
            return {"status": job["status"], "cancel_requested": asked} if job else None
        rows = self.tables.setdefault(table, {})
        if method == "POST":
            new = [row for row in body if row["id"] not in rows]
            rows.update((row["id"], row) for row in new)
            return [{"id": row["id"]} for row in new]
        meant = [rows[each] for each in _among(query["id"]) if each in rows]
        if "status" in query:
            meant = [row for row in meant if row.get("status") in _among(query["status"])]
        if "progress_number" in query:
            number = int(query["progress_number"].removeprefix("lt."))
            meant = [row for row in meant if row.get("progress_number", 0) < number]
        for row in meant:
            row.update(body)
        return [{name: row.get(name) for name in query["select"].split(",")} for row in meant]


def _among(condition: str) -> list[str]:
    """The values of ``eq.a`` and ``in.(a,b)``."""
    return condition.removeprefix("eq.").removeprefix("in.(").removesuffix(")").split(",")


class _ignored:  # noqa: N801 - reads like contextlib.suppress, which hides which error is meant
    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> bool:
        return kind is not None and issubclass(kind, self.kind)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_rest: FaultyRest

    def setup(self) -> None:
        super().setup()
        self.server_rest._connections.add(self.connection)

    def finish(self) -> None:
        self.server_rest._connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None: ...

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PATCH(self) -> None:
        self._handle("PATCH")

    def _handle(self, method: str) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = urlsplit(self.path)
        table = parts.path.removeprefix("/rest/v1/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        fault = self.server_rest.take_fault(table)
        if callable(fault):
            fault = fault()
        if fault == "drop":
            self.close_connection = True
            return
        if isinstance(fault, int):
            self._answer(fault, {"message": f"fault {fault}", "code": None})
            return
        if isinstance(fault, tuple):
            self._answer(*fault)
            return
        if self.headers["apikey"] != KEY or self.headers["Authorization"] != f"Bearer {KEY}":
            self._answer(401, {"message": "Invalid API key"})
            return
        known = self.server_rest.tables.get(table, {}) if method == "POST" else {}
        if "ignore-duplicates" not in self.headers["Prefer"] and any(row["id"] in known for row in body):
            self._answer(409, {"message": "duplicate key value violates unique constraint", "code": "23505"})
            return
        answer = self.server_rest.apply(method, table, query, body)
        if fault == "drop after":
            self.close_connection = True
            return
        self._answer(201 if method == "POST" else 200, answer)

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in self.server_rest.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyRest]:
    monkeypatch.setattr(state, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(state, "LONGEST_PAUSE", 0.1)
    rest = FaultyRest()
    yield rest
    rest.die()


@pytest.fixture
def connect(server: FaultyRest) -> Callable[..., rowcast.Connection]:
    def connect_to_server(**options: float) -> rowcast.Connection:
        return rowcast.connect(server.url, KEY, **{"interval": 0.02, **options})

    return connect_to_server
