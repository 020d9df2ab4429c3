"""Tickets, with the real table behind the real REST interface."""

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID, uuid4

import httpx
import pytest

from service.access.rest import Rest
from service.access.tickets import LIFETIME_SECONDS, Tickets
from service.access.tokens import Principal
from service.errors import ApiError, DatabaseUnavailable
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project


class Clock:
    """Seconds since the epoch, moved by the test."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(client: httpx.AsyncClient, stack: StackFacts, clock: Clock) -> Tickets:
    return Tickets(Rest(client, stack.supabase_url, stack.secret_key), stack.secret_key, clock)


@pytest.fixture
def principal(project: Project) -> Principal:
    return Principal(project.user_id, time.time() + 3600, project.token)


def rows(project: Project) -> list[tuple[object, ...]]:
    return project.database.execute(
        "select token_hash, user_id::text, project_ids::text[], extract(epoch from expires_at - now())::int, "
        "extract(epoch from token_exp - now())::int from stream_tickets where user_id = %s",
        [project.user_id],
    ).fetchall()


async def refused(tickets: Tickets, ticket: str) -> ApiError:
    with pytest.raises(ApiError) as raised:
        await tickets.redeem(ticket)
    assert (raised.value.status, raised.value.code) == (401, "invalid_token")
    return raised.value


async def test_a_ticket_gives_back_its_token_and_projects(
    tickets: Tickets, principal: Principal, project: Project
) -> None:
    ticket, lifetime = await tickets.issue(principal, [project.id])
    assert lifetime == LIFETIME_SECONDS
    assert await tickets.redeem(ticket) == (project.token, frozenset({project.id}))


async def test_it_does_so_once(tickets: Tickets, principal: Principal, project: Project) -> None:
    ticket, _ = await tickets.issue(principal, [project.id])
    await tickets.redeem(ticket)
    await refused(tickets, ticket)


async def test_of_many_who_redeem_it_at_once_one_succeeds(
    tickets: Tickets, principal: Principal, project: Project
) -> None:
    ticket, _ = await tickets.issue(principal, [project.id])
    outcomes = await asyncio.gather(*(tickets.redeem(ticket) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, ApiError) for outcome in outcomes) == 19
    assert outcomes.count((project.token, frozenset({project.id}))) == 1


async def test_the_database_holds_its_hash_and_nothing_that_opens_anything(
    tickets: Tickets, principal: Principal, project: Project
) -> None:
    ticket, _ = await tickets.issue(principal, [project.id])
    [(token_hash, user_id, project_ids, seconds, token_seconds)] = rows(project)
    assert token_hash == hashlib.sha256(ticket.encode()).hexdigest()
    assert (user_id, project_ids) == (project.user_id, [project.id])
    assert isinstance(seconds, int)
    assert isinstance(token_seconds, int)
    assert 0 < seconds <= LIFETIME_SECONDS < token_seconds
    await refused(tickets, str(token_hash))


async def test_it_does_not_show_its_token(tickets: Tickets, principal: Principal, project: Project) -> None:
    ticket, _ = await tickets.issue(principal, [project.id])
    again, _ = await tickets.issue(principal, [project.id])
    assert ticket != again
    content = base64.urlsafe_b64decode(ticket + "=" * (-len(ticket) % 4))
    for part in project.token.split("."):
        assert part not in ticket
        assert part.encode() not in content


async def test_a_minute_later_it_is_worthless_and_pruned(
    tickets: Tickets, principal: Principal, project: Project, clock: Clock
) -> None:
    ticket, lifetime = await tickets.issue(principal, [project.id])
    await tickets.prune()
    assert len(rows(project)) == 1
    clock.ahead = lifetime + 0.1
    await refused(tickets, ticket)
    assert await tickets.prune() >= 1
    assert rows(project) == []


async def test_it_does_not_outlive_its_token(tickets: Tickets, principal: Principal, project: Project) -> None:
    _, lifetime = await tickets.issue(replace(principal, expires_at=time.time() + 20.5), [project.id])
    assert lifetime == 20


async def test_a_token_without_an_end_in_sight_has_tickets_too(
    tickets: Tickets, principal: Principal, project: Project
) -> None:
    ticket, _ = await tickets.issue(replace(principal, expires_at=2.0**52), [project.id])
    await tickets.redeem(ticket)


async def test_another_services_ticket_is_worthless(
    client: httpx.AsyncClient, stack: StackFacts, tickets: Tickets, principal: Principal, project: Project
) -> None:
    """Its row would be found: what it was sealed with is another key."""
    theirs = Tickets(Rest(client, stack.supabase_url, stack.secret_key), "sb_secret_another", time.time)
    ticket, _ = await theirs.issue(principal, [project.id])
    await refused(tickets, ticket)
    assert len(rows(project)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda ticket: "",
        lambda ticket: "x",
        lambda ticket: "A" * 100_000,
        lambda ticket: ticket[:-1],
        lambda ticket: ticket + "A",
        lambda ticket: ("B" if ticket[0] == "A" else "A") + ticket[1:],
        lambda ticket: ticket + "=",
        lambda ticket: ticket + "\n",
        lambda ticket: f" {ticket}",
        lambda ticket: "é" + ticket[1:],
        lambda ticket: ticket.swapcase(),
    ],
)
async def test_an_altered_ticket_is_refused_and_the_true_one_still_good(
    tickets: Tickets, principal: Principal, project: Project, change
) -> None:
    ticket, _ = await tickets.issue(principal, [project.id])
    assert ticket not in (await refused(tickets, change(ticket))).message
    await tickets.redeem(ticket)


@pytest.mark.parametrize("user_id", [str(UUID(int=1)), "not-a-uuid", "' or true --"])
async def test_who_is_unknown_to_auth_gets_none(
    tickets: Tickets, principal: Principal, project: Project, user_id: str
) -> None:
    with pytest.raises(ApiError, match="not one of Supabase Auth's") as raised:
        await tickets.issue(replace(principal, user_id=user_id), [project.id])
    assert (raised.value.status, raised.value.code) == (401, "invalid_token")


async def test_a_database_that_is_not_there_is_unavailable(client: httpx.AsyncClient, principal: Principal) -> None:
    tickets = Tickets(Rest(client, f"http://127.0.0.1:{unused_port()}", "k"), "k", time.time)
    with pytest.raises(DatabaseUnavailable):
        await tickets.issue(principal, [str(uuid4())])


async def test_nonsense_instead_of_rows_is_no_answer(principal: Principal) -> None:
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda request: httpx.Response(201 if request.method == "POST" else 200, json={}))
    ) as client:
        tickets = Tickets(Rest(client, "http://rest.test", "k"), "k", time.time)
        ticket, _ = await tickets.issue(principal, [str(uuid4())])
        with pytest.raises(DatabaseUnavailable, match="stream_tickets"):
            await tickets.redeem(ticket)
