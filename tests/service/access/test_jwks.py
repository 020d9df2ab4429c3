"""The key set against a real server that counts, waits, breaks and changes its keys."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from itertools import pairwise

import httpx
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from service.access.jwks import COOLDOWN_SECONDS, MAX_AGE_SECONDS, RENEW_SECONDS, KeySet, Verifier
from service.access.tokens import Principal
from service.errors import ApiError
from tests.service.access.signing import ISSUER, NOW, SECRET, USER, SigningKey, sign
from tests.service.logged import logged

OLD, NEW, RSA = SigningKey("ES256", "old"), SigningKey("ES256", "new"), SigningKey("RS256", "rsa")


class Clock:
    """Monotonic seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Auth:
    """Answers with a JWKS; ``gate``, while closed, holds answers back; ``fault`` takes the place of the keys."""

    def __init__(self) -> None:
        self.keys = [OLD.jwk]
        self.fault: web.Response | None = None
        self.requests = 0
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Begins to listen; after :meth:`stop`, on the same port."""
        app = web.Application()
        app.router.add_get("/auth/v1/.well-known/jwks.json", self._answer)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        assert self.runner is not None
        await self.runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/auth/v1/.well-known/jwks.json"

    async def _answer(self, _: web.Request) -> web.Response:
        self.requests += 1
        self.asked.set()
        await self.gate.wait()
        return self.fault or web.json_response({"keys": self.keys})


@pytest.fixture
async def auth() -> AsyncIterator[Auth]:
    server = Auth()
    await server.start()
    yield server
    server.gate.set()
    await server.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(auth: Auth, clock: Clock) -> AsyncIterator[KeySet]:
    async with httpx.AsyncClient() as client:
        yield KeySet(client, auth.url, clock)


@pytest.fixture
def verifier(keys: KeySet) -> Verifier:
    return Verifier(keys, SECRET, ISSUER, lambda: NOW)


async def refused(verifier: Verifier, token: str, status: int = 401, code: str = "invalid_token") -> ApiError:
    with pytest.raises(ApiError) as raised:
        await verifier.verify(token)
    assert (raised.value.status, raised.value.code) == (status, code)
    return raised.value


async def settled(keys: KeySet) -> None:
    """Waits for a fetch that nobody else waits for."""
    if keys._fetching is not None:
        await asyncio.wait([keys._fetching])


async def test_fifty_who_come_at_once_wait_for_one_fetch(auth, verifier):
    auth.gate.clear()
    waiting = [asyncio.create_task(verifier.verify(OLD.sign())) for _ in range(50)]
    await auth.asked.wait()
    assert not any(task.done() for task in waiting)
    auth.gate.set()
    assert {principal.user_id for principal in await asyncio.gather(*waiting)} == {USER}
    assert auth.requests == 1


async def test_keys_are_kept(auth, verifier):
    auth.keys = [OLD.jwk, RSA.jwk]
    for _ in range(3):
        for key in (OLD, RSA):
            await verifier.verify(key.sign())
    assert auth.requests == 1


async def test_a_project_with_a_legacy_secret_is_never_asked_for_keys(auth, verifier, clock):
    for _ in range(3):
        assert isinstance(await verifier.verify(sign()), Principal)
        clock.now += 2 * MAX_AGE_SECONDS
    assert auth.requests == 0


async def test_unknown_keys_ask_once_in_a_cooldown(auth, verifier, clock):
    for _ in range(5):
        error = await refused(verifier, OLD.sign({"kid": "stranger"}))
        assert "'stranger'" in error.message
    assert auth.requests == 1
    clock.now += COOLDOWN_SECONDS - 0.01
    await refused(verifier, OLD.sign({"kid": "stranger"}))
    assert auth.requests == 1
    clock.now += 0.01
    await refused(verifier, OLD.sign({"kid": "stranger"}))
    assert auth.requests == 2


async def test_a_long_key_id_is_told_short(auth, verifier):
    assert len((await refused(verifier, OLD.sign({"kid": "k" * 5000}))).message) < 200


async def test_a_new_key_is_found_without_a_restart(auth, verifier, clock):
    await verifier.verify(OLD.sign())
    auth.keys = [OLD.jwk, NEW.jwk]
    await refused(verifier, NEW.sign())  # within the cooldown
    clock.now += COOLDOWN_SECONDS
    await verifier.verify(NEW.sign())
    assert auth.requests == 2


async def test_a_stale_set_serves_while_a_fresh_one_comes(auth, keys, verifier, clock):
    await verifier.verify(OLD.sign())
    auth.keys = [NEW.jwk]
    auth.asked.clear()
    auth.gate.clear()
    clock.now += RENEW_SECONDS + 1
    for _ in range(3):
        await verifier.verify(OLD.sign())  # not held up by the endpoint
    await auth.asked.wait()
    auth.gate.set()
    await settled(keys)
    assert auth.requests == 2
    await verifier.verify(NEW.sign())
    await refused(verifier, OLD.sign())


async def test_a_fresh_set_is_left_alone(auth, keys, verifier, clock):
    await verifier.verify(OLD.sign())
    clock.now += RENEW_SECONDS
    await verifier.verify(OLD.sign())
    await settled(keys)
    assert auth.requests == 1


async def test_a_removed_key_is_accepted_no_longer_than_the_maximum_age(auth, verifier, clock):
    """Nobody came for long, so nothing renewed the set: the first who comes waits for that."""
    await verifier.verify(OLD.sign())
    auth.keys = [NEW.jwk]
    clock.now += MAX_AGE_SECONDS + 1
    await refused(verifier, OLD.sign())
    await verifier.verify(NEW.sign())
    assert auth.requests == 2


async def test_a_set_that_has_become_empty_accepts_nothing(auth, verifier, clock):
    await verifier.verify(OLD.sign())
    auth.keys = []
    clock.now += MAX_AGE_SECONDS + 1
    await refused(verifier, OLD.sign())


def answer(body: bytes, status: int = 200, **headers: str) -> web.Response:
    return web.Response(body=body, status=status, headers=headers)


FAULTS = {
    "an error": (b'{"keys": []}', 500),
    "not found": (b'{"keys": []}', 404),
    "no JSON": (b"<html>maintenance</html>", 200),
    "nothing": (b"", 200),
    "no text": (b"\xff\xfe\xff", 200),
    "a list": (b"[]", 200),
    "null": (b"null", 200),
    "no keys": (b"{}", 200),
    "keys null": (b'{"keys": null}', 200),
    "keys a text": (b'{"keys": "abc"}', 200),
    "keys an object": (b'{"keys": {"kid": 1}}', 200),
    "keys of texts": (b'{"keys": ["abc"]}', 200),
    "nested deeply": (b"[" * 100_000, 200),
}


@pytest.mark.parametrize(("body", "status"), FAULTS.values(), ids=FAULTS)
async def test_old_keys_stay_while_the_endpoint_answers_nonsense(auth, verifier, clock, caplog, body, status):
    await verifier.verify(OLD.sign())
    for _ in range(2):
        auth.fault = answer(body, status)
        clock.now += MAX_AGE_SECONDS + 1
        await verifier.verify(OLD.sign())
    assert auth.requests == 3
    for level, message, told in logged(caplog, "service.access.jwks"):
        assert (level, message, told["keys"]) == ("WARNING", "the JWKS can't be fetched, old keys stay", 1)
    auth.fault = None
    auth.keys = [NEW.jwk]
    clock.now += COOLDOWN_SECONDS
    await refused(verifier, OLD.sign())


async def test_redirects_are_not_followed(auth, verifier, clock):
    await verifier.verify(OLD.sign())
    auth.fault = answer(b"", 302, Location="/elsewhere")
    clock.now += MAX_AGE_SECONDS + 1
    await verifier.verify(OLD.sign())
    assert auth.requests == 2


async def test_old_keys_stay_while_the_endpoint_is_down(auth, verifier, clock):
    await verifier.verify(OLD.sign())
    await auth.stop()
    for _ in range(3):
        clock.now += MAX_AGE_SECONDS + 1
        await verifier.verify(OLD.sign())
    auth.keys = [NEW.jwk]
    await auth.start()
    clock.now += COOLDOWN_SECONDS
    await refused(verifier, OLD.sign())
    await verifier.verify(NEW.sign())


async def test_a_key_that_may_exist_is_no_invalid_token_while_the_endpoint_is_down(auth, verifier, clock):
    await auth.stop()
    error = await refused(verifier, OLD.sign(), 503, "upstream_unavailable")
    assert error.retry_after == COOLDOWN_SECONDS
    await refused(verifier, OLD.sign(), 503, "upstream_unavailable")  # within the cooldown too
    await verifier.verify(sign())  # the secret needs no endpoint
    await auth.start()
    clock.now += COOLDOWN_SECONDS
    await verifier.verify(OLD.sign())
    await refused(verifier, NEW.sign())


async def test_a_new_key_is_no_invalid_token_when_the_endpoint_went_down_before_it_was_seen(auth, verifier, clock):
    await verifier.verify(OLD.sign())
    await auth.stop()
    clock.now += COOLDOWN_SECONDS
    await refused(verifier, NEW.sign(), 503, "upstream_unavailable")
    await verifier.verify(OLD.sign())


async def test_a_failing_endpoint_is_asked_once_in_a_cooldown(auth, verifier, clock):
    auth.fault = answer(b"", 500)
    for _ in range(5):
        await refused(verifier, OLD.sign(), 503, "upstream_unavailable")
    assert auth.requests == 1


async def test_who_goes_away_does_not_stop_the_fetch_for_others(auth, keys, verifier):
    auth.gate.clear()
    first, second = (asyncio.create_task(verifier.verify(OLD.sign())) for _ in range(2))
    await auth.asked.wait()
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert first.cancelled()
    auth.gate.set()
    assert (await second).user_id == USER
    assert auth.requests == 1


async def test_when_all_have_gone_away_the_fetch_still_serves_the_next(auth, keys, verifier):
    auth.gate.clear()
    only = asyncio.create_task(verifier.verify(OLD.sign()))
    await auth.asked.wait()
    only.cancel()
    await asyncio.wait([only])
    auth.gate.set()
    await settled(keys)
    await verifier.verify(OLD.sign())
    assert auth.requests == 1


UNUSABLE = [
    {**OLD.jwk, "kid": "x", "crv": "P-999"},
    {**OLD.jwk, "kid": "x", "x": "AAAA"},
    {**OLD.jwk, "kid": "x", "alg": "XX999"},
    {**OLD.jwk, "kid": ["x"]},
    {**OLD.jwk, "kid": None},
    {name: value for name, value in OLD.jwk.items() if name != "kid"},
    {**RSA.jwk, "kid": "x", "n": ""},
    {**RSA.jwk, "kid": "x", "alg": "RS512"},
    {**RSA.jwk, "kid": "x", "alg": "HS256"},
    {**RSA.jwk, "kid": "x", "alg": ["RS256"]},
    {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "x"},
    {"kty": "quantum", "kid": "x"},
    {"kty": ["EC"], "kid": "x"},
    {"kid": "x"},
    {},
]


@pytest.mark.parametrize("entry", UNUSABLE, ids=map(str, range(len(UNUSABLE))))
async def test_a_key_of_no_use_does_not_spoil_the_others(auth, keys, verifier, entry):
    auth.keys = [entry, NEW.jwk]
    await verifier.verify(NEW.sign())
    assert set(keys.keys) == {"new"}
    await refused(verifier, sign("secret-secret-secret-secret-secret", {"kid": "x"}))


async def test_a_token_of_another_project_is_not_made_valid_by_its_issuer(auth, verifier):
    stranger = SigningKey("ES256", "old")
    await refused(verifier, stranger.sign(iss=ISSUER))
    assert auth.requests == 1


async def test_the_clock_decides_what_has_expired(keys):
    verifier = Verifier(keys, SECRET, ISSUER, lambda: NOW + 7200)
    await refused(verifier, sign(), code="expired_token")


async def test_a_failed_fetch_is_logged_once(auth, verifier, caplog):
    caplog.set_level(logging.INFO)
    auth.fault = answer(b"", 500)
    for _ in range(3):
        await refused(verifier, OLD.sign(), 503, "upstream_unavailable")
    assert [record.levelname for record in caplog.records if record.name == "service.access.jwks"] == ["WARNING"]


@given(st.lists(st.floats(0, 3 * MAX_AGE_SECONDS), min_size=1, max_size=30))
def test_however_the_clock_leaps_keys_are_never_too_old_and_never_asked_for_too_often(leaps):
    """A machine that sleeps stops the clock, or makes it leap."""
    clock, fetched = Clock(), []

    def answered(_: httpx.Request) -> httpx.Response:
        fetched.append(clock.now)
        return httpx.Response(200, json={"keys": [OLD.jwk]})

    async def live() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answered)) as client:
            keys = KeySet(client, "http://auth.test/jwks", clock)
            for leap in leaps:
                clock.now += leap
                await keys.renew()
                await keys.refresh()
                assert clock.now - fetched[-1] < COOLDOWN_SECONDS

    asyncio.run(live())
    assert all(later - earlier >= COOLDOWN_SECONDS for earlier, later in pairwise(fetched))
