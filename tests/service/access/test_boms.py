"""Who may see a BOM, asked of the real database; and of a server that is none."""

import time
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from service.access.boms import Boms
from service.access.members import Members
from service.access.operators import OPERATOR
from service.access.rest import Rest
from service.access.tokens import Principal
from service.errors import ApiError, DatabaseUnavailable
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project, add_user


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


def boms_at(client: httpx.AsyncClient, url: str, stack: StackFacts) -> Boms:
    members = Members(Rest(client, url, stack.publishable_key), time.monotonic)
    return Boms(members, Rest(client, url, stack.secret_key))


@pytest.fixture
def boms(client: httpx.AsyncClient, stack: StackFacts) -> Boms:
    return boms_at(client, stack.supabase_url, stack)


def user(token: str) -> Principal:
    return Principal("somebody", time.time() + 3600, token)


async def refused(boms: Boms, principal: Principal, bom_id: str) -> tuple[int, str]:
    with pytest.raises(ApiError) as raised:
        await boms.project(principal, bom_id)
    return raised.value.status, raised.value.code


async def test_a_member_sees_a_customer_s_bom_and_an_operator_every_one(boms: Boms, project: Project) -> None:
    customer, staff = project.bom("a"), project.bom("a", source="staff")
    assert await boms.project(user(project.token), customer) == project.id
    assert await boms.project(OPERATOR, customer) == project.id
    assert await boms.project(OPERATOR, staff) == project.id


async def test_what_is_hidden_is_not_there(boms: Boms, project: Project, stack: StackFacts) -> None:
    _, stranger = add_user(project.database, stack)
    assert await refused(boms, user(project.token), project.bom("a", source="staff")) == (404, "not_found")
    assert await refused(boms, user(stranger), project.bom("a")) == (404, "not_found")
    assert await refused(boms, user(project.token), str(uuid4())) == (404, "not_found")
    assert await refused(boms, OPERATOR, str(uuid4())) == (404, "not_found")


async def test_a_token_that_the_database_does_not_accept_is_refused(boms: Boms, project: Project) -> None:
    assert await refused(boms, user(project.token[:-4] + "AAAA"), project.bom("a")) == (401, "invalid_token")


async def test_a_database_that_does_not_answer_says_nothing_of_the_bom(
    client: httpx.AsyncClient, stack: StackFacts, project: Project
) -> None:
    nowhere = boms_at(client, f"http://127.0.0.1:{unused_port()}", stack)
    for principal in (user(project.token), OPERATOR):
        with pytest.raises(DatabaseUnavailable):
            await nowhere.project(principal, str(uuid4()))


async def test_nonsense_is_no_answer(project: Project, stack: StackFacts) -> None:
    def nonsense(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[{"id": "another", "project_id": project.id}])

    async with httpx.AsyncClient(transport=httpx.MockTransport(nonsense)) as client:
        with pytest.raises(DatabaseUnavailable, match="not an answer of the database"):
            await boms_at(client, "http://gateway.test", stack).project(OPERATOR, str(uuid4()))
