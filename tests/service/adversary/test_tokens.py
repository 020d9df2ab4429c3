"""Forged, altered, stale and confused tokens, over a real socket, at every door."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx
import jwt
import pytest

from tests.conftest import StackFacts
from tests.service.access.signing import ISSUER, SigningKey
from tests.service.adversary.bad_tokens import Forger
from tests.service.adversary.witness import ELSEWHERE, undisturbed
from tests.service.conftest import Project, served_beside, service_environment
from tests.service.gateway import gateway
from tests.service.sockets import socket

KEYS = (SigningKey("ES256", "ec-1"), SigningKey("RS256", "rsa-1"))


def translated(headers: dict[str, str], secret: str) -> dict[str, str]:
    """A token that one of the keys has signed becomes one that the devstack takes."""
    public = {key.kid: jwt.PyJWK(key.jwk) for key in KEYS}
    token = headers["Authorization"].removeprefix("Bearer ")
    kid = jwt.get_unverified_header(token).get("kid") if token.count(".") == 2 else None
    if kid not in public:
        return headers
    claims = jwt.decode(token, public[kid], algorithms=["ES256", "RS256"], audience="authenticated")
    return headers | {"Authorization": f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}"}


@asynccontextmanager
async def service_with_keys(stack: StackFacts) -> AsyncIterator[str]:
    jwks = [key.jwk for key in KEYS]
    async with gateway(stack, lambda headers: translated(headers, stack.jwt_secret), jwks) as url:
        environment = service_environment(stack) | {
            "SUPABASE_URL": url, "SUPABASE_JWT_ISSUER": ISSUER, "ROWCAST_TRUSTED_PROXIES": "127.0.0.1",
            "ROWCAST_REQUESTS_PER_MINUTE": "0",
        }  # fmt: skip
        async with served_beside(environment) as service:
            yield service


def requests(service: str, project: Project, bom: str, token: str) -> list[httpx.Request]:
    """Every door, with the token shown in every way that a request can hold it."""
    paths = [
        ("GET", f"/api/projects/{project.id}/status"),
        ("GET", f"/api/projects/{project.id}/snapshot"),
        ("POST", f"/api/projects/{project.id}/stream-tickets"),
        ("GET", f"/api/enrichment/stream/{bom}"),
        ("GET", f"/api/enrichment/state/{bom}"),
    ]
    made = []
    for method, path in paths:
        if token and token == token.strip() and token.isascii() and token.isprintable() and len(token) < 30_000:
            made.append(httpx.Request(method, f"{service}{path}", headers={"Authorization": f"Bearer {token}"}))
        if method == "GET" and len(token) < 10_000:
            made.append(httpx.Request(method, f"{service}{path}?token={quote(token)}"))
            made.append(httpx.Request(method, f"{service}{path}?ticket={quote(token)}"))
    return made


async def test_no_bad_token_opens_any_door(stack: StackFacts, project: Project, record_property) -> None:
    forger = Forger(project.user_id, stack.jwt_secret, KEYS)
    bad = forger.all()
    assert len(bad) >= 200
    bom = project.bom("a")
    counts: Counter[tuple[int, str]] = Counter()
    async with service_with_keys(stack) as service, httpx.AsyncClient(timeout=30) as client:
        witness = Project(project.id, forger.good, project.user_id, project.database)
        async with undisturbed(service, witness):
            await asyncio.gather(*(let_in(client, service, project, token) for token in good(forger)))
            places = asyncio.Semaphore(16)

            async def refused(name: str, request: httpx.Request) -> None:
                async with places:
                    answer = await client.send(request)
                assert answer.headers["Content-Type"] == "application/json", (name, request.url.path)
                error = answer.json()["error"]
                assert (answer.status_code, error) in REFUSALS, (name, request.method, request.url.path, error)
                assert answer.headers.get("Set-Cookie") is None
                counts[answer.status_code, error] += 1

            await asyncio.gather(
                *(refused(name, each) for name, token in bad.items() for each in requests(service, project, bom, token))
            )
    record_property("bad tokens", len(bad))
    record_property("requests refused", dict(counts))
    assert counts[401, "invalid_token"] > 2000
    assert counts[401, "expired_token"] > 20


async def test_no_bad_token_opens_a_websocket(stack: StackFacts, project: Project) -> None:
    forger = Forger(project.user_id, stack.jwt_secret, KEYS)
    bad = [token for token in forger.all().values() if token and len(token) < 30_000]
    async with service_with_keys(stack) as service:
        for some in (bad[begin : begin + 100] for begin in range(0, len(bad), 100)):  # 120 operations a minute
            async with socket(service) as page:
                for token in some:
                    await page.ask("subscribe", projectId=project.id, token=token)
                    said = await page.next()
                    assert said.get("code") in ("invalid_token", "expired_token"), (token, said)
                await page.subscribed(project, token=forger.good)


REFUSALS = {(401, "invalid_token"), (401, "expired_token"), (401, "missing_token")}


def good(forger: Forger) -> list[str]:
    """Without these, a service that refuses everything would pass."""
    return [
        forger.good,
        *(key.sign(**forger.claims) for key in KEYS),
        forger.signed({"kid": "unknown"}),
        forger.signed(aud=["other", "authenticated"]),
        forger.signed(exp=time.time() + 1000.5),
        forger.signed(is_anonymous=True),
    ]


async def let_in(client: httpx.AsyncClient, service: str, project: Project, token: str) -> None:
    answer = await client.get(
        f"{service}/api/projects/{project.id}/snapshot", headers={"Authorization": f"Bearer {token}", **ELSEWHERE}
    )
    assert answer.status_code == httpx.codes.OK, answer.text


async def test_a_head_that_is_too_large_is_refused_by_the_server_itself(service: str, project: Project) -> None:
    async with httpx.AsyncClient() as client, undisturbed(service, project):
        for size in (70_000, 1_000_000):
            try:
                answer = await client.get(
                    f"{service}/api/projects/{project.id}/status", headers={"Authorization": f"Bearer {'a' * size}"}
                )
            except httpx.TransportError:
                continue  # it closes while the rest is still on its way
            assert answer.status_code == 431


@pytest.mark.parametrize("name", ["authorization", "token", "ticket"])
async def test_of_a_credential_that_comes_twice_none_gets_another_in(service: str, project: Project, name: str) -> None:
    """The first that is given decides, wherever the good one stands."""
    address = f"{service}/api/projects/{project.id}/snapshot"
    async with httpx.AsyncClient() as client:
        if name == "authorization":
            for values in (("Bearer x.y.z", f"Bearer {project.token}"), ("Basic eDp5", f"Bearer {project.token}")):
                answer = await client.get(address, headers=[("Authorization", value) for value in values])
                assert answer.status_code == 401
        else:
            answer = await client.get(f"{address}?{name}=x.y.z&token={project.token}")
            assert (answer.status_code == 401) == (name == "token")
        answer = await client.get(f"{address}?token={project.token}", headers={"Authorization": "Bearer x.y.z"})
        assert answer.status_code == 401
