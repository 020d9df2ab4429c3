"""Tickets used twice at the same moment, by two processes, and in other ways that they are not for."""

import asyncio
from collections import Counter
from uuid import uuid4

import httpx

from tests.conftest import StackFacts
from tests.service.adversary.witness import undisturbed
from tests.service.conftest import Project, add_user, served, service_environment

ROUNDS = 40


async def issue(client: httpx.AsyncClient, service: str, project: Project) -> str:
    answer = await client.post(f"{service}/api/projects/{project.id}/stream-tickets", headers=project.headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["ticket"])


async def opens(client: httpx.AsyncClient, service: str, path: str, ticket: str) -> int:
    async with client.stream("GET", f"{service}{path}", params={"ticket": ticket}) as answer:
        return answer.status_code


async def test_a_ticket_used_by_two_processes_at_the_same_moment_opens_one_stream(
    service: str, stack: StackFacts, project: Project
) -> None:
    """Eight times each, four by each process."""
    path = f"/api/projects/{project.id}/status"
    counts: Counter[int] = Counter()
    with served(service_environment(stack)) as other:
        async with httpx.AsyncClient(timeout=30) as client, undisturbed(service, project):
            for _ in range(ROUNDS):
                ticket = await issue(client, service, project)
                answers = await asyncio.gather(*(opens(client, url, path, ticket) for url in [service, other] * 4))
                assert sorted(answers) == [200] + [401] * 7
                counts.update(answers)
    assert counts == {200: ROUNDS, 401: 7 * ROUNDS}
    left = project.database.execute("select count(*) from stream_tickets where user_id = %s", [project.user_id])
    assert left.fetchall() == [(0,)]


async def test_a_ticket_opens_no_other_project_and_is_spent_by_the_attempt(
    service: str, stack: StackFacts, project: Project
) -> None:
    other = project.database.execute(
        "with p as (insert into projects (organization_id, name) select organization_id, 'Other' from projects "
        "where id = %s returning id) insert into project_members (project_id, user_id) select id, %s from p "
        "returning project_id::text",
        [project.id, project.user_id],
    ).fetchall()[0][0]
    bom = project.bom("a")
    async with httpx.AsyncClient(timeout=30) as client:
        for path in (f"/api/projects/{other}/status", f"/api/projects/{uuid4()}/status"):
            ticket = await issue(client, service, project)
            assert await opens(client, service, path, ticket) == 401
            assert await opens(client, service, f"/api/projects/{project.id}/status", ticket) == 401
        ticket = await issue(client, service, project)
        assert await opens(client, service, f"/api/enrichment/stream/{bom}", ticket) == 200  # of the same project
        project.execute("update boms set project_id = %s where id = %s", other, bom)
        ticket = await issue(client, service, project)
        assert await opens(client, service, f"/api/enrichment/stream/{bom}", ticket) == 401


async def test_what_was_a_right_when_a_ticket_was_issued_may_be_none_when_it_is_used(
    service: str, stack: StackFacts, project: Project
) -> None:
    user_id, token = add_user(project.database, stack)
    project.execute("insert into project_members (project_id, user_id) values (%s, %s)", project.id, user_id)
    theirs = Project(project.id, token, user_id, project.database)
    async with httpx.AsyncClient(timeout=30) as client, undisturbed(service, project):
        ticket = await issue(client, service, theirs)
        project.execute("delete from project_members where user_id = %s", user_id)
        path = f"/api/projects/{project.id}/status"
        while (status := await opens(client, service, path, ticket)) == 200:
            # within the seconds that an answer is trusted where nobody has heard of the removal yet
            ticket = await issue(client, service, theirs)
        assert status == 404
