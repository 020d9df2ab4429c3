"""Places among the open streams, over a real socket: how many there are, and that they come back."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from service import pipeline
from service.settings import Settings
from service.streams import opening
from tests.conftest import StackFacts
from tests.service.conftest import Project, add_user, served_beside, service_environment
from tests.service.pages import Page, opened
from tests.service.test_metrics import samples


@asynccontextmanager
async def limited(stack: StackFacts, **environment: str) -> AsyncIterator[str]:
    async with served_beside({**service_environment(stack), **environment}) as url:
        yield url


async def refused(url: str, project: Project, token: str | None = None, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        answer = await client.get(
            f"{url}/api/projects/{project.id}/status",
            headers={"Authorization": f"Bearer {token or project.token}", **headers},
        )
    assert answer.headers["Content-Type"] == "application/json"
    return answer


async def entered(streams: AsyncExitStack, url: str, project: Project, token: str, **headers: str) -> Page:
    address = f"{url}/api/projects/{project.id}/status"
    page = await streams.enter_async_context(opened(address, {"Authorization": f"Bearer {token}", **headers}))
    await page.until("connected")
    return page


async def test_ages_are_spread_over_the_last_quarter(stack: StackFacts) -> None:
    environment = {**service_environment(stack), "ROWCAST_STREAM_MAX_AGE_SECONDS": "1000"}
    async with pipeline.running(Settings.from_environment(environment)) as running:
        drawn = iter([0.0, 0.5, 1.0])
        services = replace(running.services, random=lambda: next(drawn))
        assert [opening.max_age(services) for _ in range(3)] == [750, 875, 1000]


@pytest.mark.parametrize(
    ("variable", "limit", "status"),
    [
        ("ROWCAST_STREAMS_PER_USER", "user", 429),
        ("ROWCAST_STREAMS_PER_PROJECT", "project", 429),
        ("ROWCAST_STREAMS_PER_ORGANIZATION", "organization", 429),
        ("ROWCAST_STREAMS_PER_ADDRESS", "address", 429),
        ("ROWCAST_STREAMS", "process", 503),
    ],
)
async def test_beyond_a_limit_there_is_no_stream_until_one_ends(
    stack: StackFacts, project: Project, variable: str, limit: str, status: int
) -> None:
    async with limited(stack, **{variable: "2"}) as url, AsyncExitStack() as streams:
        first = await entered(streams, url, project, project.token)
        async with AsyncExitStack() as second:
            await entered(second, url, project, project.token)
            answer = await refused(url, project)
            assert (answer.status_code, answer.json()["error"]) == (status, "too_many_streams")
            assert int(answer.headers["Retry-After"]) > 0
            async with httpx.AsyncClient() as client:
                counted = samples((await client.get(f"{url}/metrics")).text)
            assert counted[f'rowcast_limits_reached_total{{limit="{limit}"}}'] == 1
            assert counted['rowcast_streams_refused_total{reason="too_many_streams"}'] == 1
        while (await refused_or_open(url, project)) == status:
            await asyncio.sleep(0.01)
        project.proposal("the others are not disturbed")
        await first.until("new_proposal")


async def refused_or_open(url: str, project: Project) -> int:
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"{url}/api/projects/{project.id}/status", headers=project.headers) as answer,
    ):
        return answer.status_code


async def test_a_users_limit_is_no_other_users(stack: StackFacts, project: Project) -> None:
    user_id, token = add_user(project.database, stack)
    project.execute("insert into project_members (project_id, user_id) values (%s, %s)", project.id, user_id)
    async with limited(stack, ROWCAST_STREAMS_PER_USER="1") as url, AsyncExitStack() as streams:
        await entered(streams, url, project, project.token)
        assert (await refused(url, project)).status_code == 429
        await entered(streams, url, project, token)


async def test_an_address_is_the_one_that_a_trusted_proxy_tells(stack: StackFacts, project: Project) -> None:
    async with (
        limited(stack, ROWCAST_STREAMS_PER_ADDRESS="1", ROWCAST_TRUSTED_PROXIES="127.0.0.1") as url,
        AsyncExitStack() as streams,
    ):
        for client in ("203.0.113.1", "203.0.113.2"):
            told = {"X-Forwarded-For": f"198.51.100.7, {client}"}
            await entered(streams, url, project, project.token, **told)
            assert (await refused(url, project, **told)).status_code == 429


async def test_without_trusted_proxies_nobody_chooses_an_address(stack: StackFacts, project: Project) -> None:
    async with limited(stack, ROWCAST_STREAMS_PER_ADDRESS="1") as url, AsyncExitStack() as streams:
        await entered(streams, url, project, project.token, **{"X-Forwarded-For": "203.0.113.1"})
        assert (await refused(url, project, **{"X-Forwarded-For": "203.0.113.2"})).status_code == 429


async def test_pages_that_vanish_take_no_places_with_them(stack: StackFacts, project: Project) -> None:
    """Each sends its request and resets the connection at once, some before the service has answered."""
    async with limited(stack, ROWCAST_STREAMS_PER_USER="3") as url:
        host, port = url.removeprefix("http://").split(":")
        lines = (f"GET /api/projects/{project.id}/status?token={project.token} HTTP/1.1", "Host: x", "", "")
        for number in range(60):
            with socket.create_connection((host, int(port))) as vanishing:
                vanishing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with a reset
                vanishing.sendall("\r\n".join(lines).encode())
                if number % 3 == 1:
                    await asyncio.to_thread(vanishing.recv, 1)
                await asyncio.sleep(number % 10 / 500)
        while await refused_or_open(url, project) != httpx.codes.OK:
            await asyncio.sleep(0.05)


async def test_too_many_requests_of_an_address_are_told_when_to_come_back(stack: StackFacts, project: Project) -> None:
    async with limited(stack, ROWCAST_REQUESTS_PER_MINUTE="5") as url, httpx.AsyncClient() as client:
        address = f"{url}/api/projects/{project.id}/snapshot"
        answers = [
            await client.get(address, headers={**project.headers, "Origin": "http://localhost:3000"}) for _ in range(7)
        ]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert answers[-1].json()["error"] == "rate_limited"
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 12
        assert answers[-1].headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        for path in ("/livez", "/readyz"):
            assert {(await client.get(f"{url}{path}")).status_code for _ in range(10)} == {200}
        counted = samples((await client.get(f"{url}/metrics")).text)
        assert counted['rowcast_limits_reached_total{limit="requests"}'] == 2


async def test_head_tells_what_a_stream_would_be_and_opens_none(service: str, project: Project) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.head(f"{service}/api/projects/{project.id}/status", headers=project.headers)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
