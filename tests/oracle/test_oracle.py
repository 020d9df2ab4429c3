"""A short run, always the same one; and that the oracle would see what it is there to see."""

import json
from collections import Counter
from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle import project, truth
from tests.oracle.boms import BomViewer
from tests.oracle.leaks import Holdings
from tests.oracle.pages import Seen
from tests.oracle.pollers import Poller
from tests.oracle.run import run
from tests.oracle.several import SeveralViewer
from tests.oracle.stage import User
from tests.oracle.verdict import Complaints, Verdict
from tests.oracle.viewers import Viewer
from tests.oracle.wire import Answer, Event, Malformed

SEED = 1


@pytest.mark.timeout(400)
async def test_nothing_is_lost_misordered_or_leaked_in_a_short_turbulence(scratch):
    directory = scratch / "oracle"
    directory.mkdir()
    verdict = await run(SEED, seconds=20, warm_up=4, directory=directory)
    assert verdict.is_good, "\n".join([str(verdict), *verdict.details])
    # it was no quiet run, on however busy a machine
    assert verdict.faults >= 10
    assert verdict.changes > 500
    assert verdict.deliveries > 100


def test_the_line_says_what_counts():
    verdict = Verdict(7, 1800.4, 900, 100_000, 300_000, 0, 1, 2)
    assert str(verdict) == (
        "seed 7, seconds 1800, faults 900, changes 100000, deliveries 300000, lost 0, misordered 1, leaked 2"
    )
    assert not verdict.is_good
    assert Verdict(7, 1800, 900, 1, 1, 0, 0, 0).is_good


def test_complaints_are_counted_and_the_first_few_kept():
    complaints = Complaints()
    for number in range(100):
        complaints.add("lost", f"row {number}")
    assert complaints.counts == Counter(lost=100)
    assert complaints.told == [f"LOST: row {number}" for number in range(12)]


def test_what_is_held_beyond_an_idle_service_is_told():
    was = Holdings(0, 11, 9, 80 << 20)
    assert Holdings(0, 11, 12, 120 << 20).beyond(was) == []
    assert Holdings(1, 14, 14, 200 << 20).beyond(was) == [
        "1 streams, 0 when idle", "14 tasks, 11 when idle", "14 files, 9 when idle",
        f"{200 << 20} bytes, {80 << 20} when idle",
    ]  # fmt: skip


# The wire

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*parts: bytes) -> bytes:
    return HEAD + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


BODY = b'retry: 1000\n\ndata: {"a": 1}\n\nevent: x\ndata: 1\ndata: 2\nid: 7\n\n: keepalive\n\n: keepalive\nid: 8\n\n'
EVENTS = [Event("message", '{"a": 1}', None), Event("x", "1\n2", "7"), Event("message", "", "8")]


@given(st.lists(st.integers(1, len(BODY) - 1), unique=True).map(sorted), st.data())
def test_a_stream_reads_the_same_however_it_is_cut(cuts: list[int], data: st.DataObject) -> None:
    edges = [0, *cuts, len(BODY)]
    raw = chunked(*(BODY[a:b] for a, b in pairwise(edges))) + b"0\r\n\r\n"
    pieces = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    answer = Answer()
    events = []
    for a, b in zip([0, *pieces], [*pieces, len(raw)], strict=True):
        events += answer.feed(raw[a:b])
    assert events == EVENTS
    assert answer.is_whole


def test_what_came_before_a_cut_counts_and_half_an_event_does_not():
    answer = Answer()
    assert answer.feed(chunked(BODY)[: len(HEAD) + 50]) == EVENTS[:1]
    assert not answer.is_whole


@pytest.mark.parametrize("body", [b"data: a\rid: 3\n\n", b"nonsense\n\n", b"retry: soon\n\n"])
def test_what_no_page_could_read_is_malformed(body):
    with pytest.raises(Malformed):
        Answer().feed(chunked(body))


def test_an_error_is_known_by_its_status():
    answer = Answer()
    answer.feed(b"HTTP/1.1 503 \r\nRetry-After: 2\r\nContent-Length: 2\r\n\r\n{}")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")


# What a viewer complains of

SOURCE = {"sourceId": "s", "status": "pending", "sourceName": "a", "updatedAt": "then", "errorMessage": None}
CONNECTED = {"type": "connected", "revision": 10, "resumed": False, "live": True}
SNAPSHOT = {
    "type": "snapshot",
    "revision": 10,
    "part": 1,
    "last": True,
    "sources": [SOURCE],
    "jobs": [],
    "proposals": [],
}
UPDATE = {"type": "status_update", **SOURCE, "status": "failed"}
END = {"type": "stream_end", "reason": "shutdown", "reconnect": True}


