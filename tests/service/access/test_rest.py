"""What PostgREST, its gateway, or whatever stands in their place, may answer."""

import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from service.access.rest import Rest
from service.errors import DatabaseUnavailable, Refused

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
async def rest() -> AsyncIterator[Callable[[Answer], Rest]]:
    clients = []

    def make(answer: Answer) -> Rest:
        clients.append(httpx.AsyncClient(transport=httpx.MockTransport(answer)))
        return Rest(clients[-1], "http://rest.test", "key")

    yield make
    for client in clients:
        await client.aclose()


async def test_a_question_goes_out_for_whom_it_is_asked(rest: Callable[[Answer], Rest]) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=[{"a": 1}])

    assert await rest(answer).ask("GET", "t", {"id": "eq.&x=y"}, bearer="token") == [{"a": 1}]
    assert await rest(answer).ask("POST", "t", {}, body={"b": 2}) == [{"a": 1}]
    read, written = asked
    assert str(read.url) == "http://rest.test/rest/v1/t?id=eq.%26x%3Dy"
    assert (read.headers["apikey"], read.headers["Authorization"]) == ("key", "Bearer token")
    assert read.headers["Accept-Encoding"] == "gzip, deflate"  # and not what aiohttp says where nothing is said
    assert "Prefer" not in read.headers
    assert (written.headers["Authorization"], written.headers["Prefer"]) == ("Bearer key", "return=representation")
    assert json.loads(written.content) == {"b": 2}


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"code": "22P02", "message": "m"}, "22P02"),
        (401, {"code": "PGRST301"}, "PGRST301"),
        (401, {"message": "Invalid API key"}, ""),
        (403, {"code": None}, ""),
        (404, [], ""),
        (409, {"code": 23503}, "23503"),
    ],
)
async def test_a_refusal_has_its_code(rest: Callable[[Answer], Rest], status: int, body: object, code: str) -> None:
    with pytest.raises(Refused, match=f"t: HTTP {status}") as raised:
        await rest(lambda _: httpx.Response(status, json=body)).ask("GET", "t", {})
    assert (raised.value.status, raised.value.code) == (status, code)


@pytest.mark.parametrize("status", [200, 204, 302, 429, 500, 502, 540])
async def test_any_other_answer_than_was_expected_is_no_answer(rest: Callable[[Answer], Rest], status: int) -> None:
    with pytest.raises(DatabaseUnavailable, match="t: "):
        await rest(lambda _: httpx.Response(status, json=[])).ask("POST", "t", {}, expect=201)


async def test_what_is_no_json_is_no_answer(rest: Callable[[Answer], Rest]) -> None:
    for status in (200, 400):
        with pytest.raises(DatabaseUnavailable):
            await rest(lambda _, status=status: httpx.Response(status, text="<html>")).ask("GET", "t", {})
