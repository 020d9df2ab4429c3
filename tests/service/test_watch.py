"""Watching: what messages make of the state, and a stream that outlives its connections."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.changes.change import Change
from service.events.project import JOB_COLUMNS, PROGRESS_COLUMNS, ProjectFeed
from service.events.wire import encode, snapshot_parts
from service.watch import State, Stream, WatchError, watch
from tests.conftest import unused_port
from tests.service.sse_server import (
    ScriptedService,
    answer,
    connected,
    message,
    serving,
    snapshot,
    stream,
    stream_end,
)

PROJECT = "00000000-0000-4000-8000-000000000002"
OVER = r"The service refused \(404\): the script is over"
PROGRESS = {"stage": "parsing", "current": 1, "total": 2, "message": None, "percent": 50.0, "etaSeconds": None}


def job(job_id: str = "j", status: str = "running", **fields: Any) -> dict[str, Any]:
    return {"jobId": job_id, "title": "Manuals", "status": status, "errorMessage": None, **fields}


def reduced(*messages: dict[str, Any]) -> State:
    state = State()
    for each in messages:
        state.apply(each)
    return state


# The state


def test_an_empty_state_is_not_live():
    state = State()
    assert (state.sources, state.jobs, state.proposals, state.live) == ({}, {}, {}, False)


def test_live_is_what_connected_and_live_say():
    state = reduced({"type": "connected", "live": True})
    assert state.live
    state.apply({"type": "live", "live": False, "reason": "gone"})
    assert not state.live


def test_a_source_comes_changes_and_goes():
    pending = {"type": "status_update", "sourceId": "s", "status": "pending"}
    completed = {**pending, "status": "completed"}
    assert reduced(pending, completed).sources == {"s": completed}
    assert reduced(pending, {"type": "source_deleted", "sourceId": "s"}).sources == {}


def test_a_proposal_comes_changes_and_goes():
    new = {"type": "new_proposal", "proposalId": "p", "status": "proposed"}
    accepted = {"type": "proposal_update", "proposalId": "p", "status": "accepted"}
    assert reduced(new, accepted).proposals == {"p": accepted}
    assert reduced(new, {"type": "proposal_deleted", "proposalId": "p"}).proposals == {}


def test_a_job_is_its_fields_and_its_progress_in_whatever_order_they_come():
    fields, progress = {"type": "job_update", **job()}, {"type": "progress_update", "jobId": "j", "progress": PROGRESS}
    for messages in ((fields, progress), (progress, fields)):
        (row,) = reduced(*messages).jobs.values()
        assert (row["title"], row["status"], row["progress"]) == ("Manuals", "running", PROGRESS)
    assert reduced(fields, progress, {"type": "job_deleted", "jobId": "j"}).jobs == {}


def test_what_is_gone_may_go_again():
    assert reduced(
        {"type": "job_deleted", "jobId": "j"},
        {"type": "source_deleted", "sourceId": "s"},
        {"type": "proposal_deleted", "proposalId": "p"},
    ) == State()  # fmt: skip


@pytest.mark.parametrize("type_", ["reset", "error", "stream_end", "something_new"])
def test_other_messages_change_nothing(type_):
    before = [{"type": "connected", "live": True}, {"type": "job_update", **job()}]
    assert reduced(*before, {"type": type_}) == reduced(*before)


def part(number: int, *, last: bool, **lists: Any) -> dict[str, Any]:
    return {"type": "snapshot", "part": number, "last": last, "sources": [], "jobs": [], "proposals": [], **lists}


def test_a_snapshot_replaces_everything_once_it_is_whole():
    state = reduced({"type": "job_update", **job("old")}, part(1, last=False, sources=[{"sourceId": "s"}]))
    assert set(state.jobs) == {"old"}
    assert state.sources == {}
    state.apply(part(2, last=False, jobs=[job("new")]))
    assert set(state.jobs) == {"old"}
    state.apply(part(3, last=True, proposals=[{"proposalId": "p"}]))
    assert (set(state.sources), set(state.jobs), set(state.proposals)) == ({"s"}, {"new"}, {"p"})


def test_a_snapshot_that_broke_off_leaves_nothing_in_the_next():
    state = reduced(part(1, last=False, jobs=[job("lost")]), part(1, last=True, jobs=[job("kept")]))
    assert set(state.jobs) == {"kept"}


@pytest.mark.parametrize(
    ("statuses", "ended"),
    [
        ([], True),
        (["completed"], True),
        (["completed", "failed", "stopped"], True),
        (["queued"], False),
        (["paused"], False),
        (["stalled"], False),
        (["completed", "running"], False),
    ],
)
def test_jobs_have_ended_when_none_of_them_has_yet_to(statuses, ended):
    messages = [{"type": "job_update", **job(str(number), status)} for number, status in enumerate(statuses)]
    asked = [str(number) for number in range(len(statuses))]
    assert (
        reduced({"type": "job_update", **job("other", "running")}, *messages).have_ended([*asked, "deleted"]) is ended
    )


def test_a_job_of_which_only_progress_is_known_has_yet_to_end():
    assert not reduced({"type": "progress_update", "jobId": "j", "progress": PROGRESS}).have_ended(["j"])


AT = "2026-11-21T12:04:34.8+00:00"
ROWS: dict[str, dict[str, Any]] = {
    "jobs": {
        "kind": "k", "title": "T", "status": "queued", "progress_stage": None, "progress_current": 0,
        "progress_total": None, "progress_message": None, "progress_updated_at": None, "pipeline": None,
        "source_id": None, "bom_id": None, "attempt": 1, "started_at": None, "finished_at": None,
        "cancel_requested_at": None, "error_message": None, "staff": False, "created_at": AT, "updated_at": AT,
    },
    "ingestion_sources": {
        "source_name": "a.md", "status": "pending", "error_message": None, "created_at": AT, "updated_at": AT,
    },
    "proposed_nodes": {
        "job_id": None, "source_id": None, "title": "T", "confidence": None, "status": "proposed", "created_at": AT,
        "updated_at": AT,
    },
}  # fmt: skip
UPDATES: dict[str, list[dict[str, Any]]] = {
    "jobs": [
        {"status": "running", "started_at": AT},
        {"status": "completed"},
        {"progress_stage": "parsing", "progress_current": 3, "progress_total": 7, "progress_updated_at": AT},
        {"progress_current": 7, "progress_updated_at": AT, "status": "failed", "error_message": "no"},
        {"priority": 9},
    ],
    "ingestion_sources": [{"status": "completed"}, {"status": "failed", "error_message": "no"}],
    "proposed_nodes": [{"status": "accepted"}, {"confidence": 0.5}],
}
FEED = ProjectFeed()


@given(st.lists(st.tuples(st.sampled_from(list(ROWS)), st.sampled_from("abc"), st.integers(-1, 4)), max_size=30))
def test_the_state_after_all_messages_is_the_one_that_a_snapshot_gives(steps):
    """-1 deletes the row, another number updates it, and what is not there is inserted."""
    tables: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in ROWS}
    state = State()
    for revision, (table, row_id, choice) in enumerate(steps, start=1):
        rows = tables[table]
        changed: frozenset[str] = frozenset()
        if row_id not in rows:
            op, rows[row_id] = "I", {"id": row_id, **ROWS[table]}
        elif choice < 0:
            op = "D"
            del rows[row_id]
        else:
            op, update = "U", UPDATES[table][choice % len(UPDATES[table])]
            changed = frozenset(name for name, value in update.items() if rows[row_id].get(name) != value)
            rows[row_id] = {**rows[row_id], **update}
        change = Change(revision, revision - 1, table, row_id, op, changed, rows.get(row_id), AT)  # type: ignore[arg-type]
        for each in FEED.translate(change):
            state.apply(json.loads(encode(each).data))
    whole = State()
    for each in snapshot_parts(1, FEED.snapshot({table: list(rows.values()) for table, rows in tables.items()})):
        whole.apply(json.loads(each.data))
    for got, wanted in ((state.sources, whole.sources), (state.jobs, whole.jobs), (state.proposals, whole.proposals)):
        assert got.keys() == wanted.keys()
        for row_id, row in got.items():
            told = {name: value for name, value in row.items() if name != "type"}
            assert {name: value for name, value in wanted[row_id].items() if name in told} == told
    assert JOB_COLUMNS.isdisjoint(PROGRESS_COLUMNS)


# The stream


class Notes:
    """A view that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.seen: list[str] = []

    def message(self, message: dict[str, Any], state: State) -> None:
        self.seen.append(message["type"])

    def note(self, text: str) -> None:
        self.notes.append(text)


