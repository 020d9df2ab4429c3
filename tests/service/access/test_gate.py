"""The whole question: a token as it comes with a request, and the project it is for."""

import time
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import httpx
import pytest

from devstack.accounts import access_token
from service.access.gate import Gate
from service.access.jwks import KeySet, Verifier
from service.access.members import Members
from service.errors import ApiError, DatabaseUnavailable
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project, add_user

MakeGate = Callable[..., Gate]


@pytest.fixture
async def gate_to(stack: StackFacts) -> AsyncIterator[MakeGate]:
    """Makes the gate of a service that belongs to the devstack, or to another address."""
    async with httpx.AsyncClient() as client:

        def make(url: str = stack.supabase_url) -> Gate:
            keys = KeySet(client, f"{url}/auth/v1/.well-known/jwks.json", time.monotonic)
            verifier = Verifier(keys, stack.jwt_secret, None, time.time)
            return Gate(verifier, Members(client, url, stack.publishable_key, time.monotonic))

        yield make


async def refused(gate: Gate, token: str, project_id: str) -> tuple[int, str, str]:
    with pytest.raises(ApiError) as raised:
        await gate.admit(token, project_id)
    return raised.value.status, raised.value.code, raised.value.message


async def test_a_member_gets_in_and_is_known(gate_to: MakeGate, project: Project) -> None:
    principal = await gate_to().admit(project.token, project.id)
    assert principal.user_id == project.user_id
    assert principal.expires_at > time.time()


async def test_the_token_that_auth_gives_at_sign_up_gets_in(
    gate_to: MakeGate, project: Project, stack: StackFacts
) -> None:
    async with httpx.AsyncClient() as client:
        granted = await client.post(
            f"{stack.supabase_url}/auth/v1/signup",
            headers={"apikey": stack.publishable_key},
            json={"email": f"{uuid4().hex}@example.com", "password": "a-test-password"},
        )
    answer = granted.json()
    project.execute(
        "insert into project_members (project_id, user_id, role) values (%s, %s, 'viewer')",
        project.id, answer["user"]["id"],
    )  # fmt: skip
    assert (await gate_to().admit(answer["access_token"], project.id)).user_id == answer["user"]["id"]


async def test_anothers_project_and_none_look_the_same(gate_to: MakeGate, project: Project, stack: StackFacts) -> None:
    _, stranger = add_user(project.database, stack)
    others = await refused(gate_to(), stranger, project.id)
    assert others == await refused(gate_to(), stranger, str(uuid4()))
    assert others[:2] == (404, "not_found")


async def test_garbage_and_expired_tokens_are_told_apart(
    gate_to: MakeGate, project: Project, stack: StackFacts
) -> None:
    email = project.database.execute("select email from auth.users where id = %s", [project.user_id]).fetchone()
    assert email is not None
    old = access_token(stack.database_url, stack.jwt_secret, str(email[0]), time.time() - 7200)
    assert (await refused(gate_to(), old, project.id))[:2] == (401, "expired_token")
    for garbage in ("garbage", "", project.token[:-4], stack.publishable_key, stack.secret_key):
        assert (await refused(gate_to(), garbage, project.id))[:2] == (401, "invalid_token")


async def test_a_bad_token_is_refused_before_the_database_is_asked(gate_to: MakeGate, project: Project) -> None:
    assert (await refused(gate_to(f"http://127.0.0.1:{unused_port()}"), "garbage", project.id))[0] == 401


async def test_a_database_that_can_not_be_reached_is_unavailable(gate_to: MakeGate, project: Project) -> None:
    with pytest.raises(DatabaseUnavailable):
        await gate_to(f"http://127.0.0.1:{unused_port()}").admit(project.token, project.id)