def looking(*events: tuple[dict[str, Any] | None, int | None]) -> tuple[Viewer, Complaints]:
    """A viewer that got these messages with these ids on one connection."""
    complaints = Complaints()
    viewer = Viewer("v", "p", User("u", {}, ""), SimpleNamespace(services=[]), Random(1), complaints, Seen())
    viewer.is_named, viewer.kinds = False, frozenset(project.SHAPES)
    for message, id_ in events:
        viewer.take(Event("message", json.dumps(message) if message else "", None if id_ is None else str(id_)))
    return viewer, complaints


def test_a_viewer_is_content_with_a_stream_as_it_should_be():
    viewer, complaints = looking(
        (CONNECTED, None), (SNAPSHOT, 10), (UPDATE, None), (UPDATE, 11), (None, 12), (END, None)
    )
    assert complaints.told == []
    assert viewer.last == 12
    assert viewer.state.rows["sources", "s"]["status"] == "failed"


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([(UPDATE, 11)], "status_update comes before connected"),
        ([(CONNECTED, None), (UPDATE, 11)], "status_update before the snapshot"),
        ([(CONNECTED, None), (SNAPSHOT, 10), (UPDATE, 10)], "status_update with id 10 after 10"),
        ([(CONNECTED, None), (SNAPSHOT, 10), (None, 9)], " with id 9 after 10"),
        ([(CONNECTED, None), (SNAPSHOT, 10), (SNAPSHOT, 11)], "a snapshot that nobody asked for"),
        ([(CONNECTED, None), (SNAPSHOT, None)], "part 1 of a snapshot, carries_id=False"),
        ([(CONNECTED, None), (SNAPSHOT | {"part": 2}, 10)], "part 2 of a snapshot"),
        ([(CONNECTED | {"resumed": True}, None)], "came back with None"),
        ([(CONNECTED, None), (CONNECTED, None)], "connected comes twice"),
        ([(CONNECTED, None), (SNAPSHOT, 10), (END, None), (UPDATE, 11)], "status_update after stream_end"),
        ([(CONNECTED, None), (END | {"reconnect": False}, None)], "told not to come back"),
        ([(CONNECTED, None), ({"type": "error", "code": "internal_error"}, None)], "the service failed"),
    ],
)
def test_a_viewer_complains_of(events, complaint):
    _, complaints = looking(*events)
    assert complaint in complaints.told[0]


def watching(*events: tuple[dict[str, Any] | None, str | None]) -> tuple[SeveralViewer, Complaints]:
    """A page of the projects a, b and c that got these messages on one connection."""
    complaints = Complaints()
    stage = SimpleNamespace(services=[], projects=["a", "b", "c"])
    viewer = SeveralViewer("v", "a", User("u", {}, ""), stage, Random(1), complaints, Seen())
    viewer.parts = {key: viewer.parts[key] for key in "abc"}
    viewer.is_named = False
    for part in viewer.parts.values():
        part.is_named, part.kinds = False, frozenset(project.SHAPES)
    viewer.begin()
    for message, id_ in events:
        viewer.take(Event("message", json.dumps(message) if message else "", id_))
    return viewer, complaints


def of(key: str, message: dict[str, Any]) -> dict[str, Any]:
    return message | {"projectId": key}


OPENED = [(of(key, CONNECTED), None) for key in "abc"] + [(of("a", SNAPSHOT), None), (of("b", SNAPSHOT), None)]
WHOLE = [*OPENED, (of("c", SNAPSHOT), "10.10.10")]


def test_a_page_of_several_is_content_with_a_stream_as_it_should_be():
    viewer, complaints = watching(
        *OPENED, (of("a", UPDATE), None), (of("c", SNAPSHOT), "11.10.10"), (of("b", UPDATE), None),
        (of("b", UPDATE), "11.12.10"), (None, "11.12.13"), (END, None),
    )  # fmt: skip
    assert complaints.told == []
    assert viewer.last == "11.12.13"
    assert [part.last for part in viewer.parts.values()] == [11, 12, 13]
    assert viewer.parts["b"].state.rows["sources", "s"]["status"] == "failed"


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([*WHOLE, (of("a", UPDATE), "10.10.10")], "status_update with id 10 after 10"),
        ([*WHOLE, (of("a", UPDATE), "11.9.10")], "told to be at 9, is at 10"),
        ([*OPENED, (of("a", UPDATE), "11.10.10")], "told to be at 10, is at None"),
        ([*WHOLE, (UPDATE, "11.10.10")], "is nobody's"),
        ([*WHOLE, (END, None), (of("a", UPDATE), "11.10.10")], "after stream_end"),
        ([*WHOLE, (END | {"reconnect": False}, None)], "told not to come back"),
        ([*WHOLE, (of("a", END | {"reconnect": False}), None)], "told not to come back"),
        ([*WHOLE, (of("b", CONNECTED), None)], "connected comes twice"),
    ],
)
def test_a_page_of_several_complains_of(events, complaint):
    _, complaints = watching(*events)
    assert complaint in complaints.told[0]


