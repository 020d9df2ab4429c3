"""A stream of several projects, or BOMs, over a real socket: whose each message is, and where a page goes on."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from service.events import enrichment
from service.events import project as project_feed
from service.events.enrichment import EnrichmentFeed
from service.events.feed import Feed
from service.events.model import Live, Message, Reauth, Reset, StreamEnd, StreamError
from service.events.project import ProjectFeed
from service.events.wire import Encoded
from service.streams.merged import Merged, Part
from service.streams.several import Several, keyed
from tests.conftest import StackFacts
from tests.service.conftest import ADMIN_TOKEN, Project, add_user, served, service_environment
from tests.service.pages import Page, opened


def projects(*several: Project) -> str:
    return ",".join(project.id for project in several)


def stream(service: str) -> str:
    return f"{service}/api/status"


async def begun(page: Page, *several: Project) -> None:
    """Once all are connected, in whatever order."""
    connected = [await page.until("connected") for _ in several]
    assert {message["projectId"] for message in connected} == {project.id for project in several}


async def answer(url: str, **asked: str) -> tuple[int, str, str]:
    headers = {name: asked.pop(name) for name in ("Authorization", "Last-Event-ID") if name in asked}
    async with httpx.AsyncClient() as client:
        said = await client.get(url, params=asked, headers=headers)
    return said.status_code, said.json()["error"], said.json()["message"]


async def test_every_message_says_whose_it_is_and_every_id_how_far_all_are(service: str, project: Project) -> None:
    other = project.another()
    async with opened(stream(service), project.headers, projects=projects(project, other)) as page:
        await begun(page, project, other)
        first, second = (int(part) for part in page.last_id.split("."))
        source = other.source()
        told = await page.until("status_update")
        assert (told["projectId"], told["sourceId"]) == (other.id, source)
        assert [int(part) for part in page.last_id.split(".")] == [first, told_at := int(page.last_id.split(".")[1])]
        assert told_at > second
        job = project.job()
        told = await page.until("job_update")
        assert (told["projectId"], told["jobId"]) == (project.id, job)
        assert page.last_id.split(".")[1] == str(told_at)
        assert int(page.last_id.split(".")[0]) > first


async def test_a_page_cut_anywhere_misses_nothing_of_any_project(service: str, project: Project) -> None:
    """Cut after each message in turn, while changes go on; each time it comes back with the last id that it had."""
    several = [project, project.another(), project.another()]
    query = {"projects": projects(*several), "snapshot": "1"}
    written: dict[str, list[str]] = {each.id: [] for each in several}
    told: dict[str, list[str]] = {each.id: [] for each in several}
    last = ""

    def write(number: int) -> None:
        each = several[number % 3]
        written[each.id].append(each.proposal(f"number {number}"))

    for cut in range(1, 16):
        headers = {**project.headers, **({"Last-Event-ID": last} if last else {})}
        async with opened(stream(service), headers, **query) as page:
            if not last:
                told = {each.id: [] for each in several}  # a page without an id has nothing
            write(cut)
            write(cut + 1)
            for _ in range(cut):
                if {key: set(ids) for key, ids in told.items()} == {key: set(ids) for key, ids in written.items()}:
                    break
                message = await page.next()
                if message["type"] == "snapshot":
                    told[message["projectId"]] = [row["proposalId"] for row in message["proposals"]]
                elif message["type"] == "new_proposal":
                    told[message["projectId"]].append(message["proposalId"])
            last = page.last_id or last
    async with opened(stream(service), {**project.headers, "Last-Event-ID": last}, **query) as page:
        while any(set(told[each.id]) != set(written[each.id]) for each in several):
            message = await page.next()
            if message["type"] == "new_proposal":
                told[message["projectId"]].append(message["proposalId"])
    assert last
    assert {key: sorted(ids) for key, ids in told.items()} == {key: sorted(ids) for key, ids in written.items()}


@pytest.mark.parametrize("how", ["Last-Event-ID", "since"])
async def test_each_project_goes_on_where_the_page_was_with_it(service: str, project: Project, how: str) -> None:
    other = project.another()
    async with opened(stream(service), project.headers, projects=projects(project, other)) as page:
        await begun(page, project, other)
        project.proposal("seen")
        await page.until("new_proposal")
        last = page.last_id
    missed = {project.id: project.proposal("missed"), other.id: other.proposal("missed")}
    headers = {**project.headers, **({how: last} if how == "Last-Event-ID" else {})}
    query = {"since": last} if how == "since" else {"snapshot": "1", "since": "0.0"}
    async with opened(stream(service), headers, projects=projects(project, other), **query) as page:
        told = [await page.next() for _ in range(4)]
        assert page.last_id.split(".") != last.split(".")
    connected = {message["projectId"]: message for message in told if message["type"] == "connected"}
    assert [connected[key]["revision"] for key in (project.id, other.id)] == [int(part) for part in last.split(".")]
    assert all(message["resumed"] for message in connected.values())
    proposals = {one["projectId"]: one["proposalId"] for one in told if one["type"] == "new_proposal"}
    assert proposals == missed


async def test_until_every_snapshot_is_whole_nothing_carries_an_id(service: str, project: Project) -> None:
    other = project.another()
    project.job("of the first")
    async with opened(stream(service), project.headers, projects=projects(project, other), snapshot="1") as page:
        seen: list[str] = []
        while seen.count("snapshot") < 2:
            assert page.last_id == ""
            seen.append((await page.next())["type"])
        assert [len(message["jobs"]) for message in page.messages if message["type"] == "snapshot"].count(1) == 1
        assert len(page.last_id.split(".")) == 2


async def test_a_reset_of_one_leaves_the_others_alone(service: str, project: Project) -> None:
    other = project.another()
    async with opened(stream(service), project.headers, projects=projects(project, other)) as page:
        await begun(page, project, other)
        known = page.last_id.split(".")[1]
    missed = other.proposal("missed")
    query = {"projects": projects(project, other), "since": f"1.{known}"}
    async with opened(stream(service), project.headers, **query) as page:
        while not {"reset", "snapshot", "new_proposal"} <= set(page.types):
            await page.next()
        of = {message["type"]: message for message in page.messages if message["type"] != "connected"}
        assert of["reset"]["projectId"] == of["snapshot"]["projectId"] == project.id
        assert (of["new_proposal"]["projectId"], of["new_proposal"]["proposalId"]) == (other.id, missed)
        assert page.types.count("reset") == 1
        revision, at = (int(part) for part in page.last_id.split("."))
        assert revision == of["snapshot"]["revision"]
        assert at > int(known)


async def test_a_right_that_ends_takes_its_project_alone(service: str, project: Project) -> None:
    other = project.another()
    async with opened(stream(service), project.headers, projects=projects(project, other)) as page:
        await begun(page, project, other)
        project.execute("delete from project_members where project_id = %s", other.id)
        end = await page.until("stream_end")
        assert end == {"type": "stream_end", "reason": "access_revoked", "reconnect": False, "projectId": other.id}
        other.proposal("of no concern any more")
        proposal = project.proposal("still told")
        assert (await page.until("new_proposal"))["proposalId"] == proposal
        project.execute("delete from project_members where project_id = %s", project.id)
        assert (await page.until("stream_end"))["projectId"] == project.id
        whole = await page.next()
        assert whole == {"type": "stream_end", "reason": "completed", "reconnect": False}
        with pytest.raises(StopAsyncIteration):
            await page.next()


async def test_types_and_names_are_as_for_one(service: str, project: Project) -> None:
    other = project.another()
    query = {"projects": projects(project, other), "types": "new_proposal", "events": "named"}
    async with opened(stream(service), project.headers, **query) as page:
        await begun(page, project, other)
        other.job()
        other.proposal("Tables")
        await page.until("new_proposal")
        assert page.names == ["connected", "connected", "new_proposal"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "projects must be 1 to 20"),
        ({"projects": ""}, "projects must be 1 to 20"),
        ({"projects": ",".join(str(uuid4()) for _ in range(21))}, "projects must be 1 to 20"),
        ({"projects": "x"}, "Each of projects must be a UUID"),
        ({"projects": f"{uuid4()},"}, "Each of projects must be a UUID"),
        ({"projects": f"{(twice := str(uuid4()))},{twice.upper()}"}, "projects names one twice"),
        ({"projects": f"{uuid4()},{uuid4()}", "since": "1"}, "since is wrong: the cursor of a stream of 2 is 2 ids"),
        ({"projects": f"{uuid4()},{uuid4()}", "since": "1.x"}, "since is wrong: a cursor is"),
        ({"projects": f"{uuid4()},{uuid4()}", "Last-Event-ID": "1.2.3"}, "Last-Event-ID is wrong"),
        ({"projects": str(uuid4()), "types": "x"}, "types names x"),
        ({"projects": str(uuid4()), "snapshot": "yes"}, "snapshot must be"),
    ],
)
async def test_what_makes_no_sense_is_named(service: str, project: Project, asked: dict[str, str], says: str) -> None:
    status, code, message = await answer(stream(service), **asked, Authorization=f"Bearer {project.token}")
    assert (status, code) == (400, "bad_request")
    assert message.startswith(says)


async def test_one_that_is_not_the_callers_refuses_all_and_is_not_named(
    service: str, project: Project, stack: StackFacts
) -> None:
    _, stranger = add_user(project.database, stack)
    other = project.another()
    for token, foreign in ((project.token, str(uuid4())), (stranger, other.id)):
        status, code, message = await answer(
            stream(service), projects=f"{project.id},{foreign}", Authorization=f"Bearer {token}"
        )
        assert (status, code) == (404, "not_found")
        assert message.startswith("projects names")
        assert foreign not in message


async def test_a_ticket_for_several_opens_them_and_no_other(service: str, project: Project) -> None:
    other, third = project.another(), project.another()
    async with httpx.AsyncClient(headers=project.headers) as client:

        async def ticket(*several: Project) -> str:
            said = await client.post(f"{service}/api/stream-tickets", params={"projects": projects(*several)})
            assert said.status_code == 201
            assert said.headers["Cache-Control"] == "no-store"
            return str(said.json()["ticket"])

        query = {"projects": projects(project, other), "ticket": await ticket(project, other)}
        async with opened(stream(service), **query) as page:
            await begun(page, project, other)
        assert (await answer(stream(service), **query))[:2] == (401, "invalid_token")
        query = {"projects": projects(project, third), "ticket": await ticket(project, other)}
        assert (await answer(stream(service), **query))[:2] == (401, "invalid_token")
        foreign = await client.post(f"{service}/api/stream-tickets", params={"projects": f"{project.id},{uuid4()}"})
        assert (foreign.status_code, foreign.json()["error"]) == (404, "not_found")
        unsigned = await client.post(
            f"{service}/api/stream-tickets", params={"projects": project.id}, headers={"Authorization": ""}
        )
        assert unsigned.status_code == 401


async def test_it_counts_once_for_its_user_and_address_and_once_for_each_project(
    stack: StackFacts, project: Project
) -> None:
    other = project.another()
    limits = {"ROWCAST_STREAMS_PER_USER": "2", "ROWCAST_STREAMS_PER_PROJECT": "1"}
    with served({**service_environment(stack), **limits}) as url:
        bearer = {"Authorization": f"Bearer {project.token}"}
        async with opened(stream(url), project.headers, projects=projects(project, other)) as page:
            await begun(page, project, other)
            assert (await answer(stream(url), projects=other.id, **bearer))[:2] == (429, "too_many_streams")
            third = project.another()
            async with opened(stream(url), project.headers, projects=third.id) as second:
                await begun(second, third)
                fourth = project.another()
                _, _, message = await answer(stream(url), projects=fourth.id, **bearer)
                assert message.startswith("This user has")
        while (await head(f"{stream(url)}?projects={projects(project, other)}", project)) != httpx.codes.OK:
            await asyncio.sleep(0.02)


async def head(url: str, project: Project) -> int:
    async with httpx.AsyncClient() as client, client.stream("GET", url, headers=project.headers) as answered:
        return answered.status_code


async def test_other_origins_may_ask_as_for_one(service: str, project: Project) -> None:
    async with httpx.AsyncClient() as client:
        for path in ("/api/status", "/api/enrichment/stream"):
            asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "GET"}
            said = await client.options(service + path, headers=asked)
            assert said.status_code == 200
            assert said.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


# BOMs


def boms(service: str) -> str:
    return f"{service}/api/enrichment/stream"


async def test_boms_end_one_by_one_and_with_the_last_the_stream(service: str, project: Project) -> None:
    first, second = project.bom("a"), project.bom("b")
    runs = [project.start(first), project.start(second)]
    query = {"boms": f"{first},{second}"}
    async with opened(boms(service), project.headers, **query) as page:
        connected = [await page.next() for _ in range(2)]
        assert {message["bom_id"] for message in connected} == {first, second}
        runs[1].all()
        end = await page.until("stream_end")
        assert end == {"type": "stream_end", "reason": "enrichment.completed", "reconnect": False, "bom_id": second}
        assert page.names[-2:] == ["enrichment.completed", "stream_end"]
        between = page.last_id
        runs[0].all()
        assert (await page.until("stream_end"))["bom_id"] == first
        last = page.last_id
        assert await page.next() == {"type": "stream_end", "reason": "completed", "reconnect": False}
        assert {message["bom_id"] for message in page.messages[:-1]} == {first, second}
    async with opened(boms(service), {**project.headers, "Last-Event-ID": between}, **query) as page:
        told: dict[str, list[str]] = {first: [], second: []}
        while (message := await page.next()).get("bom_id"):
            told[message["bom_id"]].append(page.names[-1])
        assert told[second] == ["connected", "stream_end"]
        assert told[first][-2:] == ["enrichment.completed", "stream_end"]
        assert "enrichment.component.completed" in told[first]
    async with httpx.AsyncClient() as client:
        said = await client.get(boms(service), params=query, headers={**project.headers, "Last-Event-ID": last})
        assert said.status_code == 204


async def test_staffs_are_for_operators(service: str, project: Project) -> None:
    mine, staff = project.bom("a"), project.bom("b", source="staff")
    status, code, message = await answer(boms(service), boms=f"{mine},{staff}", Authorization=f"Bearer {project.token}")
    assert (status, code) == (404, "not_found")
    assert message.startswith("boms names")
    async with opened(boms(service), {"Authorization": f"Bearer {ADMIN_TOKEN}"}, boms=f"{mine},{staff}") as page:
        assert {(await page.next())["bom_id"] for _ in range(2)} == {mine, staff}


def models(feed: Feed) -> dict[str, type[Message]]:
    """The model of each type that a feed's streams can tell, by the modules' own classes."""
    control = {model.model_fields["type"].default: model for model in (Live, Reset, StreamError, StreamEnd, Reauth)}
    if isinstance(feed, EnrichmentFeed):
        return {
            **control,
            **dict.fromkeys(feed.types, enrichment.EnrichmentEvent),
            "connected": enrichment.EnrichmentConnected,
        }
    of_rows = {type_: model for model in vars(project_feed).values() if (type_ := type_of(model)) in feed.types}
    return {**control, **of_rows, "connected": project_feed.ProjectConnected}


def type_of(model: object) -> str | None:
    is_message = isinstance(model, type) and issubclass(model, Message) and model is not Message
    return model.model_fields["type"].default if is_message else None


@pytest.mark.parametrize(("feed", "field"), [(ProjectFeed(), "project_id"), (EnrichmentFeed(), "bom_id")])
def test_a_feed_knows_which_of_its_messages_name_their_key(feed: Feed, field: str) -> None:
    known = models(feed)
    assert known.keys() >= feed.types
    assert {type_ for type_, model in known.items() if field in model.model_fields} == feed.tells_key


def test_a_message_names_its_key_once() -> None:
    feed = ProjectFeed()
    assert keyed(feed, "k", Encoded("live", b'{"type":"live","live":true}')) == (
        b'{"type":"live","live":true,"projectId":"k"}'
    )
    told = Encoded("connected", b'{"projectId":"k"}')
    assert keyed(feed, "k", told) == told.data
    whole = Encoded("stream_end", b'{"type":"stream_end"}')
    assert keyed(feed, None, whole) == whole.data


async def test_of_the_keepalives_of_all_one_is_enough_and_each_moves_the_id() -> None:
    how: dict[str, Any] = {"named": False, "retry_milliseconds": 1, "keepalive_seconds": 25}
    several = Several("s", Merged([], 0, 0, 25), ProjectFeed(), ["a", "b"], [1, 2], **how)
    assert several._frame(Part("a", None, 7), is_quiet=False) == b""
    assert several._frame(Part("b", None, None), is_quiet=True) == b": keepalive\nid: 7.2\n\n"
    assert several._frame(Part("b", Encoded("live", b"{}"), None), is_quiet=False).endswith(b"}\n\n")
    assert several._frame(Part("b", Encoded("connected", b"{}"), 9), is_quiet=False) == b"data: {}\nid: 7.9\n\n"
