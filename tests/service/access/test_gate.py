"""The whole question: a token as it comes with a request, and the project it is for."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from devstack.accounts import access_token
from service.access.belongings import Belongings
from service.access.gate import ASKED_AT_ONCE, Admission, Credential, Gate
from service.access.jwks import KeySet, Verifier
from service.access.members import Members
from service.access.operators import OPERATOR
from service.access.rest import Rest
from service.access.tickets import Tickets
from service.errors import ApiError, DatabaseUnavailable
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project, add_user

MakeGate = Callable[..., Gate]
OPERATORS = "an-operators-token-of-thirty-two-characters"


@pytest.fixture
async def gate_to(stack: StackFacts) -> AsyncIterator[MakeGate]:
    """Makes the gate of a service that belongs to the devstack, or to another address."""
    async with httpx.AsyncClient() as client:

        def make(url: str = stack.supabase_url) -> Gate:
            keys = KeySet(client, f"{url}/auth/v1/.well-known/jwks.json", time.monotonic)
            verifier = Verifier(keys, stack.jwt_secret, None, time.time)
            rest = Rest(client, url, stack.secret_key)
            members = Members(Rest(client, url, stack.publishable_key), time.monotonic)
            tickets = Tickets(rest, stack.secret_key, time.time)
            return Gate(verifier, members, Belongings(members, rest), tickets, OPERATORS)

        yield make


async def refused(gate: Gate, token: str, project_id: str) -> tuple[int, str, str]:
    with pytest.raises(ApiError) as raised:
        await gate.admit(Credential(token), project_id)
    return raised.value.status, raised.value.code, raised.value.message


async def test_a_member_gets_in_and_is_known(gate_to: MakeGate, project: Project) -> None:
    admission = await gate_to().admit(Credential(project.token), project.id)
    assert admission.principal.user_id == project.user_id
    assert admission.principal.expires_at > time.time()
    found = project.database.execute("select organization_id::text from projects where id = %s", [project.id])
    assert (admission.project_id, admission.organization_id) == (project.id, found.fetchall()[0][0])


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
    admission = await gate_to().admit(Credential(answer["access_token"]), project.id)
    assert admission.principal.user_id == answer["user"]["id"]


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


async def test_a_ticket_lets_in_once_and_to_its_project_alone(
    gate_to: MakeGate, project: Project, stack: StackFacts
) -> None:
    gate = gate_to()
    other = project.database.execute(
        "with p as (insert into projects (organization_id, name) select organization_id, 'Other' from projects "
        "where id = %s returning id) insert into project_members (project_id, user_id) select id, %s from p "
        "returning project_id::text",
        [project.id, project.user_id],
    ).fetchone()
    assert other is not None
    for project_id, code in ((str(other[0]), 401), (project.id, None)):
        ticket, _ = await gate.issue_ticket(await gate.admit(Credential(project.token), project.id))
        credential = Credential(ticket, is_ticket=True)
        if code is None:
            admission = await gate.admit(credential, project_id)
            assert admission.principal.token == project.token
        else:
            await gate.admit(Credential(project.token), project_id)  # the user may read it
            with pytest.raises(ApiError, match="The ticket is not valid"):
                await gate.admit(credential, project_id)
        with pytest.raises(ApiError, match="The ticket is not valid"):
            await gate.admit(credential, project.id)


async def test_a_ticket_is_no_token_and_a_token_no_ticket(gate_to: MakeGate, project: Project) -> None:
    gate = gate_to()
    ticket, _ = await gate.issue_ticket(await gate.admit(Credential(project.token), project.id))
    assert (await refused(gate, ticket, project.id))[:2] == (401, "invalid_token")
    with pytest.raises(ApiError, match="The ticket is not valid"):
        await gate.admit(Credential(project.token, is_ticket=True), project.id)


async def test_a_ticket_outlives_neither_its_users_right_nor_the_user(gate_to: MakeGate, project: Project) -> None:
    gate = gate_to()
    tickets = [(await gate.issue_ticket(await gate.admit(Credential(project.token), project.id)))[0] for _ in range(2)]
    project.execute("delete from project_members where project_id = %s", project.id)
    with pytest.raises(ApiError) as raised:
        await gate_to().admit(Credential(tickets[0], is_ticket=True), project.id)
    assert raised.value.status == 404
    project.execute("delete from auth.users where id = %s", project.user_id)
    with pytest.raises(ApiError) as raised:
        await gate_to().admit(Credential(tickets[1], is_ticket=True), project.id)
    assert raised.value.status == 401


async def test_the_operators_token_opens_what_is_for_operators_and_nothing_else(
    gate_to: MakeGate, project: Project
) -> None:
    gate = gate_to()
    assert (await refused(gate, OPERATORS, project.id))[:2] == (401, "invalid_token")
    admission = await gate.admit(Credential(OPERATORS), project.id, operators=True)
    assert admission == Admission(OPERATOR, project.id, None, 0.0)
    await gate.require_role(admission, {"owner"})
    with pytest.raises(ApiError):
        await gate.admit(Credential(OPERATORS, is_ticket=True), project.id, operators=True)
    with pytest.raises(ApiError):
        await gate.admit(Credential(OPERATORS[:-1]), project.id, operators=True)
    member = await gate.admit(Credential(project.token), project.id, operators=True)
    assert not member.principal.is_operator


async def test_a_raised_role_works_at_once(gate_to: MakeGate, project: Project) -> None:
    gate = gate_to()
    admission = await gate.admit(Credential(project.token), project.id)
    commanders = ("owner", "editor")
    with pytest.raises(ApiError, match="takes the role editor or owner in the project; yours is viewer") as raised:
        await gate.require_role(admission, commanders)
    assert (raised.value.status, raised.value.code) == (403, "forbidden")
    for role in commanders:
        project.execute("update project_members set role = %s where user_id = %s", role, project.user_id)
        await gate.require_role(admission, commanders)
    project.execute("delete from project_members where user_id = %s", project.user_id)
    with pytest.raises(ApiError, match="yours is none"):
        await gate.require_role(admission, commanders)


async def test_an_anonymous_user_is_a_user_like_others(gate_to: MakeGate, project: Project, stack: StackFacts) -> None:
    """Whether one may read a project is for the policies to say: here a membership lets one in."""
    user_id, token = add_user(project.database, stack)
    claims = jwt.decode(token, options={"verify_signature": False})
    anonymous = jwt.encode({**claims, "is_anonymous": True, "email": ""}, stack.jwt_secret, algorithm="HS256")
    assert (await refused(gate_to(), anonymous, project.id))[0] == 404
    project.execute("insert into project_members (project_id, user_id) values (%s, %s)", project.id, user_id)
    assert (await gate_to().admit(Credential(anonymous), project.id)).principal.user_id == user_id


async def test_a_deployers_own_policy_counts(gate_to: MakeGate, project: Project, stack: StackFacts) -> None:
    """One that looks at a claim of the token, which a membership's row knows nothing of."""
    user_id, token = add_user(project.database, stack)
    claims = jwt.decode(token, options={"verify_signature": False})
    auditor = jwt.encode({**claims, "app_metadata": {"auditor": True}}, stack.jwt_secret, algorithm="HS256")
    project.execute(
        "create policy auditors on projects for select to authenticated "
        "using ((auth.jwt() -> 'app_metadata' ->> 'auditor')::boolean)"
    )
    try:
        gate = gate_to()
        admission = await gate.admit(Credential(auditor), project.id)
        assert admission.principal.user_id == user_id
        ticket, _ = await gate.issue_ticket(admission)
        assert (await gate_to().admit(Credential(ticket, is_ticket=True), project.id)).principal.token == auditor
        assert (await refused(gate_to(), token, project.id))[0] == 404
    finally:
        project.execute("drop policy auditors on projects")


