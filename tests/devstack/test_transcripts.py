"""The stand-in against frames recorded from a real Realtime server: same client, same SQL, same frames.

Each recording is replayed on a fresh database and compared frame by frame. What can't be equal is made comparable:
ids of bindings and generated uuids must correspond one to one; a commit's timestamp must be one; very long values,
which the recordings shorten to `<N chars>`, must have that length. Time is the recording's: the stand-in's clock shows
each line's, its delays are scaled down, and its stream is held back while SQL runs, as the real server's polling did.
Frames are compared in order for each topic and event.

ROWCAST_TRANSCRIPTS names another folder of recordings.
"""

import asyncio
import itertools
import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import psycopg
import pytest
from aiohttp import web
from psycopg import sql

from devstack.postgres import Postgres
from devstack.realtime.server import IDLE_TIMEOUT, StandIn, routes

HERE = Path(__file__).parent
SHARED = HERE.parent.parent.parent / "shared" / "transcripts"
DEFAULT = SHARED if SHARED.is_dir() else HERE / "transcripts"
FOLDER = Path(os.environ.get("ROWCAST_TRANSCRIPTS", DEFAULT))

JWT_SECRET = "a-secret-of-fifty-five-characters-as-in-the-recordings-"
SCALE = 0.01
P1, P2 = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"

# Recordings that are not replayed, and why; docs/devstack.md tells the same.
NOT_REPLAYED = {"s3_unknown_tenant": "a devstack has one tenant"}
# Frames that are not expected, by event, and why.
NOT_EXPECTED = {"presence_state": "presence is out of scope", "broadcast": "broadcast is out of scope"}
# Replies to pushes of those events: recording and ref.
NOT_ANSWERED = {("s5", "18")}
# A topic of the tests' own, and the start of refs of theirs.
AT_ONCE = 0.002
"""Seconds: lines closer than this did not wait for an answer."""
BARRIER, SYNC = "realtime:barrier", "sync-"


def _text(length: int) -> str:
    """SQL for an incompressible text of so many characters."""
    return f"(select string_agg(md5(i::text), '') from generate_series(1, {length // 32}) i)"


_ID, _JOBS = "a1000000-0000-4000-8000-000000000001", "insert into jobs(id,project_id,title,body) values"
# SQL that the recordings cut off or don't show, by the note that announces it.
SQL = {
    "SQL all types": (
        "insert into alltypes(id,t,i4,i8,num,f8,b,tz,ts,d,jb,j,ta,ia,by,nul,en,iv,ip,vc,ch,f4,i2,tm) values"
        f" ('{_ID}','héllo \"q\" \\ 🙂\nnewline',-2147483648,9223372036854775807,"
        "12345678901234567890.12345678901234567890,0.1,true,'2026-01-02 03:04:05.678901+02',"
        "'2026-01-02 03:04:05.678901','2026-01-02',"
        """'{"b":1,"n":1.10,"big":12345678901234567890,"a":[1,2,{"x":null}]}','{"a":1,"b":3,"a":2}',"""
        """array['a','b,c','d"e',null,''],array[1,2,null],'\\xdeadbeef00ff',null,'happy',"""
        "'1 year 2 months 3 days 04:05:06.789','10.0.0.1/24','vc','ch',1.1,7,'12:34:56.789')"
    ),
    "SQL 2MB text insert (jobs)": f"{_JOBS} ('{_ID}','{P1}','short',{_text(2 * 1024 * 1024)})",
    "SQL 2MB text insert, title 100 chars": (
        f"{_JOBS} ('{_ID}','{P1}',repeat('y',100),{_text(2 * 1024 * 1024)}); delete from jobs"
    ),
    "SQL 900KB text insert": f"{_JOBS} ('{_ID}','{P1}','short',{_text(900 * 1024)})",
    "SQL update body itself on 900KB row to 100KB": f"update jobs set body={_text(100 * 1024)}",
    "SQL 100KB body insert jobs_full": (
        f"insert into jobs_full(id,project_id,title,body) values ('{_ID}','{P1}','short',{_text(100 * 1024)})"
    ),
    "SQL update FULL row 2 x 600KB -> exceeds 1MiB?": f"update jobs_full set body={_text(600 * 1024)}",
    "SQL then title only update on 600KB FULL row": "update jobs_full set title='t4'",
    "alter publication add table unpublished": "alter publication supabase_realtime add table unpublished",
    "alter publication drop table unpublished": "alter publication supabase_realtime drop table unpublished",
    "insert into docs": "insert into docs(title) values ('nobody hears this')",
    "insert after leave": f"insert into jobs_full(project_id) values ('{P1}')",
    "update (only first join wanted it)": "update jobs_full set title = 'nobody hears this'",
}
# The schema public as a Supabase project starts with it.
NEW_PUBLIC = """
drop schema public cascade; create schema public;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
"""
# What was in the database before the first line.
BEFORE = {
    "s3_nogrant": "revoke all on jobs from service_role",
    "s3_event_unknown": (
        "insert into jobs(id,project_id) values ('a0000000-0000-4000-8000-000000000002', gen_random_uuid());"
        "insert into jobs(id,project_id) values ('a0000000-0000-4000-8000-000000000001', gen_random_uuid())"
    ),
    "s10_ddl": "create table ddl_t (id int primary key, a text); alter publication supabase_realtime add table ddl_t",
}


