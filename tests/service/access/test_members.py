"""Membership, asked of the real database; and of servers that are none."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import jwt
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from service.access import members as module
from service.access.members import QUESTIONS_AT_ONCE, TRUST_SECONDS, Members
from service.access.rest import Rest
from service.access.tokens import Principal
from service.errors import ApiError, DatabaseRefused, DatabaseUnavailable, LimitReached
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project, add_user

PROJECT, ORGANIZATION = str(uuid4()), str(uuid4())
ROW = {"id": PROJECT, "organization_id": ORGANIZATION}


def principal(token: str) -> Principal:
    return Principal("somebody", time.time() + 3600, token)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
def members(client: httpx.AsyncClient, stack: StackFacts) -> Members:
    return Members(Rest(client, stack.supabase_url, stack.publishable_key), time.monotonic)


async def refused(members: Members, token: str, project_id: str) -> tuple[int, str, str]:
    with pytest.raises(ApiError) as raised:
        await members.require(principal(token), project_id)
    return raised.value.status, raised.value.code, raised.value.message


async def test_a_member_gets_in(members: Members, project: Project) -> None:
    await members.require(principal(project.token), project.id)


async def test_anothers_project_and_none_look_the_same(members: Members, project: Project, stack: StackFacts) -> None:
    _, stranger = add_user(project.database, stack)
    others = await refused(members, stranger, project.id)
    assert others == await refused(members, stranger, str(uuid4()))
    assert others[:2] == (404, "not_found")


async def test_who_is_no_member_any_more_is_out(members: Members, project: Project) -> None:
    project.execute("delete from project_members where project_id = %s", project.id)
    assert (await refused(members, project.token, project.id))[0] == 404


async def test_a_deleted_project_is_gone(members: Members, project: Project) -> None:
    project.execute("delete from projects where id = %s", project.id)
    assert (await refused(members, project.token, project.id))[0] == 404


async def test_a_project_id_can_not_widen_the_question(members: Members, project: Project) -> None:
    """What the routes let through is a UUID; whatever else came would still be one value of one filter."""
    for odd in (f"{uuid4()}&or=(id.eq.{project.id})", f"{project.id})", "x", "*", f"{uuid4()},{project.id}"):
        with pytest.raises(DatabaseRefused):
            await members.require(principal(project.token), odd)


async def test_a_token_that_the_database_does_not_take_is_invalid(
    members: Members, project: Project, stack: StackFacts
) -> None:
    claims = {"sub": project.user_id, "role": "authenticated", "aud": "authenticated"}
    expired = jwt.encode({**claims, "exp": int(time.time()) - 600}, stack.jwt_secret, algorithm="HS256")
    assert (await refused(members, expired, project.id))[:2] == (401, "invalid_token")


async def test_the_publishable_key_alone_opens_nothing(members: Members, project: Project, stack: StackFacts) -> None:
    assert (await refused(members, stack.publishable_key, project.id))[0] == 401


async def test_a_publishable_key_that_the_gateway_does_not_know_is_the_services_fault(
    client: httpx.AsyncClient, stack: StackFacts, project: Project
) -> None:
    with pytest.raises(DatabaseRefused, match="Invalid API key"):
        await Members(Rest(client, stack.supabase_url, "sb_publishable_wrong"), time.monotonic).require(
            principal(project.token), project.id
        )


async def test_a_database_that_is_not_there_is_unavailable(client: httpx.AsyncClient) -> None:
    members = Members(Rest(client, f"http://127.0.0.1:{unused_port()}", "k"), time.monotonic)
    with pytest.raises(DatabaseUnavailable, match="projects"):
        await members.require(principal("t"), PROJECT)


ANSWERS = {
    "the row": (200, [ROW], None),
    "a row without its organization": (200, [{"id": PROJECT}], DatabaseUnavailable),
    "a row of no organization": (200, [{**ROW, "organization_id": None}], None),
    "a row whose organization is a number": (200, [{**ROW, "organization_id": 7}], None),
    "no row": (200, [], ApiError),
    "another row": (200, [{**ROW, "id": str(uuid4())}], DatabaseUnavailable),
    "two rows": (200, [ROW, ROW], DatabaseUnavailable),
    "an object": (200, {"message": "hello"}, DatabaseUnavailable),
    "true": (200, True, DatabaseUnavailable),
    "null": (200, None, DatabaseUnavailable),
    "an empty object": (200, {}, DatabaseUnavailable),
    "the row, but created": (201, [ROW], DatabaseUnavailable),
    "no JSON": (200, "<html>please sign in to the network</html>", DatabaseUnavailable),
    "an empty answer": (204, "", DatabaseUnavailable),
    "a token refused": (401, {"code": "PGRST301", "message": "JWT"}, ApiError),
    "the gateway's refusal": (401, {"message": "Invalid API key"}, DatabaseRefused),
    "a missing grant": (403, {"code": "42501", "message": "permission denied"}, DatabaseRefused),
    "a missing table": (404, {"code": "PGRST205", "message": "no projects"}, DatabaseRefused),
    "too many requests": (429, {"message": "slow down"}, DatabaseUnavailable),
    "a failure": (500, {"message": "oops"}, DatabaseUnavailable),
    "a proxy's failure": (502, "<html>Bad Gateway</html>", DatabaseUnavailable),
    "a paused project": (540, {"message": "Project paused"}, DatabaseUnavailable),
    "a redirect": (302, [ROW], DatabaseUnavailable),
}


@pytest.mark.parametrize(("status", "body", "raises"), ANSWERS.values(), ids=ANSWERS)
async def test_nothing_but_the_row_itself_lets_anybody_in(
    client: httpx.AsyncClient, status: int, body: object, raises: type[Exception] | None
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return (
            web.Response(text=body, status=status) if isinstance(body, str) else web.json_response(body, status=status)
        )

    app = web.Application()
    app.router.add_get("/rest/v1/projects", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        members = Members(Rest(client, f"http://127.0.0.1:{runner.addresses[0][1]}", "k"), time.monotonic)
        if raises is None:
            await members.require(principal("t"), PROJECT)
        else:
            with pytest.raises(raises):
                await members.require(principal("t"), PROJECT)
    finally:
        await runner.cleanup()


class Clock:
    """Monotonic seconds in the test's hands."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def counted(answers: list[httpx.Response]) -> tuple[Members, list[str], Clock]:
    """Members before a server that gives ``answers`` in turn, and what it was asked."""
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["Authorization"])
        await asyncio.sleep(0)
        return answers.pop(0)

    clock = Clock()
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return Members(Rest(client, "http://rest.test", "k"), clock), asked, clock