class Watching:
    """A stream whose waits are noted and take no time, with all it says."""

    def __init__(self, url: str) -> None:
        self.view = Notes()
        self.waits: list[float] = []
        self.messages: list[dict[str, Any]] = []
        self.stream = Stream(url, f"/api/projects/{PROJECT}/status", self._token, self.view, self._sleep)

    async def _read(self) -> None:
        async for each in self.stream.messages():
            self.messages.append(each)

    async def _token(self) -> str:
        return "a-token"

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def to_the_end(self, end: str = OVER) -> list[str]:
        """Reads until watching ends with a message like ``end``; returns the types that came."""
        with pytest.raises(WatchError, match=end):
            await self._read()
        return [each["type"] for each in self.messages]


async def test_the_first_connection_asks_for_a_snapshot_with_the_token():
    async with serving(stream(connected(), snapshot(5))) as service:
        watching = Watching(f"{service.url}/")
        assert await watching.to_the_end() == ["connected", "snapshot"]
        request = service.requests[0]
        assert request.path == f"/api/projects/{PROJECT}/status"
        assert dict(request.query) == {"snapshot": "1"}
        assert request.headers["Authorization"] == "Bearer a-token"
        assert service.last_event_ids == [None, "5"]


async def test_a_cut_is_noted_and_resumed_from_the_last_id():
    async with serving(
        stream(b"retry: 1000\n\n", connected(), snapshot(5), message("x", 6), message("y"), then="cut"),
        stream(connected(6, resumed=True), message("y"), message("z", 7), then="cut"),
        stream(then="cut"),
        stream(b"retry: 1000\n\n", then="cut"),
    ) as service:
        watching = Watching(service.url)
        assert await watching.to_the_end() == ["connected", "snapshot", "x", "y", "connected", "y", "z"]
        assert service.last_event_ids == [None, "6", "7", "7", "7"]
        assert len(watching.view.notes) == 4
        assert all(note.startswith("no connection (") for note in watching.view.notes)


