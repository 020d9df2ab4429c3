"""Requests a minute, in an application of two routes."""

from datetime import UTC, datetime, timedelta

import pytest
from quart import Quart, request
from quart_rate_limiter import rate_exempt

from service.access.rates import BoundedStore, Handshakes, Pace, limit_requests
from service.errors import LimitReached


def make_app(per_minute: int) -> Quart:
    app = Quart("service")
    limit_requests(app, per_minute, lambda: request.headers.get("From", ""))

    @app.get("/one")
    async def one() -> str:
        return ""

    @app.get("/free")
    @rate_exempt
    async def free() -> str:
        return ""

    return app


async def statuses(app: Quart, path: str, times: int, who: str = "") -> list[int]:
    return [(await app.test_client().get(path, headers={"From": who})).status_code for _ in range(times)]


async def test_a_minutes_worth_may_come_at_once_and_no_more() -> None:
    app = make_app(3)
    assert await statuses(app, "/one", 5) == [200, 200, 200, 429, 429]
    refused = await app.test_client().get("/one")
    assert 0 < int(refused.headers["Retry-After"]) <= 20


async def test_each_address_has_its_own() -> None:
    app = make_app(1)
    for who in ("a", "b"):
        assert await statuses(app, "/one", 2, who) == [200, 429]


async def test_an_exempt_route_is_not_limited() -> None:
    assert await statuses(make_app(1), "/free", 5) == [200] * 5


async def test_zero_is_no_limit() -> None:
    assert await statuses(make_app(0), "/one", 50) == [200] * 50


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=1)])
async def test_the_store_stays_small_whoever_comes(ahead: timedelta) -> None:
    store = BoundedStore(10)
    now = datetime.now(UTC)
    await store.set("first", now + ahead)
    for number in range(100):
        await store.set(f"key {number}", now + ahead)
        assert len(store) <= 10
    assert await store.get("first", now) == now
    assert await store.get("key 99", now - ahead) == (now + ahead if ahead else now - ahead)


async def test_who_may_not_come_yet_is_forgotten_last() -> None:
    store = BoundedStore(10)
    now = datetime.now(UTC)
    later = now + timedelta(hours=1)
    await store.set("greedy", later)
    for number in range(1000):
        await store.set(f"key {number}", now)
    assert await store.get("greedy", now) == later


def test_a_pace_is_a_minutes_worth_at_once_and_then_as_many_as_time_brings() -> None:
    pace = Pace(3)
    assert [pace.allows(1000.0) for _ in range(5)] == [True, True, True, False, False]
    assert not pace.allows(1019.9)
    assert pace.allows(1020.1)
    assert not pace.allows(1020.2)
    assert [pace.allows(2000.0) for _ in range(4)] == [True, True, True, False]


async def test_connections_are_counted_by_address_as_requests_are() -> None:
    handshakes = Handshakes(2)
    for address in ("a", "b"):
        await handshakes.count(address)
        await handshakes.count(address)
        with pytest.raises(LimitReached) as raised:
            await handshakes.count(address)
        assert (raised.value.status, raised.value.code, raised.value.limit) == (429, "rate_limited", "requests")
        assert 0 < (raised.value.retry_after or 0) <= 30
    unlimited = Handshakes(0)
    for _ in range(10):
        await unlimited.count("a")