def yes() -> httpx.Response:
    return httpx.Response(200, json=[ROW])


async def test_all_who_ask_the_same_at_once_share_one_question() -> None:
    members, asked, _ = await counted([yes()])
    await asyncio.gather(*(members.require(principal("t"), PROJECT) for _ in range(100)))
    assert asked == ["Bearer t"]


async def test_a_yes_holds_for_seconds_and_for_its_token_alone() -> None:
    members, asked, clock = await counted([yes(), yes(), yes()])
    await members.require(principal("t"), PROJECT)
    clock.now += TRUST_SECONDS - 0.1
    await members.require(principal("t"), PROJECT)
    assert len(asked) == 1
    await members.require(principal("other"), PROJECT)
    assert len(asked) == 2
    clock.now += 0.2
    await members.require(principal("t"), PROJECT)
    assert len(asked) == 3


async def test_a_no_is_asked_again() -> None:
    members, asked, _ = await counted([httpx.Response(200, json=[]), httpx.Response(503, json={}), yes()])
    with pytest.raises(ApiError):
        await members.require(principal("t"), PROJECT)
    with pytest.raises(DatabaseUnavailable):
        await members.require(principal("t"), PROJECT)
    await members.require(principal("t"), PROJECT)
    assert len(asked) == 3


async def test_one_token_asks_so_many_questions_at_once_and_others_are_not_held_up() -> None:
    gate = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        await gate.wait()
        return httpx.Response(200, json=[])

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        members = Members(Rest(client, "http://rest.test", "k"), time.monotonic)
        asking = [
            asyncio.ensure_future(members.require(principal("t"), str(uuid4()))) for _ in range(QUESTIONS_AT_ONCE)
        ]
        await asyncio.sleep(0)
        for _ in range(3):
            with pytest.raises(LimitReached) as raised:
                await members.require(principal("t"), str(uuid4()))
            assert (raised.value.status, raised.value.code, raised.value.limit) == (429, "rate_limited", "questions")
        other = asyncio.ensure_future(members.require(principal("other"), PROJECT))
        gate.set()
        for question in [*asking, other, asyncio.ensure_future(members.require(principal("t"), PROJECT))]:
            with pytest.raises(ApiError, match="No such project"):
                await question
        assert not members._under_way


async def test_one_who_leaves_does_not_take_the_answer_from_the_others() -> None:
    members, asked, _ = await counted([yes()])
    first, second = (asyncio.ensure_future(members.require(principal("t"), PROJECT)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert len(asked) == 1


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRUSTED_LIMIT", 3)
    members, asked, _ = await counted([yes() for _ in range(6)])
    for token in ("a", "b", "c", "d", "d", "a"):
        await members.require(principal(token), PROJECT)
    assert asked == ["Bearer a", "Bearer b", "Bearer c", "Bearer d", "Bearer a"]


async def test_an_answer_that_took_too_long_to_be_trusted_lets_in_and_is_not_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    members, asked, clock = await counted([yes(), yes()])
    asking = asyncio.ensure_future(members.require(principal("t"), PROJECT))
    await asyncio.sleep(0)
    clock.now += TRUST_SECONDS + 1
    assert (await asking).project_id == PROJECT
    await members.require(principal("t"), PROJECT)
    assert len(asked) == 2
    assert caplog.records == []


@given(st.lists(st.floats(0, 3 * TRUST_SECONDS), min_size=1, max_size=30))
def test_however_the_clock_leaps_no_answer_is_trusted_for_longer(leaps: list[float]) -> None:
    async def live() -> None:
        members, asked, clock = await counted([yes() for _ in leaps])
        answered_at = -math.inf
        for leap in leaps:
            clock.now += leap
            before = len(asked)
            await members.require(principal("t"), PROJECT)
            if len(asked) > before:
                answered_at = clock.now
            assert clock.now - answered_at <= TRUST_SECONDS

    asyncio.run(live())