def recordings() -> list[Any]:
    paths = sorted(
        itertools.chain.from_iterable(FOLDER.glob(f"s{number}_*.jsonl") for number in (1, 2, 3, 4, 5, 6, 10))
    )
    return [pytest.param(path, id=path.stem) for path in paths if not path.stem.startswith(tuple(NOT_REPLAYED))]


@dataclass(frozen=True)
class Line:
    t: float
    kind: str
    frame: str

    @property
    def message(self) -> dict[str, Any]:
        """The frame in version 1.0.0's form."""
        decoded = json.loads(self.frame)
        if isinstance(decoded, list):
            return dict(zip(("join_ref", "ref", "topic", "event", "payload"), decoded, strict=True))
        return decoded

    @property
    def is_change(self) -> bool:
        return self.kind == "in" and self.message["event"] == "postgres_changes"


def read(path: Path) -> list[Line]:
    return [Line(line["t"], line["dir"], line["frame"]) for line in map(json.loads, path.read_text().splitlines())]


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def token(text: str, t: float) -> str:
    """Sign the token that a recording writes as `<jwt claims>`."""
    match = re.fullmatch(r"<jwt (.*)>", text)
    if match is None:
        return text
    claims: dict[str, Any] = {}
    bad = False
    for word in match.group(1).split():
        name, _, value = word.partition("=")
        if word == "BAD-SIGNATURE":
            bad = True
        elif name == "exp":
            seconds = int(value.removeprefix("now"))
            # The recorder cut the difference to whole seconds.
            claims["exp"] = math.ceil(t + seconds) if seconds >= 0 else math.floor(t + seconds)
        else:
            claims[name] = value
    return jwt.encode(claims, JWT_SECRET[::-1] if bad else JWT_SECRET, algorithm="HS256")


class Likeness:
    """Decides whether frames are the same, but for what differs from run to run."""

    def __init__(self, given: str) -> None:
        self._given = given
        self._partners: dict[tuple[str, Any], Any] = {}

    def check(self, expected: Any, actual: Any, where: str) -> None:
        if isinstance(expected, dict):
            assert isinstance(actual, dict), where
            assert list(expected) == list(actual), f"{where}: other keys, or in another order"
            for key, value in expected.items():
                if key in {"id", "ids"} and not where.endswith("record"):
                    self._pair("id", value, actual[key], f"{where}.{key}")
                elif key == "commit_timestamp" and value is not None:
                    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", actual[key]), where
                else:
                    self.check(value, actual[key], f"{where}.{key}")
        elif isinstance(expected, list):
            assert isinstance(actual, list), where
            assert len(expected) == len(actual), where
            for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
                self.check(one, other, f"{where}[{index}]")
        elif isinstance(expected, str) and (size := re.fullmatch(r"<(\d+) chars>", expected)):
            assert len(actual) == int(size.group(1)), where
        elif isinstance(expected, str) and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", expected):
            if expected in self._given:
                assert actual == expected, where
            else:
                self._pair("uuid", expected, actual, where)
        else:
            assert (type(expected), expected) == (type(actual), actual), where

    def _pair(self, kind: str, expected: Any, actual: Any, where: str) -> None:
        if isinstance(expected, list):
            assert len(expected) == len(actual), where
            for one, other in zip(expected, actual, strict=True):
                self._pair(kind, one, other, where)
            return
        for pair in ((kind, expected), actual), ((f"{kind} seen", actual), expected):
            assert self._partners.setdefault(*pair) == pair[1], f"{where}: one id stands for two"


