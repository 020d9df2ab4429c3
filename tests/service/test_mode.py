"""Direct mode on a database made by hand, and the way from there to the change log, as pages see them."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from service import pipeline
from service.access.rest import Rest
from service.app import create_app
from service.changes.change import FeedKey, Reader
from service.changes.differ import State
from service.changes.direct import DirectListener
from service.changes.log import ChangeLog
from service.changes.rows import NOBODYS
from service.errors import DatabaseRefused, DatabaseUnavailable
from service.mode import Mode, has_log
from service.settings import Settings
from tests.conftest import StackFacts
from tests.service.conftest import add_user, served, service_environment
from tests.service.fakes import until
from tests.service.handmade import OTHER_NAMES, Handmade, handmade_project, handmade_stack, restart_rest
from tests.service.logged import logged
from tests.service.pages import Page, opened
from tests.service.proxy import faulty_proxy
from tests.service.sockets import Socket, socket

REREAD = "0.4"


@pytest.fixture(scope="module")
def old(scratch: Path) -> Iterator[StackFacts]:
    """A database made by hand."""
    directory = scratch / "handmade"
    directory.mkdir()
    with handmade_stack(directory) as facts:
        yield facts


@pytest.fixture(scope="module")
def direct(old: StackFacts) -> Iterator[str]:
    """The address of a service for it, which reads often."""
    with served({**service_environment(old), "ROWCAST_REREAD_SECONDS": REREAD}) as url:
        yield url


@pytest.fixture
def project(old: StackFacts) -> Iterator[Handmade]:
    with handmade_project(old) as project:
        yield project


def status(url: str, project: Handmade) -> str:
    return f"{url}/api/projects/{project.id}/status"


async def test_a_page_sees_what_there_is_and_what_happens(direct: str, project: Handmade) -> None:
    project.job("Old", status="completed")
    async with opened(status(direct, project), project.headers) as page:
        connected = await page.next()
        assert (connected["type"], connected["exact"], connected["resumed"]) == ("connected", False, False)
        snapshot = await page.next()
        assert [job["title"] for job in snapshot["jobs"]] == ["Old"]
        job = project.job(progress_stage="parsing", progress_current=1, progress_total=4)
        told = await page.until("progress_update", jobId=job)
        assert told["progress"]["percent"] == 25.0
        assert (await page.until("job_update", jobId=job))["kind"] == "job"
        project.insert("ingestion_sources", source_name="a.md")
        await page.until("status_update", sourceName="a.md")
        proposal = project.insert("proposed_nodes", title="A", job_id=job, confidence=0.5)
        told = await page.until("new_proposal", proposalId=proposal)
        assert (told["status"], told["jobId"], told["confidence"]) == ("proposed", job, 0.5)
        assert page.ids == []


async def test_what_realtime_never_tells_is_healed_by_the_next_reading(direct: str, project: Handmade) -> None:
    job, other = project.job(), project.job("Other")
    async with opened(status(direct, project), project.headers) as page:
        await page.until("snapshot")
        project.execute("delete from jobs where id = %s", job)  # a filtered DELETE never comes
        await page.until("job_deleted", jobId=job)
        project.execute("update jobs set project_id = %s where id = %s", str(uuid4()), other)  # nor what moves away
        await page.until("job_deleted", jobId=other)
        project.fault("drop")
        lost = project.job("Lost")
        await page.until("job_update", jobId=lost)
        project.mend()
        project.fault("deaf")
        unheard = project.job("Unheard")
        await page.until("job_update", jobId=unheard)


async def test_nobody_is_told_more_than_row_level_security_shows_them(
    direct: str, old: StackFacts, project: Handmade
) -> None:
    ben, bens_token = add_user(project.database, old)
    async with (
        opened(status(direct, project), project.headers) as anne,
        opened(status(direct, project), {"Authorization": f"Bearer {bens_token}"}) as bens,
    ):
        for page in (anne, bens):
            await page.until("snapshot")
        hers, his = project.job("Hers", owner=project.user_id), project.job("His", owner=ben)
        project.job("Everybody's")
        for page in (anne, bens):
            await page.until("job_update", title="Everybody's")
        assert "His" not in titles(anne)
        assert "Hers" not in titles(bens)
        assert {hers, his} <= {message.get("jobId") for message in anne.messages + bens.messages}
        project.execute("update jobs set owner = %s where id = %s", ben, hers)
        await anne.until("job_deleted", jobId=hers)
        await bens.until("job_update", jobId=hers)


def titles(page: Page | Socket) -> set[str]:
    return {message["title"] for message in page.messages if message["type"] == "job_update"}


async def test_a_page_that_comes_back_is_told_how_things_are(direct: str, project: Handmade) -> None:
    job = project.job()
    headers = {**project.headers, "Last-Event-ID": "1843200000000000"}
    async with opened(status(direct, project), headers) as page:
        assert not (await page.next())["resumed"]
        assert (await page.next())["type"] == "reset"
        assert [one["jobId"] for one in (await page.until("snapshot"))["jobs"]] == [job]
        another = project.job()
        await page.until("job_update", jobId=another)
        assert page.ids == []


async def test_several_projects_and_pipelines_go_by_the_tables_too(direct: str, project: Handmade) -> None:
    other = replace(project, id=str(uuid4()))
    projects = f"{project.id},{other.id}"
    async with opened(f"{direct}/api/status", project.headers, projects=projects) as page:
        for _ in (project, other):
            assert (await page.until("connected"))["exact"] is False
        for _ in (project, other):
            await page.until("snapshot")
        job = other.job()
        assert (await page.until("job_update", jobId=job))["projectId"] == other.id
        assert page.ids == []
    path = f"{direct}/api/v1/admin/ingestion/jobs/progress"
    async with opened(path, project.headers, project_id=other.id) as page:
        told = await page.next()
        assert (told["job_id"], told["document_name"]) == (job, "Manuals")


async def test_a_socket_goes_by_the_tables_too_and_keeps_its_token(direct: str, project: Handmade) -> None:
    async with socket(direct, project.token) as page:
        await page.ask("subscribe", projectId=project.id)
        assert (await page.until("connected"))["exact"] is False
        await page.until("snapshot")
        job = project.job()
        await page.until("job_update", jobId=job)
        await page.ask("auth", token=project.token)
        assert "open another" in (await page.until("error"))["message"]


def test_a_page_that_polls_is_told_the_same(direct: str, project: Handmade) -> None:
    job = project.job()
    url = f"{direct}/api/projects/{project.id}/snapshot"
    first = httpx.get(url, headers=project.headers)
    assert [one["jobId"] for one in first.json()["jobs"]] == [job]
    unchanged = httpx.get(url, headers={**project.headers, "If-None-Match": first.headers["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    project.job("Another")
    changed = httpx.get(url, headers={**project.headers, "If-None-Match": first.headers["ETag"]})
    assert len(changed.json()["jobs"]) == 2
    since = httpx.get(url, headers=project.headers, params={"since": "0"}).json()
    assert (since["reset"], [event["type"] for event in since["events"]]) == (True, ["reset", "snapshot"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/projects/{}/stream-tickets"),
        ("POST", "/api/jobs/{}/cancel"),
        ("GET", "/api/enrichment/stream/{}"),
        ("GET", "/api/enrichment/stream?boms={}"),
        ("GET", "/api/enrichment/state/{}"),
        ("POST", "/api/boms/{}/enrichment/start"),
    ],
)
def test_what_needs_rowcasts_own_tables_says_so(direct: str, project: Handmade, method: str, path: str) -> None:
    answer = httpx.request(method, direct + path.format(project.id), headers=project.headers)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert "rowcast init" in answer.json()["message"]


def test_a_token_that_is_no_good_opens_nothing(direct: str, project: Handmade) -> None:
    refused = httpx.get(status(direct, project), headers={"Authorization": f"Bearer {project.token[:-4]}AAAA"})
    assert refused.status_code == 401
    assert httpx.get(status(direct, project)).json()["error"] == "missing_token"


def test_readiness_and_doctor_say_which_mode_it_is(direct: str, old: StackFacts) -> None:
    answer = httpx.get(f"{direct}/readyz").json()
    assert (answer["status"], answer["mode"], answer["database"]) == ("ready", "direct", True)
    told = doctor(old)
    assert told.returncode == 0
    assert "warn change log: the database has none: direct mode" in told.stdout
    assert "ok   Realtime: tells of ingestion_sources, jobs, proposed_nodes" in told.stdout


async def test_tables_and_columns_have_the_names_that_a_file_gives_them(
    old: StackFacts, project: Handmade, tmp_path: Path
) -> None:
    file = tmp_path / "tables.toml"
    file.write_text(OTHER_NAMES)
    settings = Settings.from_environment({**service_environment(old), "ROWCAST_TABLES": str(file)})
    project.execute("insert into tasks (project, name) values (%s, 'Before')", project.id)
    async with pipeline.running(settings) as running:
        key = FeedKey("project", project.id, Reader(project.token))
        snapshot = await running.services.hub.snapshot(key)
        assert [(row["title"], row["status"], row["kind"]) for row in snapshot.rows["jobs"]] == [
            ("Before", "running", "job")
        ]


async def test_a_name_that_is_not_there_keeps_the_service_from_being_ready_and_says_why(
    old: StackFacts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tables.toml"
    file.write_text('[jobs]\ncolumns.title = "label"\n')
    app = create_app(Settings.from_environment({**service_environment(old), "ROWCAST_TABLES": str(file)}))
    async with app.test_app():
        await until(lambda: logged(caplog, "service.mode", logging.ERROR))
        answer = await app.test_client().get("/readyz")
        assert (answer.status_code, (await answer.get_json())["mode"]) == (503, "direct")
        assert "the table jobs has no column label" in (await answer.get_json())["reason"]


# The way to the change log


async def test_the_migration_makes_the_same_pages_exact(scratch: Path) -> None:
    directory = scratch / "moving"
    directory.mkdir()
    with (
        handmade_stack(directory) as stack,
        handmade_project(stack) as project,
        served({**service_environment(stack), "ROWCAST_REREAD_SECONDS": REREAD}) as url,
    ):
        other = replace(project, id=str(uuid4()))
        project.job("Before")
        other.job("Other")
        projects = {"projects": f"{project.id},{other.id}"}
        async with (
            opened(status(url, project), project.headers) as page,
            opened(f"{url}/api/status", project.headers, **projects) as several,
            socket(url, project.token) as ws,
        ):
            assert (await page.next())["exact"] is False
            await ws.ask("subscribe", projectId=project.id)
            for each in (page, several, several, ws):
                await each.until("snapshot")
            await asyncio.to_thread(adopt, stack, directory / "project")
            project.job("Meanwhile")
            end = await page.until("stream_end")
            assert (end["reason"], end["reconnect"]) == ("shutdown", True)
            assert len(page.ids) == 1
            await several.until("stream_end")
            await ws.until("stream_end")
        before = titles(page)
        project.job("Away")
        await until_answered(f"{url}/api/projects/{project.id}/snapshot", project.headers)
        headers = {**project.headers, "Last-Event-ID": str(page.ids[0])}
        async with opened(status(url, project), headers) as page:
            connected = await page.next()
            assert (connected["exact"], connected["resumed"]) == (True, True)
            job = project.job("After")
            await page.until("job_update", jobId=job)
            assert before | titles(page) == {"Meanwhile", "Away", "After"}
            assert len(page.ids) >= 2
            assert "reset" not in page.types
        headers = {**project.headers, "Last-Event-ID": several.last_id}
        before = titles(several)
        async with opened(f"{url}/api/status", headers, **projects) as several:
            for _ in (project, other):
                assert (await several.until("connected"))["resumed"] is True
            await several.until("job_update", jobId=job)
            assert before | titles(several) == {"Meanwhile", "Away", "After"}
        told = [message["revision"] for message in ws.messages if "revision" in message]
        async with socket(url, project.token) as ws:
            await ws.ask("subscribe", projectId=project.id, since=told[-1])
            assert (await ws.until("connected"))["resumed"] is True
            await ws.until("job_update", jobId=job)
        await asyncio.to_thread(is_well, stack, url, project)


async def until_answered(url: str, headers: dict[str, str]) -> None:
    """As a page that is told 503 comes back: REST has just been started again."""
    async with httpx.AsyncClient() as client:
        while (await client.get(url, headers=headers)).status_code == httpx.codes.SERVICE_UNAVAILABLE:
            await asyncio.sleep(0.05)


def is_well(stack: StackFacts, url: str, project: Handmade) -> None:
    """What the log has beside streams, and what doctor says of it."""
    assert httpx.get(f"{url}/readyz").json()["mode"] == "log"
    ticket = httpx.post(f"{url}/api/projects/{project.id}/stream-tickets", headers=project.headers)
    assert ticket.status_code == 201
    goes_without(url, project)
    told = doctor(stack)
    assert (told.returncode, told.stderr) == (0, "")
    assert "ok   tracking: 3 tables" in told.stdout


def goes_without(url: str, project: Handmade) -> None:
    """What needs tables that only rowcast's own database has says so, and does not have pages try again."""
    proposal = project.insert("proposed_nodes", title="A", confidence=0.5)
    for method, path, content in (
        ("PATCH", f"/api/proposals/{proposal}", {"json": {"status": "accepted"}}),
        ("POST", f"/api/projects/{project.id}/boms", {"files": {"file": ("a.csv", b"MPN,Qty\nA,1\n")}}),
    ):
        answer = httpx.request(method, url + path, headers=project.headers, **content)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
        assert "rowcast init" in answer.json()["message"]
    job = uuid4()  # where jobs have numbers
    answer = httpx.post(f"{url}/api/jobs/{job}/cancel", headers=project.headers)
    assert (answer.status_code, answer.json()["message"]) == (404, "No such job, or it is not yours to see.")
    answer = httpx.get(f"{url}/api/v1/admin/ingestion/jobs/{job}/progress", headers=project.headers)
    assert (answer.status_code, "Job not found" in answer.text) == (200, True)


