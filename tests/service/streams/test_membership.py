"""What happens to a project's members happens to their streams: the row is heard, the database is asked."""

import asyncio
from collections.abc import Collection, Sequence
from uuid import uuid4

import httpx
import pytest

from service.changes.change import Change, FeedKey, Op
from service.streams.membership import MembershipWatch
from tests.conftest import StackFacts
from tests.service.conftest import ADMIN_TOKEN, Project, add_user, served, service_environment
from tests.service.pages import opened
from tests.service.test_metrics import samples

PROJECT = FeedKey("project", "11111111-1111-4111-8111-111111111111")
REVOKED = {"type": "stream_end", "reason": "access_revoked", "reconnect": False}


class Told:
    """Rights and a sink that write down what they are told, in order."""

    def __init__(self) -> None:
        self.words: list[object] = []

    def members_changed(self, project_id: str, user_ids: Collection[str] | None) -> None:
        self.words.append((project_id, None if user_ids is None else sorted(user_ids)))

    def bom_changed(self, bom_id: str) -> None:
        self.words.append(("BOM", bom_id))

    def changes(self, key: FeedKey, changes: Sequence[Change]) -> None:
        self.words.append([change.revision for change in changes])

    def live(self, key: FeedKey, live: bool, reason: str) -> None:
        self.words.append(("live", live, reason))

    def lost(self, key: FeedKey, head: int, reason: str) -> None:
        self.words.append(("lost", head, reason))


def change(revision: int, op: Op, table: str = "project_members", changed: Collection[str] = ()) -> Change:
    row = None if op == "D" else {"user_id": f"user {revision}", "role": "viewer"}
    return Change(revision, revision - 1, table, "m", op, frozenset(changed), row, "")


@pytest.mark.parametrize(
    ("changes", "heard"),
    [
        ([change(1, "I")], [["user 1"]]),
        ([change(1, "U", changed=["role"]), change(2, "I")], [["user 1", "user 2"]]),
        ([change(1, "D")], [[], None]),
        ([change(1, "U", changed=["user_id"])], [["user 1"], None]),  # whose it was before, nobody knows
        ([change(1, "D"), change(2, "I"), change(3, "U", "jobs")], [["user 2"], None]),
        ([change(1, "D", "jobs"), change(2, "I", "ingestion_sources")], []),
    ],
)
def test_members_that_change_are_asked_about_and_everything_is_passed_on(
    changes: list[Change], heard: list[list[str] | None]
) -> None:
    told = Told()
    MembershipWatch(told, told).changes(PROJECT, changes)  # type: ignore[arg-type]
    revisions = [change.revision for change in changes]
    assert told.words == [*((PROJECT.key, users) for users in heard), revisions]


BOM = FeedKey("enrichment", PROJECT.key)


@pytest.mark.parametrize(
    ("changes", "heard"),
    [
        ([change(1, "U", "boms", ["project_id", "status"])], True),
        ([change(1, "U", "boms", ["status", "enriched_items"]), change(2, "I", "enrichment_events")], False),
        ([change(1, "I", "boms")], False),  # nobody looks at it yet
        ([change(1, "D")], False),  # a table of that name in another feed is another table
    ],
)
def test_a_bom_that_others_may_see_now_is_asked_about(changes: list[Change], heard: bool) -> None:
    told = Told()
    MembershipWatch(told, told).changes(BOM, changes)  # type: ignore[arg-type]
    assert told.words == [*([("BOM", BOM.key)] if heard else []), [change.revision for change in changes]]


def test_what_was_lost_may_have_been_the_boms() -> None:
    told = Told()
    MembershipWatch(told, told).lost(BOM, 7, "pruned")  # type: ignore[arg-type]
    assert told.words == [("BOM", BOM.key), ("lost", 7, "pruned")]


def test_where_changes_were_lost_nobody_knows_who_was_removed() -> None:
    told = Told()
    watch = MembershipWatch(told, told)  # type: ignore[arg-type]
    watch.live(PROJECT, False, "cut")
    watch.lost(PROJECT, 7, "pruned")
    assert told.words == [("live", False, "cut"), (PROJECT.key, None), ("lost", 7, "pruned")]


def member(project: Project, stack: StackFacts) -> tuple[str, dict[str, str]]:
    """One more member: its user's id and what it sends."""
    user_id, token = add_user(project.database, stack)
    project.execute("insert into project_members (project_id, user_id) values (%s, %s)", project.id, user_id)
    return user_id, {"Authorization": f"Bearer {token}"}


async def asked(service: str, outcome: str) -> float:
    async with httpx.AsyncClient() as client:
        counted = samples((await client.get(f"{service}/metrics")).text)
    return counted.get(f'rowcast_rights_asked_total{{outcome="{outcome}"}}', 0)


async def asked_again(service: str, before: float) -> None:
    while await asked(service, "confirmed") == before:
        await asyncio.sleep(0.02)


