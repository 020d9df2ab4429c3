"""Who may see a row, asked of the real database; and of a server that is none."""

import time
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from service.access.belongings import Belongings, Table
from service.access.members import Members
from service.access.operators import OPERATOR
from service.access.rest import Rest
from service.access.tokens import Principal
from service.errors import ApiError, DatabaseUnavailable, Refused
from service.tables import mapped
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project, add_user

ROW_ID = str(uuid4())


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


def belongings_at(client: httpx.AsyncClient, url: str, stack: StackFacts) -> Belongings:
    members = Members(Rest(client, url, stack.publishable_key), time.monotonic)
    return Belongings(members, Rest(client, url, stack.secret_key))


@pytest.fixture
def belongings(client: httpx.AsyncClient, stack: StackFacts) -> Belongings:
    return belongings_at(client, stack.supabase_url, stack)


def user(token: str) -> Principal:
    return Principal("somebody", time.time() + 3600, token)


async def refused(belongings: Belongings, principal: Principal, row_id: str, table: Table = "boms") -> tuple[int, str]:
    with pytest.raises(ApiError) as raised:
        await belongings.project(principal, table, row_id)
    return raised.value.status, raised.value.code


async def test_a_member_sees_a_customer_s_bom_and_an_operator_every_one(
    belongings: Belongings, project: Project
) -> None:
    customer, staff = project.bom("a"), project.bom("a", source="staff")
    assert await belongings.project(user(project.token), "boms", customer) == project.id
    assert await belongings.project(OPERATOR, "boms", customer) == project.id
    assert await belongings.project(OPERATOR, "boms", staff) == project.id


@pytest.mark.parametrize("table", ["jobs", "proposed_nodes"])
async def test_so_it_is_with_rows_of_other_tables(
    belongings: Belongings, project: Project, stack: StackFacts, table: Table
) -> None:
    row = project.job() if table == "jobs" else project.proposal("a")
    _, stranger = add_user(project.database, stack)
    assert await belongings.project(user(project.token), table, row) == project.id
    assert await belongings.project(OPERATOR, table, row) == project.id
    assert await refused(belongings, user(stranger), row, table) == (404, "not_found")


async def test_what_is_hidden_is_not_there(belongings: Belongings, project: Project, stack: StackFacts) -> None:
    _, stranger = add_user(project.database, stack)
    assert await refused(belongings, user(project.token), project.bom("a", source="staff")) == (404, "not_found")
    assert await refused(belongings, user(stranger), project.bom("a")) == (404, "not_found")
    assert await refused(belongings, user(project.token), str(uuid4())) == (404, "not_found")
    assert await refused(belongings, OPERATOR, str(uuid4())) == (404, "not_found")


async def test_a_token_that_the_database_does_not_accept_is_refused(belongings: Belongings, project: Project) -> None:
    assert await refused(belongings, user(project.token[:-4] + "AAAA"), project.bom("a")) == (401, "invalid_token")


async def test_a_database_that_does_not_answer_says_nothing_of_the_bom(
    client: httpx.AsyncClient, stack: StackFacts, project: Project
) -> None:
    nowhere = belongings_at(client, f"http://127.0.0.1:{unused_port()}", stack)
    for principal in (user(project.token), OPERATOR):
        with pytest.raises(DatabaseUnavailable):
            await nowhere.project(principal, "boms", str(uuid4()))


async def test_nonsense_is_no_answer(project: Project, stack: StackFacts) -> None:
    def nonsense(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[{"id": "another", "project_id": project.id}])

    async with httpx.AsyncClient(transport=httpx.MockTransport(nonsense)) as client:
        with pytest.raises(DatabaseUnavailable, match="not an answer of the database"):
            await belongings_at(client, "http://gateway.test", stack).project(OPERATOR, "boms", str(uuid4()))


async def test_tables_and_columns_are_asked_for_as_the_database_calls_them(stack: StackFacts) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/rest/v1/tasks"
        assert dict(request.url.params) == {"task_id": f"eq.{ROW_ID}", "select": "task_id,project"}
        return httpx.Response(200, json=[{"task_id": ROW_ID, "project": "p"}])

    tables = mapped({"jobs": {"table": "tasks", "columns": {"id": "task_id", "project_id": "project"}}})
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        rest = Rest(client, "http://gateway.test", stack.secret_key)
        belongings = Belongings(Members(rest, time.monotonic), rest, tables)
        assert await belongings.project(OPERATOR, "jobs", ROW_ID) == "p"


@pytest.mark.parametrize(
    ("code", "error"), [("PGRST205", ApiError), ("42P01", ApiError), ("22P02", ApiError), ("42501", Refused)]
)
async def test_a_table_that_is_not_there_has_no_such_row(stack: StackFacts, code: str, error: type[Exception]) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"code": code, "message": "no"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(error):
            await belongings_at(client, "http://gateway.test", stack).project(OPERATOR, "boms", ROW_ID)