def adopt(stack: StackFacts, project_dir: Path) -> None:
    """`rowcast init`, and its migration applied as `supabase db push` would."""
    environment = {**service_environment(stack), "DATABASE_URL": stack.database_url}
    command = [sys.executable, "-m", "service.cli", "init", "--project-dir", str(project_dir)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    [migration] = (project_dir / "supabase" / "migrations").glob("*_rowcast.sql")
    with psycopg.connect(stack.database_url) as database:
        database.execute(migration.read_bytes())
    restart_rest(stack)


def doctor(stack: StackFacts) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service.cli", "doctor"]
    return subprocess.run(command, env=service_environment(stack), check=False, capture_output=True, text=True)


# The choice


@pytest.mark.parametrize(
    ("status", "body", "there"),
    [
        (200, {}, True),
        (404, {"code": "PGRST202", "message": "Could not find the function"}, False),
        (404, {"code": "42883", "message": "function does not exist"}, False),
        (400, {"code": "22023", "message": "feed: there is no feed 'project'"}, None),  # the migration is half applied
        (401, {"message": "Invalid API key"}, None),
        (503, {"code": "PGRST002", "message": "schema cache"}, None),
        (502, "<html>", None),
    ],
)
async def test_what_the_database_says_decides_and_nothing_else_does(
    status: int, body: object, there: bool | None
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("POST", "/rest/v1/rpc/feed_heads")
        return httpx.Response(status, json=body)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        asked = has_log(Rest(client, "http://db", "sb_secret_x"))
        if there is None:
            with pytest.raises((DatabaseRefused, DatabaseUnavailable)):
                await asked
        else:
            assert await asked is there


async def test_a_database_that_is_down_at_the_start_is_told_of_once_and_decides_when_it_is_back(
    stack: StackFacts, caplog: pytest.LogCaptureFixture
) -> None:
    async with faulty_proxy(stack.supabase_url, "rest") as proxy:
        settings = Settings.from_environment({**service_environment(stack), "SUPABASE_URL": proxy.url})
        async with pipeline.running(settings) as running:
            assert running.mode is None
            assert isinstance(running.log, ChangeLog)
            assert len(logged(caplog, "service.mode", logging.WARNING)) == 1
            proxy.refused.clear()
            await until(lambda: running.mode is Mode.LOG)
            assert isinstance(running.log, ChangeLog)


async def test_a_log_that_cannot_be_taken_leaves_streams_as_they_are(
    old: StackFacts, project: Handmade, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = [False]

    async def ask(_: Rest) -> bool:
        return said[-1]

    monkeypatch.setattr(pipeline, "has_log", ask)
    settings = Settings.from_environment({**service_environment(old), "ROWCAST_REREAD_SECONDS": "0.05"})
    async with pipeline.running(settings) as running:
        assert running.mode is Mode.DIRECT
        hub = running.services.hub
        topic = await hub.topic(FeedKey("project", project.id, Reader(project.token)))
        viewer = hub.attach(topic, None)
        said.append(True)  # but there are no functions
        await until(lambda: logged(caplog, "service.mode", logging.WARNING)[1:])
        assert (
            logged(caplog, "service.mode", logging.WARNING)[1][1]
            == "the database can't be asked for its change log, it is tried again"
        )
        assert (running.mode, running.services.hub, viewer.ending) == (Mode.DIRECT, hub, None)
        project.job()
        await until(lambda: viewer.has_news)
        hub.detach(topic, viewer)


async def test_who_can_not_be_told_all_before_the_log_begins_anew_in_it(
    old: StackFacts, project: Handmade, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [False]

    async def ask(_: Rest) -> bool:
        return said[-1]

    async def heads(_: ChangeLog, feed: str, keys: Iterable[str]) -> dict[str, int]:
        return {key: 90 if key == NOBODYS else 100 for key in keys}

    monkeypatch.setattr(pipeline, "has_log", ask)
    monkeypatch.setattr(ChangeLog, "heads", heads)
    _, bens_token = add_user(project.database, old)
    settings = Settings.from_environment({**service_environment(old), "ROWCAST_REREAD_SECONDS": "0.5"})
    async with pipeline.running(settings) as running:
        hub = running.services.hub
        topics = [
            await hub.topic(FeedKey("project", project.id, Reader(token))) for token in (project.token, bens_token)
        ]
        viewers = [hub.attach(topic, None) for topic in topics]
        listener = running.listener
        assert isinstance(listener, DirectListener)
        read = listener._rows.read

        async def refuse_ben(key: FeedKey) -> State:
            if key == topics[1].key:
                raise DatabaseRefused("his token has expired")
            return await read(key)

        monkeypatch.setattr(listener._rows, "read", refuse_ben)
        said.append(True)
        await until(lambda: all(viewer.ending for viewer in viewers))
        assert [viewer.ending.cursor for viewer in viewers if viewer.ending] == [100, 89]
        assert running.mode is Mode.LOG
        for topic, viewer in zip(topics, viewers, strict=True):
            hub.detach(topic, viewer)