async def test_a_cut_before_the_snapshot_was_whole_asks_for_another():
    async with serving(
        stream(connected(), snapshot(None, 1, last=False), then="cut"), stream(connected(), snapshot(9))
    ) as service:
        await Watching(service.url).to_the_end()
        assert service.last_event_ids == [None, None, "9"]


async def test_an_id_without_data_only_moves_the_id():
    async with serving(stream(connected(5), b": keepalive\nid: 8\n\n", b": keepalive\n\n", then="cut")) as service:
        watching = Watching(service.url)
        assert await watching.to_the_end() == ["connected"]
        assert service.last_event_ids == [None, "8"]


async def test_a_frame_that_was_cut_in_two_is_no_message():
    whole = message("x", 6)
    for length in range(1, len(whole)):
        async with serving(stream(connected(5), whole[:length], then="cut")) as service:
            assert await Watching(service.url).to_the_end() == ["connected"]
            assert service.last_event_ids == [None, "5"]


async def test_a_frame_may_come_in_pieces():
    whole = b"".join([connected(5), message("x", 6, title="Größe\n…")])
    async with serving(stream(*(whole[at : at + 1] for at in range(len(whole))))) as service:
        watching = Watching(service.url)
        await watching.to_the_end()
        assert watching.messages[1] == {"type": "x", "title": "Größe\n…"}


async def test_an_answer_that_just_ends_is_resumed():
    async with serving(stream(connected(5)), stream(connected(5))) as service:
        watching = Watching(service.url)
        assert await watching.to_the_end() == ["connected", "connected"]
        assert len(watching.waits) == 2


