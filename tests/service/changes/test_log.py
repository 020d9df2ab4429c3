"""The change log read through REST, as the service reads it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from service.changes.change import FeedKey
from service.changes.log import ChangeLog
from service.errors import DatabaseRefused, DatabaseUnavailable, NoSuchRow
from supabase import AsyncClientOptions, acreate_client
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project
from tests.service.logged import logged


async def connected(url: str, key: str, http: httpx.AsyncClient) -> ChangeLog:
    return ChangeLog(await acreate_client(url, key, AsyncClientOptions(httpx_client=http)))


@pytest.fixture
async def log(stack: StackFacts) -> AsyncIterator[ChangeLog]:
    async with httpx.AsyncClient() as http:
        yield await connected(stack.supabase_url, stack.secret_key, http)


async def test_changes_after_a_cursor_come_in_order_each_naming_the_one_before(
    log: ChangeLog, project: Project
) -> None:
    key = FeedKey("project", project.id)
    start = (await log.heads("project", [project.id]))[project.id]
    source = project.source()
    project.execute("update ingestion_sources set status = 'processing' where id = %s", source)
    project.execute("delete from ingestion_sources where id = %s", source)
    page = await log.since(key, start)
    assert [(change.op, change.identity) for change in page.changes] == [
        (op, ("ingestion_sources", source)) for op in "IUD"
    ]
    assert [change.prev for change in page.changes] == [start, page.changes[0].revision, page.changes[1].revision]
    assert page.changes[1].changed == {"status", "updated_at"}
    assert page.changes[1].row is not None
    assert page.changes[1].row["status"] == "processing"
    assert (page.head, page.reset, page.more) == (page.changes[-1].revision, False, False)


async def test_many_changes_come_in_pages(log: ChangeLog, project: Project) -> None:
    key = FeedKey("project", project.id)
    start = (await log.heads("project", [project.id]))[project.id]
    project.execute(
        "insert into proposed_nodes (project_id, title) select %s, 'p' || n from generate_series(1, 1200) n", project.id
    )
    first = await log.since(key, start)
    assert (len(first.changes), first.more) == (1000, True)
    second = await log.since(key, first.changes[-1].revision)
    assert (len(second.changes), second.more) == (200, False)
    assert second.changes[0].prev == first.changes[-1].revision


async def test_the_head_of_a_key_without_changes_is_a_cursor_to_begin_from(log: ChangeLog) -> None:
    nobody = str(uuid4())
    head = (await log.heads("project", [nobody]))[nobody]
    page = await log.since(FeedKey("project", nobody), head)
    assert (page.head, page.reset, page.changes) == (head, False, ())


@pytest.mark.parametrize("cursor", [0, 2**53 - 1])
async def test_a_cursor_that_is_no_use_is_a_reset(log: ChangeLog, project: Project, cursor: int) -> None:
    page = await log.since(FeedKey("project", project.id), cursor)
    assert (page.reset, page.changes) == (True, ())


async def test_a_snapshot_and_its_head_agree(log: ChangeLog, project: Project) -> None:
    source = project.source()
    snapshot = await log.snapshot(FeedKey("project", project.id), "project_snapshot", "project_id")
    assert [row["id"] for row in snapshot.rows["ingestion_sources"]] == [source]
    page = await log.since(FeedKey("project", project.id), snapshot.head)
    assert (page.changes, page.head) == ((), snapshot.head)


async def test_what_the_database_refuses_is_told_in_its_words(log: ChangeLog) -> None:
    with pytest.raises(DatabaseRefused, match="there is no feed 'nonsense'"):
        await log.heads("nonsense", [])


async def test_the_publishable_key_may_not_read_the_log(stack: StackFacts, project: Project) -> None:
    async with httpx.AsyncClient() as http:
        log = await connected(stack.supabase_url, stack.publishable_key, http)
        with pytest.raises(DatabaseRefused, match="permission denied"):
            await log.since(FeedKey("project", project.id), 0)


async def test_a_database_that_cannot_be_reached_is_unavailable() -> None:
    async with httpx.AsyncClient() as http:
        log = await connected(f"http://127.0.0.1:{unused_port()}", "sb_secret_x", http)
        with pytest.raises(DatabaseUnavailable, match="ConnectError"):
            await log.heads("project", [])


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize(
    "text",
    [
        "<html>bad gateway</html>",
        '{"message": "no upstream can be reached"}',
        '{"message": "connect ECONNREFUSED", "code": "SUP"}',
        '{"message": "the database system is shutting down", "code": "57P03"}',
        '{"message": "could not connect to the database", "code": "PGRST000"}',
        '{"message": "deadlock detected", "code": "40P01"}',
    ],
)
async def test_a_gateway_in_trouble_is_unavailable(status: int, text: str) -> None:
    def trouble(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, text=text)

    async with httpx.AsyncClient(transport=httpx.MockTransport(trouble)) as http:
        log = await connected("http://gateway.test", "sb_secret_x", http)
        with pytest.raises(DatabaseUnavailable):
            await log.heads("project", [])


@pytest.mark.parametrize("body", ["", "<html>", "null", "[]", "3", '"x"', '{"head":1', '{"head":"x","changes":[{}]}'])
async def test_an_answer_of_another_shape_is_unavailable(body: str) -> None:
    def odd(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=body, headers={"Content-Type": "application/json"})

    key = FeedKey("project", str(uuid4()))
    async with httpx.AsyncClient(transport=httpx.MockTransport(odd)) as http:
        log = await connected("http://gateway.test", "sb_secret_x", http)
        for asked in (
            log.since(key, 0),
            log.snapshot(key, "project_snapshot", "project_id"),
            log.heads("project", [key.key]),
        ):
            with pytest.raises(DatabaseUnavailable):
                await asked


async def test_other_functions_are_called_by_name(log: ChangeLog, project: Project) -> None:
    told = await log.call("create_bom", {"project_id": project.id, "filename": "b", "items": [{"line_number": 1}]})
    assert told["total_items"] == 1
    with pytest.raises(NoSuchRow, match="there is no BOM"):
        await log.call("start_enrichment", {"bom_id": str(uuid4())})
    with pytest.raises(DatabaseRefused, match="items: must hold at least one line"):
        await log.call("create_bom", {"project_id": project.id, "filename": "b", "items": []})


async def test_a_database_that_goes_and_comes_back_is_told_once_each(
    log: ChangeLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    there = log._client
    async with httpx.AsyncClient() as http:
        log._client = (await connected(f"http://127.0.0.1:{unused_port()}", "sb_secret_x", http))._client
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                await log.heads("project", [])
            with pytest.raises(DatabaseUnavailable):
                await log.prune(1)
        assert not log.available
        log._client = there
        for _ in range(3):
            await log.heads("project", [])
        assert log.available
    assert logged(caplog, "service.changes.log") == [
        (
            "WARNING",
            "the database does not answer",
            {"error": "feed_heads: ConnectError All connection attempts failed"},
        ),
        ("INFO", "the database answers again", {}),
    ]


async def test_a_function_that_is_refused_is_told_once_and_once_when_it_works(
    log: ChangeLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        with pytest.raises(DatabaseRefused):
            await log.heads("nonsense", [])
        await log.prune(9999)
    assert log.available
    for _ in range(2):
        await log.heads("project", [])
    [refused, accepted] = logged(caplog, "service.changes.log")
    assert refused[:2] == ("ERROR", "the database refuses a function")
    assert refused[2]["function"] == "feed_heads"
    assert "there is no feed 'nonsense'" in str(refused[2]["error"])
    assert accepted == ("INFO", "the database accepts a function again", {"function": "feed_heads"})


async def test_a_question_nobody_waits_for_any_more_says_nothing_of_the_database(
    log: ChangeLog, caplog: pytest.LogCaptureFixture
) -> None:
    asking = asyncio.ensure_future(log.heads("project", []))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    assert log.available
    assert logged(caplog, "service.changes.log") == []
