"""The application as a whole: errors as JSON, CORS, and faults of its upstreams while pages look."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import jwt
import pytest
from quart import Quart
from quart.testing import WebsocketResponseError

from service.app import create_app
from service.errors import SettingsError
from service.settings import Settings
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project, served, served_beside, service_environment
from tests.service.gateway import gateway
from tests.service.logged import logged
from tests.service.pages import opened
from tests.service.proxy import FaultyProxy, Purpose, faulty_proxy


def test_without_settings_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_URL", raising=False)
    with pytest.raises(SettingsError, match="SUPABASE_URL is not set"):
        create_app()


def test_what_is_not_there_is_a_json_error(service: str) -> None:
    answer = httpx.get(f"{service}/nothing/here")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    wrong_method = httpx.post(f"{service}/livez")
    assert (wrong_method.status_code, wrong_method.json()["error"]) == (405, "bad_request")
    assert "GET" in wrong_method.headers["Allow"]


@pytest.mark.parametrize(("origin", "status"), [("http://localhost:3000", 404), ("http://example.com", 400)])
async def test_a_websocket_to_where_there_is_none_is_refused_and_no_failure(
    stack: StackFacts, caplog: pytest.LogCaptureFixture, origin: str, status: int
) -> None:
    app = create_app(Settings.from_environment(service_environment(stack)))
    async with app.test_client().websocket("/nothing/here", headers={"Origin": origin}) as page:
        with pytest.raises(WebsocketResponseError) as refused:
            await page.receive()
    assert refused.value.response.status_code == status
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("configured", "origin", "allowed"),
    [
        ("http://localhost:3000", "http://localhost:3000", "http://localhost:3000"),
        ("http://localhost:3000", "http://localhost:3000.example.com", None),
        ("http://localhost:3000", "http://localhost:3001", None),
        ("http://localhost:3000", "https://localhost:3000", None),
        ("http://localhost:3000", "null", None),
        ("http://localhost:3000", "*", None),
        ("", "http://localhost:3000", None),
    ],
)
async def test_pages_of_the_configured_origins_may_read_and_no_others(
    stack: StackFacts, configured: str, origin: str, allowed: str | None
) -> None:
    app = create_app(Settings.from_environment({**service_environment(stack), "ROWCAST_CORS_ORIGINS": configured}))
    asks = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    client = app.test_client()
    for answer in (await client.get("/livez", headers=asks), await client.options("/livez", headers=asks)):
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        assert answer.headers.get("Access-Control-Allow-Credentials") == (allowed and "true")


async def test_every_answer_tells_browsers_to_do_nothing_with_it(service: str, project: Project) -> None:
    address = f"{service}/api/projects/{project.id}"
    async with httpx.AsyncClient() as client:
        answers = [
            await client.get(f"{service}/livez"),
            await client.get(f"{service}/metrics"),
            await client.get(f"{service}/nothing/here"),
            await client.post(f"{service}/livez"),
            await client.get(f"{address}/status"),
            await client.head(f"{address}/status", headers=project.headers),
            await client.options(f"{address}/status", headers={"Origin": "http://localhost:3000"}),
            await client.get(f"{address}/snapshot", headers=project.headers),
            await client.post(f"{address}/stream-tickets", headers=project.headers),
        ]
    async with opened(f"{address}/status", project.headers) as page:
        answers.append(page.response)
    for answer in answers:
        headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "no-store" in headers["Cache-Control"] or headers["Cache-Control"] == "no-cache, no-transform"
        assert "Server" not in headers


async def begun(app: Quart, path: str, headers: dict[str, str]) -> tuple[int | None, str]:
    """The status and error of the answer to a request whose body does not come."""
    async with app.test_app() as running:
        request = running.test_client().request(path, method="POST", headers={**headers, "Content-Length": "1000"})
        async with request as connection:
            await connection.send(b"{")
            error = json.loads(await connection.receive())["error"]
        return connection.status_code, error


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        (f"/api/projects/{UUID(int=1)}/stream-tickets", 401, "missing_token"),
        ("/livez", 405, "bad_request"),
        ("/nothing", 404, "not_found"),
    ],
)
async def test_a_body_that_does_not_come_keeps_no_answer_for_long(
    stack: StackFacts, monkeypatch: pytest.MonkeyPatch, path: str, status: int, error: str
) -> None:
    monkeypatch.setattr("service.app.BODY_SECONDS", 0.05)
    app = create_app(Settings.from_environment(service_environment(stack)))
    assert await begun(app, path, {}) == (status, error)


async def test_a_command_whose_body_does_not_come_is_refused(
    stack: StackFacts, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.app.BODY_SECONDS", 0.05)
    app = create_app(Settings.from_environment(service_environment(stack)))
    project.role("editor")
    path = f"/api/boms/{project.bom('a')}/enrichment/start"
    assert await begun(app, path, project.headers) == (408, "bad_request")


async def test_a_bug_is_a_json_error_without_its_details(stack: StackFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(Settings.from_environment(service_environment(stack)))
    async with app.test_app() as running:
        monkeypatch.setattr(app.extensions["rowcast"][0].services.hub, "feeds", None)
        answer = await running.test_client().get("/api/projects/11111111-1111-4111-8111-111111111111/status?token=x")
        assert (answer.status_code, (await answer.get_json())["error"]) == (500, "internal_error")


def test_without_its_database_it_answers_503_and_when_to_come_back(stack: StackFacts, project: Project) -> None:
    environment = {**service_environment(stack), "SUPABASE_URL": f"http://127.0.0.1:{unused_port()}"}
    with served(environment, path="/livez") as url:
        answer = httpx.get(f"{url}/api/projects/{project.id}/status", headers=project.headers)
        assert (answer.status_code, answer.json()["error"]) == (503, "upstream_unavailable")
        assert int(answer.headers["Retry-After"]) > 0


async def test_a_first_viewers_failure_leaves_nothing_open(stack: StackFacts) -> None:
    """In process: the hub of an application that was never connected has no viewers after any number of requests."""
    environment = {**service_environment(stack), "SUPABASE_URL": f"http://127.0.0.1:{unused_port()}"}
    app = create_app(Settings.from_environment(environment))
    async with app.test_app() as running:
        client = running.test_client()
        answer = await client.get("/api/projects/11111111-1111-4111-8111-111111111111/status?token=x")
        assert answer.status_code == 401
        assert app.extensions["rowcast"][0].services.hub.viewers == 0


async def test_refusals_are_logged_without_the_query_string(
    stack: StackFacts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app = create_app(Settings.from_environment(service_environment(stack)))
    path = "/api/projects/11111111-1111-4111-8111-111111111111/status"
    async with app.test_app() as running:
        for query in ("", "?token=hush", "?since=hush&token=hush"):
            await running.test_client().get(path + query)
        await running.test_client().get(f"{path.replace('status', 'snapshot')}?token=hush")
    assert logged(caplog, "service.app") == [
        ("INFO", "stream refused", {"path": path, "reason": reason, "error": None})
        for reason in ("missing_token", "invalid_token", "bad_request")
    ]
    assert "hush" not in caplog.text


async def test_a_database_that_fails_a_request_is_logged_with_it(
    stack: StackFacts, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {**service_environment(stack), "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_wrong"}
    app = create_app(Settings.from_environment(environment))
    async with app.test_app() as running:
        for what in ("status", "snapshot"):
            await running.test_client().get(f"/api/projects/{project.id}/{what}", headers=project.headers)
    lines = logged(caplog, "service.app")
    assert [(level, message, found["reason"]) for level, message, found in lines] == [
        ("WARNING", "stream refused", "upstream_unavailable"), ("WARNING", "request refused", "upstream_unavailable"),
    ]  # fmt: skip
    assert all("Invalid API key" in str(found["error"]) for _, _, found in lines)


async def test_the_legacy_keys_serve_the_services_own_connection(stack: StackFacts, project: Project) -> None:
    """JWTs in the place of sb_secret_… and sb_publishable_…, before a gateway that knows those alone."""
    legacy = {
        role: jwt.encode({"iss": "supabase", "role": role, "exp": 2e9}, stack.jwt_secret, algorithm="HS256")
        for role in ("service_role", "anon")
    }
    new = {legacy["service_role"]: stack.secret_key, legacy["anon"]: stack.publishable_key}

    def known(headers: dict[str, str]) -> dict[str, str]:
        api_key = next(name for name in headers if name.lower() == "apikey")
        bearer = headers["Authorization"].removeprefix("Bearer ")
        return headers | {api_key: new[headers[api_key]], "Authorization": f"Bearer {new.get(bearer, bearer)}"}

    async with gateway(stack, known) as supabase_url:
        keys = {"SUPABASE_SECRET_KEY": legacy["service_role"], "SUPABASE_PUBLISHABLE_KEY": legacy["anon"]}
        environment = service_environment(stack) | keys | {"SUPABASE_URL": supabase_url}
        async with served_beside(environment) as url, httpx.AsyncClient() as client:
            address = f"{url}/api/projects/{project.id}"
            issued = await client.post(f"{address}/stream-tickets", headers=project.headers)
            async with opened(f"{address}/status", ticket=issued.json()["ticket"], snapshot="1") as page:
                await page.until("snapshot")
                project.proposal("T")
                await page.until("new_proposal")
            for key in legacy.values():
                refused = await client.get(f"{address}/snapshot", headers={"Authorization": f"Bearer {key}"})
                assert refused.status_code == 401
                assert "API key, not the access token of a signed-in user" in refused.json()["message"]


@asynccontextmanager
async def realtime_behind_proxy(stack: StackFacts, *refused: Purpose) -> AsyncIterator[tuple[str, FaultyProxy]]:
    """A service whose way to Supabase leads through a proxy with faults."""
    async with (
        faulty_proxy(stack.supabase_url, *refused) as proxy,
        served_beside({**service_environment(stack), "SUPABASE_URL": proxy.url}) as url,
    ):
        yield url, proxy


async def test_without_realtime_changes_still_arrive(stack: StackFacts, project: Project) -> None:
    """REST works, the socket does not: streams say they are not live, and are fed by the database's heads."""
    async with (
        realtime_behind_proxy(stack, "realtime") as (url, _),
        opened(f"{url}/api/projects/{project.id}/status", project.headers) as page,
    ):
        assert (await page.next())["live"] is False
        for title in ("one", "two"):
            project.proposal(title)
            await page.until("new_proposal", title=title)
        assert page.ids == sorted(set(page.ids))
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/readyz")).json()["status"] == "degraded"


async def test_realtime_lost_and_back_is_told_and_nothing_is_missing(stack: StackFacts, project: Project) -> None:
    async with (
        realtime_behind_proxy(stack) as (url, proxy),
        opened(f"{url}/api/projects/{project.id}/status", project.headers) as page,
    ):
        assert (await page.next())["live"] is True
        proxy.cut("realtime")
        project.proposal("while away")
        await page.until("live", live=True)
        assert page.lives == [False, True]
        project.proposal("back")
        await page.until("new_proposal", title="back")
        assert [message["title"] for message in page.messages[1:]] == ["while away", "back"]
