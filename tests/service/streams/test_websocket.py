"""The way in of WebSockets: who may connect, from where, and how many."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conftest import StackFacts
from tests.service.conftest import Project, served, service_environment
from tests.service.sockets import PROTOCOL, address, socket
from tests.service.test_metrics import samples


async def refused(service: str, query: str = "", **options: Any) -> tuple[int, str]:
    options = {"subprotocols": [PROTOCOL], **options}
    with pytest.raises(InvalidStatus) as raised:
        async with connect(address(service) + query, **options):
            pass
    response = raised.value.response
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    told = json.loads(response.body)
    assert response.body == json.dumps(told, separators=(",", ":")).encode()
    return response.status_code, told["error"]


async def test_pages_of_configured_origins_connect_and_no_others(service: str, project: Project) -> None:
    async with socket(service, project.token, origin="http://localhost:3000") as page:
        assert page.connection.subprotocol == PROTOCOL
        assert page.connection.response is not None
        assert len(page.connection.response.headers["X-Stream-Id"]) == 8
        assert "Sec-WebSocket-Extensions" not in page.connection.response.headers
    for other in ("http://evil.example", "null", "http://localhost:3000.evil.example", "https://localhost:3000"):
        assert await refused(service, origin=other) == (403, "forbidden")


async def test_the_subprotocol_must_be_offered(service: str) -> None:
    assert await refused(service, subprotocols=None) == (400, "bad_request")
    assert await refused(service, subprotocols=["rowcast.v2"]) == (400, "bad_request")


async def test_who_it_is_may_be_said_with_the_handshake(service: str, project: Project) -> None:
    async with httpx.AsyncClient(headers=project.headers) as client:
        said = await client.post(f"{service}/api/projects/{project.id}/stream-tickets")
    ticket = f"?ticket={said.json()['ticket']}"
    other = project.another()
    for query, options in (
        ("", {"additional_headers": project.headers}),
        (f"?token={project.token}", {}),
        (ticket, {}),
    ):
        async with socket(service, query=query, **options) as page:
            await page.subscribed(project)
            await page.ask("subscribe", projectId=other.id)
            if query == ticket:
                assert (await page.until("error"))["code"] == "invalid_token"
            else:
                await page.until("connected", projectId=other.id)
    assert await refused(service, ticket) == (401, "invalid_token")
    assert await refused(service, "?token=x.y.z") == (401, "invalid_token")
    assert await refused(service, additional_headers={"Authorization": "Bearer"}) == (401, "invalid_token")


async def test_connections_are_limited_like_streams_and_their_places_come_back(
    stack: StackFacts, project: Project
) -> None:
    limits = {
        "ROWCAST_STREAMS_PER_ADDRESS": "3", "ROWCAST_STREAMS_PER_USER": "2", "ROWCAST_STREAMS_PER_PROJECT": "1",
        "ROWCAST_REQUESTS_PER_MINUTE": "12",
    }  # fmt: skip
    other = project.another()
    with served({**service_environment(stack), **limits}) as url:
        async with socket(url, project.token) as first, socket(url, project.token) as second, socket(url) as third:
            await first.subscribed(project)
            await second.ask("subscribe", projectId=project.id)
            error = await second.until("error")
            assert (error["code"], error["op"], error["projectId"]) == ("too_many_streams", "subscribe", project.id)
            assert error["retryAfter"] == 10
            await second.subscribed(other)
            await third.ask("auth", token=project.token)
            assert (await third.until("error"))["code"] == "too_many_streams"
            assert await refused(url) == (429, "too_many_streams")
            await first.ask("unsubscribe", projectId=project.id)
            await first.until("unsubscribed")
            await second.subscribed(project)
        while await metric(url, 'rowcast_streams_open{feed="project"}'):
            await asyncio.sleep(0.02)
        async with socket(url, project.token) as again:
            await again.subscribed(project)
        while (status := await told(url)) != 429:
            assert status == 101
        assert await metric(url, 'rowcast_limits_reached_total{limit="requests"}') == 1
        assert await metric(url, 'rowcast_streams_refused_total{reason="rate_limited"}') == 1


async def told(service: str) -> int:
    try:
        async with connect(address(service), subprotocols=[PROTOCOL]):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


async def metric(service: str, name: str) -> float:
    async with httpx.AsyncClient() as client:
        return samples((await client.get(f"{service}/metrics")).text)[name]


async def test_what_is_too_large_ends_the_connection(service: str, project: Project) -> None:
    async with socket(service, project.token) as page:
        await page.ask("auth", token="x" * 70_000)
        with pytest.raises(ConnectionClosed) as raised:
            await page.next()
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 1009


async def test_a_client_may_ping(service: str, project: Project) -> None:
    async with socket(service, project.token) as page:
        assert await (await page.connection.ping()) >= 0