def loads(text: str) -> Any:
    """JSON with its numbers as they are written, since precision is part of what must be the same."""
    return json.loads(text, parse_float=lambda number: f"number {number}", parse_int=lambda number: f"number {number}")


@dataclass(frozen=True)
class Step:
    """What was done, and the frames that came of it."""

    line: Line
    frames: list[Line] = field(default_factory=list)


class Client:
    """One recorded connection, open to the stand-in. Frames are kept by topic and event."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, version: str) -> None:
        self.websocket = websocket
        self.version = version
        self.received: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.expected: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.synced: set[str] = set()
        self._arrived = asyncio.Event()
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self.websocket:
            message = Line(0, "in", frame.data).message
            if str(message["ref"]).startswith(SYNC):
                self.synced.add(message["ref"])
            elif message["payload"].get("data", {}).get("table") != "barrier" or message["topic"] == BARRIER:
                self.received[message["topic"], message["event"]].append(frame.data)
            self._arrived.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is true of what was received."""
        async with asyncio.timeout(20):
            while not condition():
                self._arrived.clear()
                await self._arrived.wait()

    async def all_expected(self) -> None:
        """Wait for as many frames as are expected."""
        try:
            await self.until(lambda: not self._missing())
        except TimeoutError:
            raise AssertionError(f"never came: {self._missing()}") from None

    def _missing(self) -> list[str]:
        return [frame for key, frames in self.expected.items() for frame in frames[len(self.received[key]) :]]

    async def nothing_else(self, sync: str) -> None:
        """See that no more has come than was expected: an answer asked for now comes after whatever was sent before."""
        beat = Line(0, "out", json.dumps([None, sync, "phoenix", "heartbeat", {}]))
        frame = json.dumps(beat.message) if self.version == "1.0.0" else beat.frame
        await self.websocket.send_str(frame)
        await self.until(lambda: sync in self.synced)
        for key, frames in self.received.items():
            # A repeated readiness may come earlier than recorded, as delays are scaled and pauses left out.
            surplus = frames[len(self.expected[key]) :]
            assert not surplus or key[1] == "system", f"unexpected: {surplus}"