@pytest.mark.parametrize("then", ["end", "cut", "hold"])
async def test_a_stream_that_ends_for_now_is_come_back_to(then):
    """Even when the server forgets to close it."""
    async with serving(stream(connected(5), stream_end("shutdown", reconnect=True), then=then)) as service:
        watching = Watching(service.url)
        assert await watching.to_the_end() == ["connected", "stream_end"]
        assert service.last_event_ids == [None, "5"]
        assert len(watching.waits) == 1


async def test_a_stream_that_ends_for_good_is_left():
    async with serving(stream(connected(5), stream_end("access_revoked", reconnect=False), then="hold")) as service:
        watching = Watching(service.url)
        types = await watching.to_the_end(r"The service ended the stream: access_revoked\.")
        assert types == ["connected", "stream_end"]
        assert len(service.requests) == 1
        assert watching.waits == []


async def test_the_service_says_how_long_to_wait():
    async with serving(
        stream(b"retry: 8000\n\n", connected(5), then="cut"),
        stream(b"retry: 0\n\n", connected(5), then="cut"),
        stream(b"retry: 999999999999\n\n", connected(5), then="cut"),
        stream(b"retry: soon\n\n", connected(5), then="cut"),
    ) as service:
        watching = Watching(service.url)
        await watching.to_the_end()
        for waited, least, most in zip(watching.waits, (4, 0.1, 15, 0.1), (8, 0.2, 30, 0.2), strict=True):
            assert least <= waited <= most


async def test_waits_grow_while_nobody_answers_and_are_short_again_after():
    class Enough(Exception):
        pass

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 12:
            raise Enough

    watching = Watching(f"http://127.0.0.1:{unused_port()}")
    waits = watching.waits
    watching.stream._sleep = sleep
    with pytest.raises(Enough):
        await watching._read()
    assert watching.messages == []
    assert len(watching.view.notes) == 12
    assert waits[0] <= 0.2
    assert waits[-1] >= 15
    async with serving(*[answer(502, "")] * 8, stream(connected(5), then="cut")) as service:
        watching = Watching(service.url)
        await watching.to_the_end()
        assert watching.waits[7] > 5
        assert watching.waits[8] <= 0.2


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_busy_service_is_waited_for(status):
    body = {"error": "upstream_unavailable", "message": "The database can't be asked at the moment."}
    async with serving(answer(status, body, **{"Retry-After": "7"}), stream(connected(5))) as service:
        watching = Watching(service.url)
        assert await watching.to_the_end() == ["connected"]
        assert watching.waits[0] == 7
        assert watching.view.notes == [
            f"the service answers {status}: The database can't be asked at the moment., trying again"
        ]


@pytest.mark.parametrize(
    ("told", "least", "most"),
    [
        ("0", 0.1, 0.2),
        ("86400", 300, 300),
        ("-5", 0.1, 0.2),
        ("soon", 0.1, 0.2),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.1, 0.2),
        ("1.5", 0.1, 0.2),
    ],
)
async def test_an_odd_retry_after_does_no_harm(told, least, most):
    async with serving(answer(503, "", **{"Retry-After": told})) as service:
        watching = Watching(service.url)
        await watching.to_the_end()
        assert least <= watching.waits[0] <= most


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (
            answer(401, {"error": "expired_token", "message": "The access token has expired."}),
            r"\(401\): The access to",
        ),
        (answer(403, {"error": "forbidden", "message": "No."}), r"\(403\): No\."),
        (answer(404, {"error": "not_found", "message": "No such project."}), r"\(404\): No such project\."),
        (answer(400, {"error": "bad_request", "message": "Bad."}), r"\(400\): Bad\."),
        (answer(404, "<html>nothing here</html>"), r"\(404\): <html>nothing here"),
        (answer(404, ["message"]), r"\(404\): \[\"message\"\]"),
        (answer(404, ""), r"\(404\): Not Found"),
        (answer(301, "", Location="/elsewhere"), r"\(301\): Moved Permanently"),
        (answer(200, "<html>sign in to the network</html>"), r"is no stream of rowcast's: Expected response header"),
        (answer(200, {"message": "hello"}), r"is no stream of rowcast's"),
        (stream(b"data: {oops\n\n"), r"is no stream of rowcast's: Expecting"),
    ],
)
async def test_an_answer_that_will_not_change_ends_watching(act, said):
    async with serving(act) as service:
        watching = Watching(service.url)
        assert await watching.to_the_end(said) == []
        assert len(service.requests) == 1
        assert watching.waits == []


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://example.com", "http://[", "http://x:y"])
def test_what_is_no_address_is_told_at_once(url):
    with pytest.raises(WatchError, match="The service's address"):
        Watching(url)