def test_an_id_of_too_few_makes_no_sense():
    with pytest.raises(ValueError, match="shorter"):
        watching(*WHOLE, (None, "11.12"))


# What is compared

JOB = {"jobId": "j", "status": "running", "attempt": 1}
PROPOSAL = {"proposalId": "n", "title": "t", "updatedAt": "then"}


@pytest.mark.parametrize(
    ("kind", "told", "row", "agrees"),
    [
        ("sources", SOURCE, SOURCE, True),
        ("sources", SOURCE, UPDATE, False),
        ("sources", SOURCE, None, False),
        ("sources", None, SOURCE, False),
        ("sources", None, None, True),
        ("sources", {}, {"status": "failed"}, False),
        ("sources", {"status": "failed", "more": 1}, {"status": "failed"}, False),
        ("jobs", JOB | {"updatedAt": "earlier"}, JOB, True),
        ("jobs", JOB | {"updatedAt": "earlier", "attempt": 2}, JOB, False),
        ("proposals", {"proposalId": "n", "title": "t"}, PROPOSAL, True),
        ("proposals", PROPOSAL | {"updatedAt": "earlier"}, PROPOSAL, False),
        ("progress", {"percent": 33.3, "timestamp": 1000}, {"percent": 33.33, "timestamp": 999.6}, True),
        ("progress", {"percent": 33.4, "timestamp": 1000}, {"percent": 33.33, "timestamp": 999.6}, False),
        ("progress", {"percent": None}, {"percent": 0}, False),
    ],
)
def test_a_row_agrees(kind, told, row, agrees):
    assert project.agrees(kind, told, row) is agrees


def test_what_a_page_lacks_are_rows_of_the_kinds_it_asked_for():
    told = {("jobs", "a"): JOB | {"updatedAt": "x"}, ("sources", "s"): SOURCE}
    [lacking] = project.lacks(told, {}, {"jobs"})
    assert lacking.startswith("jobs a is None, told was {'jobId': 'j'")
    [lacking] = project.lacks({}, {("sources", "s"): SOURCE | {"sourceName": "x" * 100}}, {"jobs", "sources"})
    assert "'sourceName': 'x…'" in lacking
    assert lacking.endswith("told was None")


async def test_the_tables_own_word_is_in_the_shape_of_the_wire(database):
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        key = await new_project(connection)
        await connection.execute(
            "insert into jobs (id, project_id, kind, title, status, progress_current, progress_total, created_at, "
            "progress_updated_at) values (%s, %s, 'k', 't', 'queued', 1, 3, '2026-11-21 12:00:00.0019+00', "
            "'2026-11-21 12:00:01.5+00')",
            [ID, key],
        )
        assert await project.rows(connection, key) == {
            ("jobs", ID): {
                "jobId": ID, "kind": "k", "title": "t", "status": "queued", "attempt": 1, "errorMessage": None,
                "createdAt": "2026-11-21T12:00:00.001Z", "startedAt": None, "finishedAt": None,
                "cancelRequested": False, "sourceId": None, "bomId": None,
            },
            ("progress", ID): {
                "stage": None, "current": 1, "total": 3, "message": None, "timestamp": 1795262401500,
                "percent": pytest.approx(100 / 3), "etaSeconds": None,
            },
        }  # fmt: skip
        await connection.execute("update jobs set staff = true")
        assert await project.rows(connection, key) == {}


async def test_who_is_at_a_revision_may_show_what_was_so_then_or_later_and_nothing_older(database):
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        key = await new_project(connection)
        for status in ("pending", "processing", "failed"):
            await connection.execute(
                "insert into ingestion_sources (id, project_id, source_name, source_type, status) "
                "values (%s, %s, 'n', 't', %s) on conflict (id) do update set status = excluded.status",
                [ID, key, status],
            )
        await connection.execute("delete from ingestion_sources")
        cursor = await connection.execute("select revision from feed_changes where key = %s order by 1", [key])
        first, second, third, last = [revision for (revision,) in await cursor.fetchall()]

        async def statuses(revision: int) -> list[str | None]:
            told = await project.told_up_to(connection, key, revision, 100)
            return [row and row["status"] for rows in told.values() for row in rows]

        assert await statuses(first - 1) == []
        assert await statuses(first) == ["pending", "processing", "failed", None]
        assert await statuses(second) == await statuses(third - 1) == ["processing", "failed", None]
        assert await statuses(last) == [None]


