"""What load balancers and orchestrators are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from quart import Quart

from service import health
from service.app import create_app, drain
from service.changes.change import FeedKey
from service.pipeline import Pipeline
from service.settings import Settings
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project, served, service_environment
from tests.service.fakes import until
from tests.service.proxy import faulty_proxy


def test_a_service_that_can_serve_is_alive_and_ready(service: str) -> None:
    assert httpx.get(f"{service}/livez").json() == {"status": "ok"}
    ready = httpx.get(f"{service}/readyz")
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "mode": "log", "database": True, "listener": True, "realtime": True, "reason": None},
    )


def test_a_service_without_its_database_is_alive_and_not_ready(stack: StackFacts) -> None:
    environment = {**service_environment(stack), "SUPABASE_URL": f"http://127.0.0.1:{unused_port()}"}
    with served(environment, path="/livez") as url:
        assert httpx.get(f"{url}/livez").status_code == 200
        ready = httpx.get(f"{url}/readyz")
        assert ready.status_code == 503
        assert (ready.json()["status"], ready.json()["database"]) == ("unready", False)
        assert "Connect call failed" in ready.json()["reason"]


def test_a_service_with_the_wrong_key_says_what_the_database_says(stack: StackFacts) -> None:
    environment = {**service_environment(stack), "SUPABASE_SECRET_KEY": "sb_secret_wrong"}
    with served(environment, path="/livez") as url:
        ready = httpx.get(f"{url}/readyz")
        assert ready.status_code == 503
        assert "Invalid API key" in ready.json()["reason"]


@pytest.fixture
def no_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check asks the database."""
    monkeypatch.setattr(health, "TRUST_SECONDS", 0.0)


@asynccontextmanager
async def in_process(stack: StackFacts, **variables: str) -> AsyncIterator[tuple[Quart, Pipeline]]:
    """A service whose parts a test can reach."""
    app = create_app(Settings.from_environment({**service_environment(stack), **variables}))
    async with app.test_app():
        yield app, app.extensions["rowcast"][0]


async def asked(app: Quart) -> tuple[int, str, str | None]:
    """The status, the word and the reason of /readyz; /livez answers whatever they are."""
    assert (await app.test_client().get("/livez")).status_code == 200
    answer = await app.test_client().get("/readyz")
    body = await answer.get_json()
    return answer.status_code, body["status"], body["reason"]


async def test_a_service_whose_listener_has_ended_is_not_ready(stack: StackFacts) -> None:
    async with in_process(stack) as (app, running):
        assert await asked(app) == (200, "ready", None)
        assert running.listener._heads_task is not None
        running.listener._heads_task.cancel()
        await asyncio.wait([running.listener._heads_task])
        assert await asked(app) == (503, "unready", "the listener has ended")


async def test_a_service_that_stops_is_not_ready(stack: StackFacts) -> None:
    async with in_process(stack) as (app, _):
        await drain(app)
        assert await asked(app) == (503, "unready", "the service is shutting down")


async def test_a_database_that_never_answers_is_not_waited_for(
    stack: StackFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ASK_SECONDS", 0.1)

    async def read_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(read_all, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent, in_process(stack, SUPABASE_URL=f"http://127.0.0.1:{port}") as (app, _):
        assert await asked(app) == (503, "unready", "the database did not answer within 0.1 s")


@pytest.mark.usefixtures("no_trust")
async def test_a_database_that_goes_and_comes_back_takes_readiness_with_it(stack: StackFacts) -> None:
    async with faulty_proxy(stack.supabase_url) as proxy, in_process(stack, SUPABASE_URL=proxy.url) as (app, _):
        assert await asked(app) == (200, "ready", None)
        proxy.refused.add("rest")
        proxy.cut("rest")
        status, word, reason = await asked(app)
        assert (status, word) == (503, "unready")
        assert reason is not None
        assert reason.startswith("feed_heads: ")
        proxy.refused.clear()
        assert await asked(app) == (200, "ready", None)


async def test_realtime_that_goes_and_comes_back_degrades_a_service_that_follows_something(
    stack: StackFacts, project: Project
) -> None:
    async with faulty_proxy(stack.supabase_url) as proxy, in_process(stack, SUPABASE_URL=proxy.url) as (app, running):
        key = FeedKey("project", project.id)
        assert (await running.services.hub.topic(key, patience=10)).live
        assert await asked(app) == (200, "ready", None)
        proxy.refused.add("realtime")
        proxy.cut("realtime")
        await until(lambda: not running.listener.is_key_live(key))
        assert await asked(app) == (200, "degraded", None)
        proxy.refused.clear()
        await until(lambda: running.listener.is_key_live(key))
        assert await asked(app) == (200, "ready", None)
