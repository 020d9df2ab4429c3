"""One WebSocket: subscriptions, what they are told and where they go on, new tokens, and every ending."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from socket import SO_RCVBUF, SOL_SOCKET
from socket import socket as raw_socket
from typing import Any
from uuid import uuid4

import jwt
import pytest
from websockets.exceptions import ConnectionClosed

from service import pipeline
from service.settings import Settings
from service.streams.connection import Connection, Patience
from service.streams.services import Services
from tests.conftest import StackFacts
from tests.service.conftest import Project, add_user, service_environment
from tests.service.connections import address, request
from tests.service.fakes import until
from tests.service.pages import opened
from tests.service.proxy import faulty_proxy
from tests.service.sockets import Socket, socket
from tests.service.streams.test_websocket import metric
from tests.service.test_server import fill, serving


def token(stack: StackFacts, project: Project, seconds: float) -> str:
    """Another of the member's, good for so long."""
    claims = jwt.decode(project.token, options={"verify_signature": False})
    return jwt.encode({**claims, "exp": int(time.time() + seconds)}, stack.jwt_secret, algorithm="HS256")


async def closed(page: Socket) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as raised:
        await page.until("what never comes")
    assert raised.value.rcvd is not None
    return raised.value.rcvd.code, raised.value.rcvd.reason


async def error(page: Socket, said: Any) -> dict[str, Any]:
    await page.connection.send(said if isinstance(said, str | bytes) else json.dumps(said))
    return await page.until("error")


async def test_a_project_is_told_as_on_its_stream_with_its_id_and_revisions(service: str, project: Project) -> None:
    async with socket(service, project.token) as page:
        connected = await page.subscribed(project)
        assert connected == {
            "type": "connected", "message": "Connected to status updates", "projectId": project.id,
            "revision": connected["revision"], "resumed": False, "live": True, "exact": True,
        }  # fmt: skip
        job = project.job(progress_stage="parsing")
        progress, update = await page.next(), await page.next()
        assert (progress["type"], update["type"]) == ("progress_update", "job_update")
        assert progress["jobId"] == update["jobId"] == job
        assert progress["projectId"] == update["projectId"] == project.id
        assert progress["revision"] == connected["revision"]  # until the second, the change is not told
        assert update["revision"] > connected["revision"]


async def test_several_are_told_apart_and_one_less_leaves_the_others(service: str, project: Project) -> None:
    other = project.another()
    async with socket(service, project.token) as page:
        await page.subscribed(project)
        await page.subscribed(other)
        for each in (other, project):
            proposal = each.proposal("told")
            assert (await page.until("new_proposal", projectId=each.id))["proposalId"] == proposal
        await page.ask("unsubscribe", projectId=other.id)
        assert await page.until("unsubscribed") == {"type": "unsubscribed", "projectId": other.id}
        told = len(page.of(other))
        other.proposal("not asked for any more")
        project.proposal("still")
        await page.until("new_proposal")
        assert len(page.of(other)) == told
        assert (await page.subscribed(other, snapshot=True))["resumed"] is False
        assert len((await page.until("snapshot"))["proposals"]) == 2


async def test_cut_anywhere_it_goes_on_exactly_with_each_project(service: str, project: Project) -> None:
    """Cut after each message in turn, in the midst of changes that are told by two."""
    several = [project, project.another()]
    at: dict[str, int] = {}
    told: dict[str, dict[str, set[str]]] = {
        each.id: {"progress_update": set(), "job_update": set()} for each in several
    }
    written: dict[str, set[str]] = {each.id: set() for each in several}
    async with socket(service, project.token) as page:
        for each in several:
            at[each.id] = (await page.subscribed(each))["revision"]

    def write(number: int) -> None:
        each = several[number % 2]
        written[each.id].add(each.job(f"number {number}", progress_stage="parsing"))

    def complete() -> bool:
        return all(kind == written[key] for key, kinds in told.items() for kind in kinds.values())

    async def read(cut: float) -> None:
        async with socket(service, project.token) as page:
            for each in several:
                await page.ask("subscribe", projectId=each.id, since=at[each.id])
            while cut > 0 and not complete():
                message = await page.next()
                key = message["projectId"]
                if message["type"] in told[key]:
                    told[key][message["type"]].add(message["jobId"])
                assert message["revision"] >= at[key]
                at[key] = message["revision"]
                cut -= 1
            page.cut()

    for number in range(1, 13):
        write(number)
        write(number + 1)
        await read(number)
    await read(float("inf"))
    assert complete()