ID = "00000000-0000-4000-8000-000000000001"


async def new_project(connection: project.Database) -> str:
    cursor = await connection.execute(
        "with o as (insert into organizations (name) values ('o') returning id) "
        "insert into projects (organization_id, name) select id, 'p' from o returning id::text"
    )
    [key] = await cursor.fetchone() or [""]
    return str(key)


# A page that polls

POLLED = {"revision": 10, "live": True, "sources": [SOURCE], "jobs": [], "proposals": []}
NEWS = {"revision": 12, "live": True, "reset": False, "events": [UPDATE]}


def polling(*bodies: dict[str, Any]) -> tuple[Poller, Complaints]:
    complaints = Complaints()
    poller = Poller("p", "k", User("u", {}, ""), SimpleNamespace(services=[]), Random(1), complaints, Seen())
    for body in bodies:
        poller._read(body)
    return poller, complaints


def test_a_page_that_polls_has_what_it_was_told():
    poller, complaints = polling(POLLED, NEWS)
    assert complaints.told == []
    assert (poller.last, poller.state.rows["sources", "s"]["status"]) == (12, "failed")


def test_a_page_that_polls_complains_when_its_revision_goes_back():
    _, complaints = polling(POLLED, NEWS, NEWS | {"revision": 11})
    assert "had 12, got 11" in complaints.told[0]
    assert polling(POLLED, NEWS, NEWS | {"revision": 11, "reset": True, "events": []})[1].told == []


# A page of a BOM

HELLO = {"type": "connected", "bom_id": "b", "message": "", "state": {"status": "idle"}}
BOM_STATE = {"type": "snapshot", "state": {"status": "enriching"}, "components": [], "revision": 10}
OVER = {"type": "stream_end", "reason": "enrichment.completed", "reconnect": False}
EVENTS_OF_B = [truth.Event("e", 9, 1), truth.Event("f", 11, 2), truth.Event("g", 12, 1)]


def progress(event_id: str, what: str = "progress") -> dict[str, Any]:
    return {"event_id": event_id, "event_type": f"enrichment.{what}"}


def looking_at_a_bom(*events: tuple[dict[str, Any], int | None]) -> tuple[BomViewer, Complaints]:
    complaints = Complaints()
    stage = SimpleNamespace(services=[], boms={"b": "p"})
    viewer = BomViewer("v", "b", User("u", {}, ""), stage, Random(1), complaints, Seen())
    for message, id_ in [(HELLO, None), (BOM_STATE, 10), *events]:
        name = message.get("type") or message["event_type"]
        viewer.take(Event(name, json.dumps(message), None if id_ is None else str(id_)))
    return viewer, complaints


def lacking(viewer: BomViewer) -> list[str]:
    return viewer.lacks(truth.Truth({}, {}, {"b": 12}, {"b": EVENTS_OF_B}))


ALL = [(progress("f:1", "component.failed"), None), (progress("f"), 11), (progress("g"), 12)]


def test_a_page_of_a_bom_has_each_event_since_its_snapshot_once():
    viewer, complaints = looking_at_a_bom(*ALL, (OVER, None))
    assert complaints.told == []
    assert lacking(viewer) == []
    assert viewer.is_over
    viewer.nothing_more()
    assert viewer.is_done


@pytest.mark.parametrize(
    ("events", "lack"),
    [
        (ALL[1:], "f:1 is missing"),
        (ALL[:1] + ALL[2:], "f is missing"),
        ([*ALL, (progress("e"), 13)], "e is none of the BOM's since 10"),
        ([*ALL[:2], (progress("g"), 13)], "g came with id 13, not 12"),
        ([*ALL[:2], (progress("g"), None)], "g came with id None, not 12"),
    ],
)
def test_a_page_of_a_bom_lacks(events, lack):
    assert lacking(looking_at_a_bom(*events)[0]) == [lack]


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([*ALL, (progress("g"), 13)], "enrichment.progress g twice on one connection"),
        ([(progress("f:1"), 11)], "enrichment.progress has event_id f:1"),
        ([(OVER | {"reason": "error"}, None)], "told not to come back"),
    ],
)
def test_a_page_of_a_bom_complains_of(events, complaint):
    assert complaint in looking_at_a_bom(*events)[1].told[0]
