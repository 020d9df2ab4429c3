"""Tickets as a page gets and spends them, over a real socket."""

import httpx
import pytest

from tests.conftest import StackFacts
from tests.service.conftest import Project, add_user, served, service_environment
from tests.service.pages import opened


def ask(service: str, project: Project, headers: dict[str, str] | None = None, query: str = "") -> httpx.Response:
    return httpx.post(f"{service}/api/projects/{project.id}/stream-tickets{query}", headers=headers or {})


async def test_a_ticket_opens_a_stream_once(service: str, project: Project) -> None:
    answer = ask(service, project, project.headers)
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(answer.json()) == {"ticket", "expiresIn"}
    assert answer.json()["expiresIn"] == 60
    address = f"{service}/api/projects/{project.id}/status"
    async with opened(address, ticket=answer.json()["ticket"]) as page:
        await page.until("connected")
        project.proposal("T")
        await page.until("new_proposal")
    async with httpx.AsyncClient() as client:
        spent = await client.get(address, params={"ticket": answer.json()["ticket"], "token": project.token})
    assert (spent.status_code, spent.json()["error"]) == (401, "invalid_token")


async def test_a_ticket_of_one_process_opens_a_stream_of_another(
    service: str, stack: StackFacts, project: Project
) -> None:
    with served(service_environment(stack)) as other:
        ticket = ask(other, project, project.headers).json()["ticket"]
        async with opened(f"{service}/api/projects/{project.id}/status", ticket=ticket) as page:
            await page.until("connected")


@pytest.mark.parametrize(
    ("headers", "query", "code"),
    [
        ({}, "", "missing_token"),
        ({}, "?token=x", "missing_token"),
        ({"Authorization": "Bearer x"}, "", "invalid_token"),
    ],
)
def test_only_a_header_gets_a_ticket(
    service: str, project: Project, headers: dict[str, str], query: str, code: str
) -> None:
    answer = ask(service, project, headers, query)
    assert (answer.status_code, answer.json()["error"]) == (401, code)


def test_a_stranger_gets_none(service: str, project: Project, stack: StackFacts) -> None:
    _, token = add_user(project.database, stack)
    answer = ask(service, project, {"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_a_ticket_is_for_streams_alone(service: str, project: Project) -> None:
    ticket = ask(service, project, project.headers).json()["ticket"]
    answer = httpx.get(f"{service}/api/projects/{project.id}/snapshot", params={"ticket": ticket})
    assert (answer.status_code, answer.json()["error"]) == (401, "missing_token")