async def test_a_bad_token_is_refused_before_the_database_is_asked(gate_to: MakeGate, project: Project) -> None:
    assert (await refused(gate_to(f"http://127.0.0.1:{unused_port()}"), "garbage", project.id))[0] == 401


async def test_a_database_that_can_not_be_reached_is_unavailable(gate_to: MakeGate, project: Project) -> None:
    with pytest.raises(DatabaseUnavailable):
        await gate_to(f"http://127.0.0.1:{unused_port()}").admit(Credential(project.token), project.id)


async def test_a_user_who_asks_without_end_keeps_nobody_else_waiting_nor_their_own_streams(
    gate_to: MakeGate, project: Project, stack: StackFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gate_to()
    admitted = await gate.admit(Credential(project.token), project.id)
    _, other = add_user(project.database, stack)
    may_answer = asyncio.Event()
    ask = Rest.ask
    under_way = 0

    async def held_back(self: Rest, *arguments: Any, **named: Any) -> Any:
        nonlocal under_way
        if arguments[2]["id"] == f"eq.{project.id}":
            return await ask(self, *arguments, **named)
        under_way += 1
        await may_answer.wait()
        return []

    monkeypatch.setattr(Rest, "ask", held_back)
    flood = [asyncio.create_task(gate.enter(admitted.principal, str(uuid4()))) for _ in range(100)]
    async with asyncio.timeout(10):
        while under_way < ASKED_AT_ONCE:
            await asyncio.sleep(0)
    assert (await refused(gate, other, project.id))[0] == 404
    assert await gate.confirm(admitted, time.monotonic()) > admitted.asked_at
    assert under_way == ASKED_AT_ONCE
    may_answer.set()
    assert [getattr(error, "status", None) for error in await asyncio.gather(*flood, return_exceptions=True)] == [
        404
    ] * 100
