"""Tokens for watching: given ones, and the demo user's from the real Auth and from servers that are none."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import httpx
import jwt
import pytest
from aiohttp import web

from service.signin import RENEW_SECONDS, SignInError, TokenSource
from tests.conftest import StackFacts, unused_port

EMAIL, PASSWORD = f"{uuid4().hex}@example.com", "a-test-password"
Serve = Callable[[Callable[[web.Request], Awaitable[web.Response]]], Awaitable[str]]


def environment(url: str, key: str = "sb_publishable_x", password: str = PASSWORD) -> dict[str, str]:
    return {
        "SUPABASE_URL": url,
        "SUPABASE_PUBLISHABLE_KEY": key,
        "ROWCAST_DEMO_EMAIL": EMAIL,
        "ROWCAST_DEMO_PASSWORD": password,
    }


@pytest.fixture(scope="module")
def demo_user(stack: StackFacts) -> str:
    """The id of a user who can sign in."""
    answer = httpx.post(
        f"{stack.supabase_url}/auth/v1/signup",
        headers={"apikey": stack.publishable_key},
        json={"email": EMAIL, "password": PASSWORD},
    )
    user: str = answer.json()["user"]["id"]
    return user


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts an Auth that answers sign-ins with a handler; gives its address."""
    async with AsyncExitStack() as stack:

        async def start(handler: Callable[[web.Request], Awaitable[web.Response]]) -> str:
            app = web.Application()
            app.router.add_post("/auth/v1/token", handler)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return f"http://127.0.0.1:{runner.addresses[0][1]}"

        yield start


async def test_a_given_token_needs_no_environment() -> None:
    assert await TokenSource({}, "a.b.c").get() == "a.b.c"
    assert await TokenSource({}, " a.b.c\n").get() == "a.b.c"


@pytest.mark.parametrize("given", ["a\nb", "a\x00b", "“a.b.c”", "\x1b[0m"])
async def test_a_given_token_that_no_header_can_hold_is_told_and_not_repeated(given: str) -> None:
    with pytest.raises(SignInError, match="was it copied whole") as raised:
        await TokenSource({}, given).get()
    assert given not in str(raised.value)


async def test_the_demo_user_signs_in(stack: StackFacts, demo_user: str) -> None:
    token = await TokenSource(environment(f"{stack.supabase_url}/", stack.publishable_key), None).get()
    claims = jwt.decode(token, stack.jwt_secret, algorithms=["HS256"], audience="authenticated")
    assert claims["sub"] == demo_user


async def test_a_wrong_password_is_told_and_not_repeated(stack: StackFacts, demo_user: str) -> None:
    source = TokenSource(environment(stack.supabase_url, stack.publishable_key, "hush-hush"), None)
    with pytest.raises(SignInError, match=f"{EMAIL} could not sign in \\(400\\): .+") as raised:
        await source.get()
    assert "hush" not in str(raised.value)


async def test_a_wrong_publishable_key_is_told(stack: StackFacts, demo_user: str) -> None:
    with pytest.raises(SignInError, match=r"could not sign in \(401\)"):
        await TokenSource(environment(stack.supabase_url, "sb_publishable_wrong"), None).get()


@pytest.mark.parametrize("missing", list(environment("")))
async def test_what_is_missing_is_named(missing: str) -> None:
    variables = {**environment("http://127.0.0.1:1"), missing: ""}
    with pytest.raises(SignInError, match=f"Set ROWCAST_TOKEN to an access token, or {missing} to sign in with"):
        await TokenSource(variables, None).get()


async def test_everything_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(SignInError) as raised:
        await TokenSource({}, None).get()
    assert all(name in str(raised.value) for name in environment(""))


async def test_a_wrong_address_is_told() -> None:
    with pytest.raises(SignInError, match="SUPABASE_URL must be an http or https address"):
        await TokenSource(environment("localhost"), None).get()


async def test_a_key_that_no_header_can_hold_is_told() -> None:
    with pytest.raises(SignInError, match="SUPABASE_PUBLISHABLE_KEY holds characters"):
        await TokenSource(environment("http://127.0.0.1:1", "a\nb"), None).get()


async def test_an_auth_that_is_not_there_may_come_back() -> None:
    with pytest.raises(httpx.ConnectError):
        await TokenSource(environment(f"http://127.0.0.1:{unused_port()}"), None).get()


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_an_auth_that_is_busy_may_come_back(serve: Serve, status: int) -> None:
    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=status)

    with pytest.raises(httpx.HTTPStatusError):
        await TokenSource(environment(await serve(busy)), None).get()


@pytest.mark.parametrize(
    "body",
    [
        "<html>",
        "[]",
        "null",
        '"token"',
        "{}",
        '{"access_token": "hush"}',
        '{"access_token": "hush", "expires_in": "x"}',
    ],
)
async def test_what_is_no_auth_is_told_and_not_repeated(serve: Serve, body: str) -> None:
    async def odd(_: web.Request) -> web.Response:
        return web.Response(text=body)

    with pytest.raises(SignInError, match="is not Supabase Auth") as raised:
        await TokenSource(environment(await serve(odd)), None).get()
    assert "hush" not in str(raised.value)


async def test_a_token_is_kept_and_renewed_before_it_ends(serve: Serve) -> None:
    granted: list[str] = []
    now = 1000.0

    async def grant(request: web.Request) -> web.Response:
        assert await request.json() == {"email": EMAIL, "password": PASSWORD}
        assert request.query["grant_type"] == "password"
        granted.append(f"token-{len(granted)}")
        return web.json_response({"access_token": granted[-1], "expires_in": 3600})

    source = TokenSource(environment(await serve(grant)), None, lambda: now)
    assert [await source.get() for _ in range(3)] == ["token-0"] * 3
    now += 3600 - RENEW_SECONDS - 1
    assert await source.get() == "token-0"
    now += 1
    assert [await source.get() for _ in range(2)] == ["token-1"] * 2
    assert granted == ["token-0", "token-1"]
