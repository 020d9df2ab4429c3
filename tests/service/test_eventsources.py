"""What is sent, as EventSource implementations from elsewhere understand it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from service.schema.catalogue import SEVERAL, STREAMS, messages
from service.streams import frames
from tests.service import proxy
from tests.service.conftest import Project
from tests.service.eventsources import LIBRARIES, Event, Events, Open
from tests.service.schema.checking import check_event
from tests.service.sse_server import Act, answer, serving, stream

NAMES = {stream.name: [type_ for type_, _ in messages(stream)] for stream in STREAMS}
PIECES = {"at once": 1 << 20, "byte by byte": 1, "in sevens": 7}
TEXT = 'Ω → 😀 "quoted" \u2028 é'

QUICK = frames.retry(10)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Open:
    return LIBRARIES[request.param]


@pytest.mark.parametrize("size", PIECES.values(), ids=PIECES)
async def test_events_are_understood_however_they_arrive(library: Open, size: int) -> None:
    told = b"".join([
        frames.message(json.dumps({"text": TEXT}, ensure_ascii=False).encode()),
        frames.keepalive(),
        frames.message(b"{}", id=7),
        frames.message(b"one\rtwo\r\nthree\nevent: four", event="new_proposal"),
        frames.message(b"", event="live"),
        frames.message(b"  kept ", event="live", id=8),
    ])  # fmt: skip
    script: list[Act] = [stream(QUICK, *pieces(told, size)), answer(204, "")]
    async with serving(*script) as server, library(f"{server.url}/api/x", "new_proposal", "live") as events:
        heard = [event async for event in events if event.data]
    assert heard == [
        Event("message", json.dumps({"text": TEXT}, ensure_ascii=False), ""),
        Event("message", "{}", "7"),
        Event("new_proposal", "one\ntwo\nthree\nevent: four", "7"),
        Event("live", "  kept ", "8"),
    ]
    assert server.last_event_ids == [None, "8"]


async def test_a_page_comes_back_with_the_last_id_that_was_whole(library: Open) -> None:
    whole, half = frames.message(b"a", id=1), frames.message(b"b", id=2)[:-1]
    again = frames.message(b"b", id=2)
    script = [stream(QUICK, whole, half, then="cut"), stream(again, then="cut"), answer(204, "")]
    async with serving(*script) as server, library(f"{server.url}/api/x") as events:
        assert [(event.data, event.id) async for event in events] == [("a", "1"), ("b", "2")]
    assert server.last_event_ids == [None, "1", "2"]


@pytest.mark.parametrize("name", ["httpx-sse", "eventsource-client"])
async def test_a_page_waits_as_long_as_it_is_asked_to(name: str) -> None:
    script = [stream(frames.retry(10)), stream(frames.retry(20), frames.message(b"x")), stream(), answer(204, "")]
    retries: list[int] = []
    async with serving(*script) as server, LIBRARIES[name](f"{server.url}/api/x", retries=retries) as events:
        assert [event.data async for event in events] == ["x"]
    assert retries == [10, 20, 20]


async def test_an_event_named_error_is_told_from_a_failing_connection(library: Open) -> None:
    script = [stream(QUICK, then="cut"), stream(frames.message(b'{"code":"x"}', event="error")), answer(204, "")]
    async with serving(*script) as server, library(f"{server.url}/api/x", "error") as events:
        assert [(event.name, event.data) async for event in events] == [("error", '{"code":"x"}')]


# The real service


class HastyProxy(proxy.FaultyProxy):
    """Has pages come back after 10 ms, whatever the service asks them to wait."""

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(re.sub(rb"retry: \d{4}\n", b"retry: 0010\n", data))
        writer.write_eof()


@asynccontextmanager
async def hasty_proxy(service: str) -> AsyncIterator[HastyProxy]:
    between = HastyProxy(service, ())
    server = await asyncio.start_server(between.serve, "127.0.0.1", 0)
    between.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield between
        between.cut("rest")


async def until(events: Events, type_: str) -> list[Event]:
    """What is heard up to a message of this type."""
    heard: list[Event] = []
    while not heard or heard[-1].message["type"] != type_:
        heard.append(await anext(events))
    return heard


@pytest.mark.parametrize("named", [False, True])
async def test_pages_that_come_back_are_told_what_they_missed_and_nothing_twice(
    service: str, project: Project, named: bool
) -> None:
    [feed] = [each for each in STREAMS if each.name == "project"]
    query = f"snapshot=1&token={project.token}" + ("&events=named" if named else "")
    async with hasty_proxy(service) as between, AsyncExitStack() as opened:
        url = f"{between.url}/api/projects/{project.id}/status?{query}"
        pages = [await opened.enter_async_context(open_(url, *NAMES["project"])) for open_ in LIBRARIES.values()]
        for page in pages:
            first, *_ = await until(page, "snapshot")
            assert first.message["type"] == "connected"
        project.proposal(TEXT)
        heard = [(await until(page, "new_proposal"))[-1] for page in pages]
        assert {event.message["title"] for event in heard} == {TEXT}
        between.refused.add("rest")
        between.cut("rest")
        project.proposal("missed")
        between.refused.clear()
        back = [await until(page, "new_proposal") for page in pages]
    for told in back:
        assert [event.message["type"] for event in told if event.message["type"] != "live"] == [
            "connected", "new_proposal",
        ]  # fmt: skip
        assert told[-1].message["title"] == "missed"
        [connected] = [event for event in told if event.message["type"] == "connected"]
        assert (connected.message["resumed"], connected.message["revision"]) == (True, int(heard[0].id))
        for event in told:
            assert event.name == (event.message["type"] if named else "message")
            check_event(feed, {"event": event.name, "data": event.data, "id": event.id})
    assert len({told[-1].id for told in back}) == 1


async def test_pages_stop_coming_back_when_a_bom_has_ended(service: str, project: Project) -> None:
    [feed] = [each for each in STREAMS if each.name == "enrichment"]
    bom = project.bom("a", "x", None)
    run = project.start(bom)
    async with hasty_proxy(service) as between, AsyncExitStack() as opened:
        url = f"{between.url}/api/enrichment/stream/{bom}?snapshot=1&token={project.token}"
        pages = [await opened.enter_async_context(open_(url, *NAMES["enrichment"])) for open_ in LIBRARIES.values()]
        begun = [[await anext(page), await anext(page)] for page in pages]
        run.all()
        heard = [[*told, *[event async for event in page]] for told, page in zip(begun, pages, strict=True)]
    for told in heard:
        assert [event.name for event in told if event.name != "live"] == [
            "connected", "snapshot", "enrichment.component.completed", "enrichment.component.failed",
            "enrichment.component.failed", "enrichment.progress", "enrichment.completed", "stream_end",
        ]  # fmt: skip
        for event in told:
            check_event(feed, {"event": event.name, "data": event.data, "id": event.id or "0"})


async def test_several_projects_on_one_stream_are_what_their_schema_says(service: str, project: Project) -> None:
    [streams, _] = SEVERAL
    other = project.another()
    url = f"{service}/api/status?projects={project.id},{other.id}&snapshot=1&events=named&token={project.token}"
    async with LIBRARIES["eventsource-client"](url, *NAMES["project"]) as events:
        told = [await anext(events) for _ in range(4)]
        other.proposal("T")
        told += await until(events, "new_proposal")
    assert told[-1].message["projectId"] == other.id
    assert told[-1].id.count(".") == 1
    for event in told:
        check_event(streams, {"event": event.name, "data": event.data, **({"id": event.id} if event.id else {})})


@pytest.mark.parametrize("several", [False, True])
async def test_pipelines_are_what_their_schema_says(service: str, project: Project, several: bool) -> None:
    name = "pipelines" if several else "pipeline"
    [feed] = [each for each in STREAMS if each.name == name]
    job = project.job(status="running", progress_stage="parsing", progress_current=3, progress_total=4)
    path = f"progress?project_id={project.id}&" if several else f"{job}/progress?"
    url = f"{service}/api/v1/admin/ingestion/jobs/{path}token={project.token}"
    async with LIBRARIES["eventsource-client"](url, *NAMES[name]) as events:
        told = [await anext(events)]
        project.execute("update jobs set status = 'completed', progress_stage = 'complete' where id = %s", job)
        while told[-1].name != "complete":
            told.append(await anext(events))
    assert {event.name for event in told} >= {"pipeline_progress", "complete"}
    for event in told:
        check_event(feed, {"event": event.name, "data": event.data})