async def test_a_token_is_asked_for_at_every_connect():
    tokens = iter(["first", "second", "third"])

    async def token() -> str:
        return next(tokens)

    async with serving(stream(connected(5)), stream(connected(5))) as service:
        watching = Watching(service.url)
        watching.stream._get_token = token
        await watching.to_the_end()
        told = [request.headers["Authorization"] for request in service.requests]
        assert told == ["Bearer first", "Bearer second", "Bearer third"]


async def test_while_no_token_can_be_had_watching_goes_on_trying():
    failures = iter([httpx.ConnectError("Auth is away"), httpx.ReadTimeout("")])

    async def token() -> str:
        if error := next(failures, None):
            raise error
        return "t"

    async with serving(stream(connected(5))) as service:
        watching = Watching(service.url)
        watching.stream._get_token = token
        assert await watching.to_the_end() == ["connected"]
        assert watching.view.notes[:2] == [
            "no connection (Auth is away), trying again", "no connection (ReadTimeout), trying again",
        ]  # fmt: skip


# Until done


async def watched(service: ScriptedService, *, until_done: bool = True) -> tuple[State, list[str]]:
    watching = Watching(service.url)
    state = await watch(watching.stream, watching.view, until_done=until_done)
    return state, watching.view.seen


def update(status: str, job_id: str = "j") -> bytes:
    return message("job_update", **job(job_id, status))


async def test_until_done_ends_when_what_ran_has_ended():
    async with serving(
        stream(connected(), snapshot(5, jobs=[job("old", "failed")]), update("running"), then="cut"),
        stream(connected(5), update("running", "k"), update("completed"), update("failed", "k"), then="hold"),
    ) as service:
        state, seen = await watched(service)
        assert {row["status"] for row in state.jobs.values()} == {"completed", "failed"}
        assert seen[-1] == "job_update"
        assert len(service.requests) == 2


async def test_until_done_waits_for_a_first_job():
    async with serving(
        stream(connected(), snapshot(5, jobs=[job("old", "completed")]), then="cut"),
        stream(update("queued"), update("stopped"), then="hold"),
    ) as service:
        await watched(service)
        assert len(service.requests) == 2


async def test_until_done_does_not_wait_for_jobs_of_which_nothing_is_heard():
    left = [job("queued", "queued"), job("left by a dead worker", "running")]
    async with serving(
        stream(connected(), snapshot(5, jobs=left), update("running"), update("completed"), then="hold")
    ) as service:
        state, _ = await watched(service)
        assert state.jobs["j"]["status"] == "completed"


async def test_until_done_is_done_when_the_job_that_ran_was_deleted():
    async with serving(
        stream(connected(), snapshot(5), update("running"), message("job_deleted", jobId="j"), then="hold")
    ) as service:
        state, _ = await watched(service)
        assert state.jobs == {}


async def test_a_reset_in_the_middle_of_a_job_is_not_its_end():
    async with serving(
        stream(
            connected(), snapshot(5), update("running"), message("reset", reason="too old"),
            snapshot(None, 1, last=False), snapshot(9, 2, jobs=[job()]), update("completed"), then="hold",
        )
    ) as service:  # fmt: skip
        state, _ = await watched(service)
        assert state.jobs["j"]["status"] == "completed"


async def test_without_until_done_the_end_of_jobs_is_no_end():
    async with serving(stream(connected(), update("running"), update("completed"))) as service:
        with pytest.raises(WatchError, match=OVER):
            await watched(service, until_done=False)


async def test_watching_can_be_cancelled_at_any_time():
    async with serving(stream(connected(5), then="hold")) as service:
        watching = Watching(service.url)
        task = asyncio.create_task(watch(watching.stream, watching.view, until_done=False))
        while not watching.view.seen:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