class Replay:
    """Replays one recording against a stand-in over `database`."""

    def __init__(self, path: Path, database: str) -> None:
        self.name = path.stem
        self.database = database
        self.steps: list[Step] = []
        lines = read(path)
        for line in lines:
            if line.kind != "in":
                self.steps.append(Step(line))
            elif line.message["event"] in NOT_EXPECTED or (path.stem[:2], line.message["ref"]) in NOT_ANSWERED:
                continue
            else:
                self.steps[-1].frames.append(line)
        given = "".join(step.line.frame for step in self.steps)
        self.likeness = Likeness(given + str(SQL) + str(BEFORE))
        self.clock = Clock(lines[0].t)
        self.clients: list[Client] = []
        self.opened: list[Client] = []
        self.by_topic: dict[str, Client] = {}
        self.written: set[str] = set()
        self.ready: set[str] = set()
        self.numbers = itertools.count(1)
        # Where silence is the scenario, recorded pauses count, and nothing may be asked in between.
        self.is_timed = self.name.startswith(("s4_heartbeat", "s4_no", "s4_wsping"))

    async def run(self) -> None:
        stand_in = StandIn(
            self.database, JWT_SECRET, "sb_publishable_x", "sb_secret_x",
            time_scale=SCALE, idle_timeout=IDLE_TIMEOUT * (SCALE if self.is_timed else 1),
            publication_interval=math.inf, clock=self.clock,
        )  # fmt: skip
        connection = await psycopg.AsyncConnection.connect(self.database, autocommit=True)
        async with connection, stand_in, aiohttp.ClientSession() as http:
            self.connection, self.stand_in, self.http = connection, stand_in, http
            app = web.Application()
            app.add_routes(routes(stand_in))
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/socket/websocket"
                self.barrier = await self._open("sb_secret_x", "2.0.0")
                binding = {"event": "*", "schema": "public", "table": "barrier"}
                join = {"config": {"postgres_changes": [binding]}}
                await self.barrier.websocket.send_json([None, "1", BARRIER, "phx_join", join])
                await self.barrier.until(lambda: self.barrier.received[BARRIER, "system"])
                previous = self.clock.now
                for step, following in zip(self.steps, [*self.steps[1:], None], strict=True):
                    if self.is_timed:
                        await asyncio.sleep((step.line.t - previous) * SCALE)
                        previous = step.line.t
                    await self._take(step)
                    at_once = following is not None and following.line.t - step.line.t < AT_ONCE
                    if not self.is_timed and not at_once:
                        await self._nothing_else()
                self._compare()
            finally:
                for client in self.opened:
                    await client.websocket.close()
                await runner.cleanup()

    async def _open(self, key: str, version: str) -> Client:
        address = f"{self.url}?apikey={key}&vsn={version}"
        # Reading and closing race for the server's last frame in aiohttp's client; losing costs no more than this.
        patience = aiohttp.ClientWSTimeout(ws_close=0.5)
        websocket = await self.http.ws_connect(address, autoping=False, max_msg_size=2**26, timeout=patience)
        client = Client(websocket, version)
        self.opened.append(client)
        return client

    async def _take(self, step: Step) -> None:
        self.clock.now = step.line.t
        shown = await self._act(step)
        for line in step.frames:
            if not line.is_change:
                await self._all_expected()
                if line.message["event"] == "system":  # replies tell of the time when they were asked for
                    self.clock.now = line.t
                if self.name.startswith("s10_publication") and line.message["topic"] in self.ready:
                    await self.stand_in.check_publication()
                if line.message["event"] == "system":
                    self.ready.add(line.message["topic"])
            elif not shown:
                await self._all_expected()
                await self._imply(line.message["payload"]["data"])
            topic, event = line.message["topic"], line.message["event"]
            self.by_topic.get(topic, self.clients[-1]).expected[topic, event].append(line.frame)
        await self._all_expected()

    async def _all_expected(self) -> None:
        for client in self.clients:
            await client.all_expected()

    async def _nothing_else(self) -> None:
        number = next(self.numbers)
        await self._write(f"insert into barrier values ({number})")
        frames = self.barrier.received[BARRIER, "postgres_changes"]
        await self.barrier.until(lambda: len(frames) == number)
        for client in self.clients:
            if not client.websocket.closed:
                await client.nothing_else(f"{SYNC}{number}")

    def _compare(self) -> None:
        for client in self.clients:
            assert client.received.keys() == {key for key, frames in client.expected.items() if frames}
            for key, frames in client.expected.items():
                for number, (expected, actual) in enumerate(zip(frames, client.received[key], strict=True)):
                    self.likeness.check(loads(expected), loads(actual), f"{key}[{number}]")

    async def _act(self, step: Step) -> bool:
        """Do what a line says. True if the changes that follow are its."""
        note = step.line.frame
        if step.line.kind == "out":
            await self._send(step.line)
        elif note.startswith("connect "):
            await self._connect(step.line)
        elif note.startswith("HTTP "):
            await self._refused(note)
        elif note.startswith("socket closed"):
            await self._close(note)
        elif note == "ws ping -> pong":
            await self.clients[-1].websocket.ping()
        elif note.startswith("SQL "):
            await self._write(self._sql(note))
            return True
        elif note in SQL and not step.frames:
            await self._write(SQL[note])
        return False

    async def _connect(self, line: Line) -> None:
        key, _, version = line.frame.partition("apikey=")[2].rpartition("&vsn=")
        self.asked = (token(key, line.t), version)
        if self.steps[self.steps.index(Step(line)) + 1].line.frame.startswith("connected"):
            self.clients.append(await self._open(*self.asked))

    async def _refused(self, note: str) -> None:
        key, version = self.asked
        status, _, body = note.removeprefix("HTTP ").partition(" ")
        async with self.http.get(f"{self.url}?apikey={key}&vsn={version}") as response:
            assert response.status == int(status)
            assert await response.read() == body.partition("body=bytearray(b'")[2].removesuffix("')").encode()

    async def _send(self, line: Line) -> None:
        client = self.clients[-1]
        if line.frame.startswith(("{", "[")):
            topic, event = line.message["topic"], line.message["event"]
            if event == "heartbeat":
                # The recording does not tell whose they are: each in turn.
                client = self.clients[next(self.numbers_of_beats) % len(self.clients)]
            elif event != "phx_join":
                client = self.by_topic.get(topic, client)
            self.by_topic[topic] = client
        await client.websocket.send_str(re.sub(r"<jwt [^>]*>", lambda match: token(match.group(), line.t), line.frame))

    numbers_of_beats = itertools.count()

    async def _close(self, note: str) -> None:
        for client in self.clients:
            if self.name.startswith("s4_no"):
                async with asyncio.timeout(20):
                    await client.reader
                assert f"code={client.websocket.close_code} " in note

    async def _imply(self, data: dict[str, Any]) -> None:
        """Do what a frame tells of, where the recording doesn't show it; the same change may have several frames."""
        seen = json.dumps(data)
        if seen in self.written:
            return
        self.written.add(seen)
        table = sql.Identifier(data["table"])
        if data["type"] == "INSERT":
            query = "insert into {0} overriding system value select * from jsonb_populate_record(null::{0}, {1})"
            command = sql.SQL(query).format(table, sql.Literal(json.dumps(data["record"])))
        else:
            command = sql.SQL("delete from {} where id = {}").format(table, sql.Literal(data["old_record"]["id"]))
        await self._write(command.as_string())

    def _sql(self, note: str) -> str:
        for announced, command in SQL.items():
            if note.startswith(f"{announced}:"):
                return command
        if note.endswith(": None"):
            # s1: an INSERT and a DELETE, each a transaction, before the poller looks.
            insert = next(self._sql(s.line.frame) for s in self.steps if s.line.frame.startswith("SQL INSERT match:"))
            table = insert.split("(")[0].split()[-1]
            return f"begin;{insert};commit;begin;delete from {table};commit"
        return re.sub(r"^SQL (.*: )?(?=(insert|update|delete|alter|begin|truncate) ?)", "", note)

    async def _write(self, command: str) -> None:
        """Run SQL with the stream held back until it is done."""
        self.stand_in.stream.pause()
        try:
            await self.connection.execute(command.encode())
        finally:
            self.stand_in.stream.resume()