async def test_a_reset_of_one_leaves_the_others_alone(service: str, project: Project) -> None:
    other = project.another()
    async with socket(service, project.token) as page:
        await page.subscribed(other)
        await page.ask("subscribe", projectId=project.id, since=1)
        snapshot = await page.until("snapshot")
        assert page.of(project) == ["connected", "reset", "snapshot"]
        assert snapshot["revision"] > 1
        proposal = other.proposal("told")
        assert (await page.until("new_proposal"))["proposalId"] == proposal


async def test_a_right_that_ends_takes_its_project_alone(service: str, project: Project) -> None:
    other = project.another()
    async with socket(service, project.token) as page:
        await page.subscribed(project)
        await page.subscribed(other)
        project.execute("delete from project_members where project_id = %s", other.id)
        end = await page.until("stream_end")
        assert (end["reason"], end["reconnect"], end["projectId"]) == ("access_revoked", False, other.id)
        await page.ask("subscribe", projectId=other.id)
        assert (await page.until("error"))["code"] == "not_found"
        project.proposal("still")
        assert (await page.until("new_proposal"))["projectId"] == project.id


async def test_types_narrow_one_subscription(service: str, project: Project) -> None:
    other = project.another()
    async with socket(service, project.token) as page:
        await page.subscribed(project, types=["new_proposal"])
        await page.subscribed(other)
        for each in (project, other):
            each.job()
            each.proposal("Tables")
        await page.until("new_proposal", projectId=other.id)
        if "new_proposal" not in page.of(project):
            await page.until("new_proposal", projectId=project.id)
        assert page.of(project) == ["connected", "new_proposal"]
        assert page.of(other) == ["connected", "job_update", "new_proposal"]


async def test_a_new_token_goes_on_without_a_new_connection(service: str, stack: StackFacts, project: Project) -> None:
    async with socket(service, query=f"?token={token(stack, project, 50)}") as page:
        first = await page.until("reauth")
        await page.subscribed(project)
        assert "projectId" not in first
        renewed = await page.authenticated(token(stack, project, 3600))
        assert renewed["expiresAt"] > first["expiresAt"]
        proposal = project.proposal("still")
        assert (await page.until("new_proposal"))["proposalId"] == proposal
        assert page.of(project) == ["connected", "new_proposal"]
        _, stranger = add_user(project.database, stack)
        refused = await error(page, {"op": "auth", "token": stranger})
        assert (refused["code"], refused["op"]) == ("forbidden", "auth")
        assert (await error(page, {"op": "auth", "token": "x.y.z"}))["code"] == "invalid_token"
        project.proposal("and still")
        await page.until("new_proposal")


async def test_what_a_new_token_no_longer_opens_ends_alone(service: str, stack: StackFacts, project: Project) -> None:
    """The database says so to the new one at once, whoever told what of the old."""
    async with socket(service, project.token) as page:
        await page.subscribed(project)
        project.execute("delete from project_members where project_id = %s", project.id)
        await page.authenticated(token(stack, project, 1800))
        if "stream_end" not in page.of(project):
            await page.until("stream_end", projectId=project.id)


async def test_a_token_that_ends_ends_it_all(service: str, stack: StackFacts, project: Project) -> None:
    async with socket(service, token(stack, project, 4)) as page:
        await page.subscribed(project)
        end = await page.until("stream_end")
        assert end == {"type": "stream_end", "reason": "token_expired", "reconnect": True}
        assert await closed(page) == (4401, "token_expired")


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("x", "a message must be JSON."),
        ("[" * 60_000, "a message must be JSON."),
        (b"{}", "a message must be text, not binary."),
        ("[]", "a message must be a JSON object"),
        ({}, "op must be one of: auth, subscribe, unsubscribe."),
        ({"op": "x"}, "op must be one of"),
        ({"op": ["auth"]}, "op must be one of"),
        ({"op": "auth"}, "token must be an access token."),
        ({"op": "auth", "token": 1}, "token must be"),
        ({"op": "auth", "token": "\ud800"}, "token must be"),
        ({"op": "subscribe"}, "projectId must be a UUID like"),
        ({"op": "subscribe", "projectId": "x"}, "projectId must be"),
        ({"op": "subscribe", "projectId": [str(uuid4())]}, "projectId must be"),
        ({"op": "subscribe", "projectId": str(uuid4()), "since": -1}, "since must be"),
        ({"op": "subscribe", "projectId": str(uuid4()), "since": 2**53}, "since must be"),
        ({"op": "subscribe", "projectId": str(uuid4()), "since": True}, "since must be"),
        ({"op": "subscribe", "projectId": str(uuid4()), "since": "1.2"}, "since must be"),
        ({"op": "subscribe", "projectId": str(uuid4()), "snapshot": "yes"}, "snapshot must be"),
        ({"op": "subscribe", "projectId": str(uuid4()), "types": "job_update"}, "types must be"),
        ({"op": "subscribe", "projectId": str(uuid4()), "types": ["\ud800"]}, "types must be"),
        ({"op": "subscribe", "projectId": str(uuid4()), "types": ["x"]}, "types names x; it takes one or more of"),
        ({"op": "subscribe", "projectId": str(uuid4()), "types": []}, "types names nothing"),
        ({"op": "unsubscribe", "projectId": str(uuid4())}, "There is no subscription to this project."),
    ],
)
async def test_what_makes_no_sense_is_named_and_nothing_ends(
    service: str, project: Project, said: Any, says: str
) -> None:
    async with socket(service, project.token) as page:
        told = await error(page, said)
        assert told["code"] == "bad_request"
        assert told["message"].startswith(says)
        await page.subscribed(project)