async def test_a_removed_members_streams_end_and_the_others_go_on(
    service: str, project: Project, stack: StackFacts
) -> None:
    address = f"{service}/api/projects/{project.id}/status"
    user_id, headers = member(project, stack)
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{service}/api/projects/{project.id}/stream-tickets", headers=headers)
    ticket = answer.json()["ticket"]
    async with (
        opened(address, project.headers) as staying,
        opened(address, headers) as first,
        opened(address, headers) as second,
        opened(address, ticket=ticket) as third,
    ):
        for page in (staying, first, second, third):
            await page.until("connected")
        project.execute("delete from project_members where user_id = %s", user_id)
        for page in (first, second, third):
            assert await page.until("stream_end") == REVOKED
            with pytest.raises(StopAsyncIteration):
                await page.next()
        project.proposal("for those who are left")
        await staying.until("new_proposal")
    async with httpx.AsyncClient() as client:
        again = await client.get(address, headers={**headers, "Last-Event-ID": str(first.ids[-1])})
    assert (again.status_code, again.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize(
    "how",
    [
        "delete from auth.users where id = '{user}'",
        "delete from projects where id = '{project}'",
        "update project_members set user_id = '{another}' where user_id = '{user}'",
        "update project_members set project_id = '{elsewhere}' where user_id = '{user}'",
    ],
)
async def test_however_a_membership_ends_its_streams_do(
    service: str, project: Project, stack: StackFacts, how: str
) -> None:
    user_id, headers = member(project, stack)
    another, _ = add_user(project.database, stack)
    elsewhere = project.database.execute(
        "insert into projects (organization_id, name) select organization_id, 'Other' from projects where id = %s "
        "returning id",
        [project.id],
    ).fetchone()
    assert elsewhere is not None
    before = await asked(service, "confirmed")
    async with opened(f"{service}/api/projects/{project.id}/status", headers) as page:
        await page.until("connected")
        await asked_again(service, before)  # the first of a project is asked soon: nothing but the row asks from now on
        project.execute(how.format(user=user_id, project=project.id, another=another, elsewhere=elsewhere[0]))
        assert await page.until("stream_end") == REVOKED


async def test_a_member_whose_role_changes_listens_on(service: str, project: Project) -> None:
    async with opened(f"{service}/api/projects/{project.id}/status", project.headers) as page:
        await page.until("connected")
        before = await asked(service, "confirmed")
        project.execute("update project_members set role = 'owner' where user_id = %s", project.user_id)
        await asked_again(service, before)
        project.proposal("T")
        await page.until("new_proposal")


async def test_a_removed_member_whom_a_deployers_policy_lets_read_listens_on(
    stack: StackFacts, project: Project
) -> None:
    """The row is the trigger, the database the judge."""
    with served(service_environment(stack)) as service:
        user_id, headers = member(project, stack)
        name = f"guests_{uuid4().hex}"
        project.execute(
            f"create policy {name} on projects for select to authenticated "
            f"using (id = '{project.id}' and auth.uid() = '{user_id}')"
        )
        try:
            async with opened(f"{service}/api/projects/{project.id}/status", headers) as page:
                await page.until("connected")
                await asked_again(service, 0)
                before = await asked(service, "confirmed")
                project.execute("delete from project_members where user_id = %s", user_id)
                await asked_again(service, before)
                project.proposal("T")
                await page.until("new_proposal")
        finally:
            project.execute(f"drop policy {name} on projects")


async def test_every_process_ends_its_own(service: str, stack: StackFacts, project: Project) -> None:
    with served(service_environment(stack)) as other:
        async with (
            opened(f"{service}/api/projects/{project.id}/status", project.headers) as here,
            opened(f"{other}/api/projects/{project.id}/status", project.headers) as there,
        ):
            for page in (here, there):
                await page.until("connected")
            project.execute("delete from project_members where user_id = %s", project.user_id)
            for page in (here, there):
                assert await page.until("stream_end") == REVOKED


async def look_at_bom(service: str, project: Project, headers: dict[str, str], statement: str, *values: str) -> None:
    """A member looks at a BOM and nothing else; what ``statement`` does ends that."""
    bom = project.bom("a")
    before = await asked(service, "confirmed")
    async with opened(f"{service}/api/enrichment/stream/{bom}", headers) as page:
        await page.until("connected")
        await asked_again(service, before)
        project.execute(statement.format(bom=bom), *values)
        assert await page.until("stream_end") == REVOKED


async def test_a_removed_members_streams_of_boms_end_too(service: str, project: Project, stack: StackFacts) -> None:
    user_id, headers = member(project, stack)
    await look_at_bom(service, project, headers, "delete from project_members where user_id = %s", user_id)


async def test_a_bom_that_moves_to_another_project_is_not_its_members_any_more(service: str, project: Project) -> None:
    other = project.database.execute(
        "insert into projects (organization_id, name) select organization_id, 'Other' from projects where id = %s "
        "returning id",
        [project.id],
    ).fetchone()
    assert other is not None
    await look_at_bom(
        service, project, project.headers, "update boms set project_id = %s where id = '{bom}'", str(other[0])
    )


async def test_an_operators_stream_of_a_bom_stays(service: str, project: Project) -> None:
    bom = project.bom("a")
    async with opened(f"{service}/api/enrichment/stream/{bom}", {"Authorization": f"Bearer {ADMIN_TOKEN}"}) as page:
        await page.until("connected")
        project.execute("delete from project_members where project_id = %s", project.id)
        project.start(bom).all()
        while "enrichment.completed" not in page.names:
            await page.next()
