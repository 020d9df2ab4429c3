import time

import aiohttp
import jwt
import pytest

from devstack.accounts import access_token
from devstack.errors import DevstackError
from tests.conftest import unused_port


@pytest.fixture
async def auths_own(stack):
    """A token that Auth itself gives a user who has just signed up."""
    async with (
        aiohttp.ClientSession(headers={"apikey": stack.publishable_key}) as session,
        session.post(
            f"{stack.supabase_url}/auth/v1/signup",
            json={"email": f"{time.time_ns()}@example.com", "password": "pa55word!"},
        ) as answer,
    ):
        assert answer.status == 200
        return await answer.json()


def read(token, secret):
    return jwt.decode(token, secret, algorithms=["HS256"], audience="authenticated")


async def test_it_is_like_the_token_that_auth_gives(stack, auths_own):
    user = auths_own["user"]
    theirs = read(auths_own["access_token"], stack.jwt_secret)
    now = int(time.time())
    ours = read(access_token(stack.database_url, stack.jwt_secret, user["email"], now), stack.jwt_secret)
    of_the_moment = {"iat", "exp", "session_id"}
    assert {*ours} - {*theirs} == {"is_anonymous"}  # hosted Auth says it, Lite does not
    assert {*theirs} - {*ours} == {"session_id"}
    assert all(ours[name] == theirs[name] for name in {*ours} & {*theirs} - of_the_moment)
    assert (ours["iat"], ours["exp"]) == (now, now + theirs["exp"] - theirs["iat"])


async def test_auth_takes_it_for_the_user_s(stack, auths_own):
    email = auths_own["user"]["email"]
    token = access_token(stack.database_url, stack.jwt_secret, email.upper(), time.time())
    assert read(token, stack.jwt_secret)["email"] == email
    headers = {"apikey": stack.publishable_key, "Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{stack.supabase_url}/auth/v1/user") as answer,
    ):
        assert (answer.status, (await answer.json())["id"]) == (200, auths_own["user"]["id"])


def test_an_unknown_user_is_told_in_a_line(stack):
    with pytest.raises(DevstackError) as unknown:
        access_token(stack.database_url, stack.jwt_secret, "nobody@example.com", 0)
    assert str(unknown.value) == ("The devstack has no user nobody@example.com; sign up first (POST /auth/v1/signup).")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"postgresql://postgres:x@127.0.0.1:{unused_port()}/postgres", "Connection refused"),
        ("no url", "missing"),
    ],
    ids=["nobody there", "no url"],
)
def test_a_database_that_can_not_be_asked_is_told_in_a_line(url, why):
    with pytest.raises(DevstackError) as failure:
        access_token(url, "secret", "a@example.com", 0)
    assert str(failure.value).startswith("The devstack's users can't be read: ")
    assert why in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_database_without_users_is_told_in_a_line(postgres):
    with pytest.raises(DevstackError, match=r'users can\'t be read: relation "auth\.users" does not exist'):
        access_token(postgres.url(), "secret", "a@example.com", 0)