async def test_who_asks_says_first_who_it_is_and_only_for_its_own(
    service: str, stack: StackFacts, project: Project
) -> None:
    _, stranger = add_user(project.database, stack)
    async with socket(service) as page:
        asked = {"op": "subscribe", "projectId": project.id}
        told = await error(page, asked)
        assert (told["code"], told["op"], told["projectId"]) == ("missing_token", "subscribe", project.id)
        assert (await error(page, {**asked, "token": stranger}))["code"] == "not_found"
        assert (await error(page, {**asked, "projectId": str(uuid4())}))["code"] == "not_found"
        assert (await error(page, {**asked, "token": project.token}))["code"] == "forbidden"
    async with socket(service) as page:
        await page.subscribed(project, token=project.token)
        assert (await error(page, asked))["code"] == "conflict"


async def test_twenty_subscriptions_and_no_more(service: str, project: Project) -> None:
    several = [project.another() for _ in range(20)]
    async with socket(service, project.token) as page:
        for each in several:
            await page.subscribed(each)
        told = await error(page, {"op": "subscribe", "projectId": project.id})
        assert (told["code"], told["retryAfter"]) == ("too_many_streams", 10)
        await page.ask("unsubscribe", projectId=several[0].id)
        await page.subscribed(project)


async def test_who_asks_without_end_is_shown_out(service: str, project: Project) -> None:
    async with socket(service, project.token) as page:
        await page.subscribed(project)
        for _ in range(Patience().ops_per_minute - 2):  # two were asked to begin with
            await page.ask("unsubscribe", projectId=str(uuid4()))
            await page.until("error", code="bad_request")
        await page.ask("unsubscribe", projectId=str(uuid4()))
        told = await page.until("error", code="rate_limited")
        assert told["retryAfter"] == 10
        assert await page.next() == {"type": "stream_end", "reason": "error", "reconnect": True}
        assert await closed(page) == (4429, "error")


async def test_a_stop_is_told_first_also_to_who_has_subscribed_to_nothing(
    stack: StackFacts, project: Project, tmp_path: Path
) -> None:
    with serving(stack, tmp_path) as (url, process, log):
        async with socket(url, project.token) as page, socket(url) as idle:
            await page.subscribed(project)
            process.send_signal(signal.SIGTERM)
            for each in (page, idle):
                assert await each.until("stream_end") == {"type": "stream_end", "reason": "shutdown", "reconnect": True}
                assert await closed(each) == (1001, "shutdown")
        assert await asyncio.to_thread(process.wait, 5) == 0
        text = log.read_text()
        assert "Traceback" not in text
        assert "not everything has ended" not in text


HANDSHAKE = (
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: rowcast.v1",
)  # fmt: skip


async def test_whoever_takes_nothing_is_cut_and_loses_its_place(
    stack: StackFacts, project: Project, tmp_path: Path
) -> None:
    with serving(stack, tmp_path, ROWCAST_STUCK_SECONDS="1", ROWCAST_OUTBOX_BYTES=str(64 << 20)) as (url, _, log):
        with raw_socket() as stopped:
            stopped.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
            stopped.connect(address(url))
            stopped.sendall(request("/api/ws", project.token, *HANDSHAKE))
            assert (await asyncio.to_thread(stopped.recv, 12)).endswith(b" 101")
            said = json.dumps({"op": "subscribe", "projectId": project.id}).encode()
            stopped.sendall(b"\x81" + bytes([0x80 | len(said)]) + bytes(4) + said)
            async with opened(f"{url}/api/projects/{project.id}/status", project.headers) as page:
                await page.until("connected")
                while await metric(url, 'rowcast_streams_open{feed="project"}') < 2:
                    await asyncio.sleep(0.01)
                await fill(project, page)
                while await metric(url, 'rowcast_streams_open{feed="project"}') > 1:
                    await asyncio.sleep(0.05)
        assert "Traceback" not in log.read_text()


# In this process, where a test holds both ends