@pytest.fixture(scope="session")
def recorded(postgres: Postgres) -> Iterator[str]:
    """The URL of a database with a Supabase project's roles."""
    name = "recorded"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"create database {name} template template_rowcast".encode())
        yield postgres.url(name)
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def prepared(recorded: str, path: Path) -> str:
    """The URL of a database as it was before a recording's first line."""
    with psycopg.connect(recorded, autocommit=True) as connection:
        connection.execute(NEW_PUBLIC)
        connection.execute((FOLDER / "tables.sql").read_bytes())
        connection.execute("create table barrier (n int primary key)")
        connection.execute("alter publication supabase_realtime add table barrier")
        for scenario, command in BEFORE.items():
            if path.stem.startswith(scenario):
                connection.execute(command.encode())
        for table, first in first_ids(path).items():
            connection.execute(f"alter table {table} alter id restart with {first}".encode())
    return recorded


def first_ids(path: Path) -> dict[str, int]:
    """The first id that a recording shows of each table whose ids are counted."""
    first: dict[str, int] = {}
    for line in read(path):
        if line.is_change and (data := line.message["payload"]["data"])["table"] in {"docs", "tasks"}:
            first.setdefault(data["table"], (data.get("record") or data["old_record"])["id"])
    return first


@pytest.mark.parametrize("path", recordings())
async def test_the_same_frames_as_the_real_server(path: Path, prepared: str) -> None:
    await Replay(path, prepared).run()


def test_every_recording_is_in_the_repository() -> None:
    assert FOLDER.is_dir()
    assert len(recordings()) >= 80