class Wire:
    """A connection without a network. Nothing is written while ``flowing`` is clear."""

    def __init__(self, services: Services, **patience: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self.code: int | None = None
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.connection = Connection(services, None, ExitStack(), Patience(**patience))
        self._running = asyncio.ensure_future(self.connection.run(self._heard.get, self._send))  # type: ignore[arg-type]

    async def _send(self, event: Any) -> None:
        await self.flowing.wait()
        if event["type"] == "websocket.close":
            self.code = event["code"]
        else:
            self.sent.append(json.loads(event["text"]))

    def ask(self, op: str, **fields: Any) -> None:
        self._heard.put_nowait({"type": "websocket.receive", "text": json.dumps({"op": op, **fields})})

    async def until(self, type_: str) -> dict[str, Any]:
        await until(lambda: any(message["type"] == type_ for message in self.sent) or self._running.done())
        return [message for message in self.sent if message["type"] == type_][-1]

    async def over(self) -> None:
        await self._running

    async def leave(self) -> None:
        self._heard.put_nowait({"type": "websocket.disconnect"})
        await self._running


@asynccontextmanager
async def services(stack: StackFacts, **environment: str) -> AsyncIterator[Services]:
    async with pipeline.running(Settings.from_environment({**service_environment(stack), **environment})) as running:
        yield running.services


async def test_who_does_not_say_who_it_is_in_time_is_shown_out(stack: StackFacts) -> None:
    async with services(stack) as parts:
        wire = Wire(parts, auth_seconds=0.01)
        await wire.over()
        assert [message["type"] for message in wire.sent] == ["error", "stream_end"]
        assert wire.sent[0]["code"] == "missing_token"
        assert wire.sent[1] == {"type": "stream_end", "reason": "error", "reconnect": True}
        assert wire.code == 4401


async def test_a_quiet_project_says_how_far_it_is(stack: StackFacts, project: Project) -> None:
    async with services(stack, ROWCAST_KEEPALIVE_SECONDS="0.05") as parts:
        wire = Wire(parts)
        wire.ask("subscribe", projectId=project.id, token=project.token)
        connected = await wire.until("connected")
        said = await wire.until("keepalive")
        assert said == {"type": "keepalive", "projectId": project.id, "revision": connected["revision"]}
        project.execute("update project_members set role = 'editor' where project_id = %s", project.id)  # tells nothing
        while (await wire.until("keepalive"))["revision"] == connected["revision"]:
            wire.sent.clear()
        await wire.leave()


async def test_whoever_reads_nothing_is_told_the_newest_or_that_it_is_too_slow(
    stack: StackFacts, project: Project
) -> None:
    async with services(stack, ROWCAST_OUTBOX_BYTES="16384") as parts:
        wire = Wire(parts)
        wire.ask("subscribe", projectId=project.id, token=project.token)
        await wire.until("connected")
        wire.flowing.clear()
        for number in range(100):
            project.proposal(f"number {number}")
        (topic,) = parts.hub._topics.values()
        await until(lambda: any(viewer.ending for viewer in topic.viewers))
        wire.flowing.set()
        await wire.over()
        assert wire.sent[-1] == {"type": "stream_end", "reason": "too_slow", "reconnect": True}
        assert wire.code == 4408
        assert parts.hub.viewers == 0


async def test_while_the_database_is_away_nothing_opens_and_nothing_ends(stack: StackFacts, project: Project) -> None:
    async with faulty_proxy(stack.supabase_url) as proxy, services(stack, SUPABASE_URL=proxy.url) as parts:
        wire = Wire(parts)
        wire.ask("subscribe", projectId=project.id, token=project.token)
        await wire.until("connected")
        proxy.refused.add("rest")
        proxy.cut("rest")
        other = project.another()
        wire.ask("subscribe", projectId=other.id)
        refused = await wire.until("error")
        assert (refused["code"], refused["op"], refused["projectId"]) == (
            "upstream_unavailable", "subscribe", other.id,
        )  # fmt: skip
        wire.sent.clear()
        wire.ask("auth", token=token(stack, project, 1800))
        assert (await wire.until("error"))["op"] == "auth"
        proxy.refused.clear()
        wire.ask("auth", token=token(stack, project, 1800))
        await wire.until("authenticated")
        project.proposal("still")
        await wire.until("new_proposal")
        await wire.leave()


async def test_whoever_leaves_leaves_nothing(stack: StackFacts, project: Project) -> None:
    async with services(stack, ROWCAST_STREAMS_PER_USER="1", ROWCAST_STREAMS_PER_PROJECT="1") as parts:
        for _ in range(3):
            wire = Wire(parts)
            wire.ask("subscribe", projectId=project.id, token=project.token)
            wire.ask("subscribe", projectId=project.another().id)
            await wire.until("connected")
            await wire.leave()
            wire.connection._held.close()
            assert parts.hub.viewers == 0
            assert not parts.rights._projects
