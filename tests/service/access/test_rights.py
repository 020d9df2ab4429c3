"""Rights that are held, asked about, and lost: questions to a REST interface in memory, time in the test's hands."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from service.access.belongings import Belongings
from service.access.gate import Admission, Gate
from service.access.members import Members
from service.access.rest import Rest
from service.access.rights import (
    ASK_SECONDS,
    ASKED_AT_ONCE,
    PAUSE_SECONDS,
    SOON_SECONDS,
    UNCONFIRMED_SECONDS,
    Lapse,
    Rights,
)
from service.access.tokens import Principal
from tests.service.fakes import until

P, Q = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
ORGANIZATION = "33333333-3333-4333-8333-333333333333"


@dataclass
class Database:
    """Says yes to tokens that may read, and lists members; both may differ, as a deployer's policies want it."""

    may_read: set[str] = field(default_factory=lambda: {"a", "b", "c"})
    members: set[str] = field(default_factory=lambda: {"user of a", "user of b", "user of c"})
    refuses: set[str] = field(default_factory=set)
    is_down: bool = False
    cannot_list: bool = False
    boms: dict[str, str] = field(default_factory=lambda: {Q: P})
    asked: list[str] = field(default_factory=list)
    listed: int = 0
    gate: asyncio.Event | None = None
    in_flight: int = 0
    most_in_flight: int = 0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        is_list = request.url.path.endswith("project_members")
        if is_list:
            self.listed += 1
        else:
            self.asked.append(token)
        known = token in self.may_read
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.gate is not None:
            await self.gate.wait()
        else:
            await asyncio.sleep(0)
        self.in_flight -= 1
        if self.is_down or (is_list and self.cannot_list):
            raise httpx.ConnectError("down")
        if is_list:
            return httpx.Response(200, json=[{"user_id": user} for user in sorted(self.members)])
        if token in self.refuses:
            return httpx.Response(401, json={"code": "PGRST301"})
        project = request.url.params["id"].removeprefix("eq.")
        if request.url.path.endswith("boms"):
            found = self.boms.get(project) if known else None
            return httpx.Response(200, json=[{"id": project, "project_id": found}] if found else [])
        return httpx.Response(200, json=[{"id": project, "organization_id": ORGANIZATION}] if known else [])


class Stage:
    """Rights before that database. ``lapsed`` has what each holder was told, by name."""

    def __init__(self, client: httpx.AsyncClient, database: Database) -> None:
        self.now = 1000.0
        self.database = database
        self.members = Members(Rest(client, "http://rest.test", "publishable"), lambda: self.now)
        self.counted: Counter[str] = Counter()
        rest = Rest(client, "http://rest.test", "secret")
        unused: Any = None
        gate = Gate(unused, self.members, Belongings(self.members, rest), unused)
        self.rights = Rights(gate.confirm, self.members.forget, rest, lambda: self.now, lambda: 1.0, self._count)
        self.lapsed: dict[str, Lapse] = {}  # by the stream's name
        self.holding = ExitStack()

    def _count(self, outcome: str) -> None:
        self.counted[outcome] += 1

    def _lapsed(self, name: str, lapse: Lapse) -> None:
        assert name not in self.lapsed, "told twice"
        self.lapsed[name] = lapse

    def hold(
        self, token: str, name: str = "", project: str = P, asked_at: float | None = None, bom_id: str | None = None
    ) -> ExitStack:
        """A stream opens; what is returned closes it."""
        principal = Principal(f"user of {token}", time.time() + 3600, token)
        admission = Admission(principal, project, ORGANIZATION, self.now if asked_at is None else asked_at, bom_id)
        stream = ExitStack()
        stream.enter_context(self.rights.hold(admission, lambda lapse: self._lapsed(name or token, lapse)))
        self.holding.push(stream)
        return stream

    async def settled(self) -> None:
        """All questions are answered."""
        await until(lambda: not self.rights._tasks)

    async def pass_(self, seconds: float) -> list[str]:
        """Time passes, in looks; returns what was asked meanwhile."""
        self.database.asked.clear()
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.5)
            self.rights.look()
            await self.settled()
        return self.database.asked

    async def known(self, *tokens: str, project: str = P) -> None:
        """Streams that are open and asked about, so that nothing is due for a while."""
        for token in tokens:
            self.hold(token, project=project)
        await self.pass_(SOON_SECONDS + 1)
        self.database.asked.clear()
        self.counted.clear()


@pytest.fixture
async def database() -> Database:
    return Database()


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    async with httpx.AsyncClient(transport=httpx.MockTransport(database.answer)) as client:
        stage = Stage(client, database)
        yield stage
        stage.holding.close()
        assert stage.rights._projects == {}
        await stage.rights.close()


async def test_streams_of_one_token_share_a_question_a_minute(stage: Stage) -> None:
    await stage.known("a")
    for name in ("second", "third"):
        stage.hold("a", name)
    stage.hold("b")
    assert sorted(await stage.pass_(ASK_SECONDS)) == ["a", "b"]
    assert sorted(await stage.pass_(ASK_SECONDS)) == ["a", "b"]
    assert stage.lapsed == {}
    assert stage.counted == {"confirmed": 4}


async def test_a_no_ends_all_streams_of_the_token_and_no_others(stage: Stage, database: Database) -> None:
    await stage.known("a", "b")
    stage.hold("a", "second")
    database.may_read.remove("a")
    await stage.pass_(ASK_SECONDS)
    assert stage.lapsed == {"a": Lapse.REVOKED, "second": Lapse.REVOKED}
    assert sorted(await stage.pass_(ASK_SECONDS)) == ["b"]


async def test_a_token_that_the_database_refuses_is_no_lost_right(stage: Stage, database: Database) -> None:
    await stage.known("a")
    database.refuses.add("a")
    await stage.pass_(ASK_SECONDS)
    assert stage.lapsed == {"a": Lapse.TOKEN_REFUSED}
    assert stage.counted == {"token_refused": 1}


async def test_a_removed_member_is_asked_for_at_once_and_alone(stage: Stage, database: Database) -> None:
    await stage.known("a", "b", "c")
    database.may_read.remove("b")
    database.members.remove("user of b")
    stage.rights.members_changed(P, None)
    await stage.settled()
    assert stage.lapsed == {"b": Lapse.REVOKED}
    assert (database.asked, database.listed) == (["b"], 1)


async def test_a_removed_member_whom_a_policy_lets_read_stays(stage: Stage, database: Database) -> None:
    await stage.known("a")
    database.members.clear()
    stage.rights.members_changed(P, None)
    await stage.settled()
    assert database.asked == ["a"]
    assert stage.lapsed == {}


async def test_a_member_who_is_named_is_asked_for_without_a_list(stage: Stage, database: Database) -> None:
    await stage.known("a", "b")
    stage.hold("a", "of another project", project=Q)
    stage.rights.members_changed(P, {"user of a", "somebody who does not listen"})
    await stage.settled()
    assert (database.asked, database.listed) == (["a"], 0)


async def test_when_the_list_can_not_be_had_all_are_asked_for(stage: Stage, database: Database) -> None:
    await stage.known("a", "b")
    database.cannot_list = True
    database.may_read.remove("b")
    stage.rights.members_changed(P, None)
    await stage.settled()
    assert sorted(database.asked) == ["a", "b"]
    assert stage.lapsed == {"b": Lapse.REVOKED}


async def test_what_happens_while_a_list_is_read_or_a_question_asked_is_asked_about_again(
    stage: Stage, database: Database
) -> None:
    await stage.known("a")
    database.gate = asyncio.Event()
    stage.rights.members_changed(P, {"user of a"})
    await until(lambda: database.in_flight == 1)  # it will say yes: the member is removed just now
    database.may_read.remove("a")
    database.members.remove("user of a")
    stage.rights.members_changed(P, None)
    await until(lambda: database.in_flight == 2)
    for _ in range(5):
        stage.rights.members_changed(P, None)
    database.gate.set()
    await stage.settled()
    assert stage.lapsed == {"a": Lapse.REVOKED}
    assert database.listed == 2


async def test_trust_in_earlier_answers_ends_with_a_change(stage: Stage, database: Database) -> None:
    """Who opens a stream right after being removed is not let in by what was so a second ago."""
    principal = Principal("user of a", time.time() + 3600, "a")
    await stage.members.require(principal, P)
    await stage.members.require(principal, P)
    assert database.asked == ["a"]
    stage.rights.members_changed(P, None)
    await stage.members.require(principal, P)
    assert database.asked == ["a", "a"]


async def test_the_first_streams_of_a_project_are_asked_about_soon(stage: Stage, database: Database) -> None:
    """What happened between their question and the first of them, nobody has heard."""
    stage.hold("a", asked_at=stage.now - 2)
    database.may_read.remove("a")
    await stage.pass_(SOON_SECONDS + 0.5)
    assert stage.lapsed == {"a": Lapse.REVOKED}


async def test_later_ones_are_not_unless_something_has_happened_since_their_question(stage: Stage) -> None:
    await stage.known("a")
    stage.hold("b")
    assert await stage.pass_(5) == []
    asked_at = stage.now
    stage.now += 1
    stage.rights.members_changed(P, {"user of c"})
    stage.hold("c", asked_at=asked_at)
    assert await stage.pass_(5) == ["c"]


async def test_a_database_that_is_down_ends_nothing_for_minutes(stage: Stage, database: Database) -> None:
    await stage.known("a", "b")
    database.is_down = True
    await stage.pass_(UNCONFIRMED_SECONDS - 10)
    assert stage.lapsed == {}
    database.is_down = False
    await stage.pass_(UNCONFIRMED_SECONDS + ASK_SECONDS)
    assert stage.lapsed == {}


async def test_what_nobody_confirms_for_too_long_ends(stage: Stage, database: Database) -> None:
    await stage.known("a", "b")
    database.is_down = True
    await stage.pass_(UNCONFIRMED_SECONDS + 1)
    assert stage.lapsed == dict.fromkeys(("a", "b"), Lapse.UNCONFIRMED)


async def test_it_ends_even_while_a_question_hangs(stage: Stage, database: Database) -> None:
    await stage.known("a")
    database.gate = asyncio.Event()
    stage.now += ASK_SECONDS
    stage.rights.look()
    await until(lambda: database.in_flight)
    stage.now += UNCONFIRMED_SECONDS
    stage.rights.look()
    database.may_read.clear()
    database.gate.set()
    await stage.settled()
    assert stage.lapsed == {"a": Lapse.UNCONFIRMED}


async def test_a_database_that_is_down_is_not_asked_for_everybody(stage: Stage, database: Database) -> None:
    database.may_read = {str(number) for number in range(200)}
    await stage.known(*database.may_read)
    database.is_down = True
    asked = await stage.pass_(ASK_SECONDS + 2 * PAUSE_SECONDS)
    assert 1 <= len(asked) <= 5 * ASKED_AT_ONCE


async def test_a_removal_that_could_not_be_asked_about_is_when_the_database_is_back(
    stage: Stage, database: Database
) -> None:
    await stage.known("a")
    database.is_down = True
    database.may_read.clear()
    stage.rights.members_changed(P, {"user of a"})
    await stage.settled()
    assert stage.lapsed == {}
    database.is_down = False
    await stage.pass_(PAUSE_SECONDS)
    assert stage.lapsed == {"a": Lapse.REVOKED}


async def test_of_what_only_time_asks_for_a_few_questions_are_out_at_once(stage: Stage, database: Database) -> None:
    database.may_read = {str(number) for number in range(100)}
    await stage.known(*database.may_read)
    database.most_in_flight = 0
    stage.now += ASK_SECONDS
    stage.rights.look()
    await stage.settled()
    assert stage.counted == {"confirmed": 100}
    assert database.most_in_flight == ASKED_AT_ONCE


async def test_a_removal_does_not_wait_for_the_others_turns(stage: Stage, database: Database) -> None:
    database.may_read = {str(number) for number in range(100)}
    await stage.known(*database.may_read)
    database.gate = asyncio.Event()
    stage.now += ASK_SECONDS
    stage.rights.look()
    await until(lambda: database.in_flight == ASKED_AT_ONCE)
    removed = next(token for token in database.may_read if token not in database.asked)
    database.may_read.remove(removed)
    stage.rights.members_changed(P, {f"user of {removed}"})
    await until(lambda: removed in database.asked)
    database.gate.set()
    await stage.settled()
    assert stage.lapsed == {removed: Lapse.REVOKED}
    assert len(database.asked) == 100


async def test_a_stream_that_has_closed_is_not_asked_about(stage: Stage) -> None:
    await stage.known("a")
    stream = stage.hold("b")
    stream.close()
    assert await stage.pass_(2 * ASK_SECONDS) == ["a", "a"]


async def test_one_that_opens_after_a_lapse_is_a_right_of_its_own(stage: Stage, database: Database) -> None:
    await stage.known("a")
    database.may_read.remove("a")
    stage.rights.members_changed(P, {"user of a"})
    await stage.settled()
    database.may_read.add("a")
    stage.hold("a", "again")
    await stage.pass_(ASK_SECONDS)
    assert stage.lapsed == {"a": Lapse.REVOKED}


async def test_a_bom_is_asked_about_beside_its_project(stage: Stage, database: Database) -> None:
    await stage.known("a", "b")
    stage.hold("a", "looks at the BOM", bom_id=Q)
    assert sorted(await stage.pass_(ASK_SECONDS)) == [
        "a",
        "a",
        "a",
        "b",
    ]  # the BOM, its project; the project; the project
    database.boms.clear()
    stage.rights.bom_changed("another")
    stage.rights.bom_changed(Q)
    await stage.settled()
    assert stage.lapsed == {"looks at the BOM": Lapse.REVOKED}


async def test_a_bom_that_moved_to_another_project_is_lost(stage: Stage, database: Database) -> None:
    await stage.known("a")
    stage.hold("a", "looks at the BOM", bom_id=Q)
    database.boms[Q] = ORGANIZATION
    stage.rights.bom_changed(Q)
    await stage.settled()
    assert stage.lapsed == {"looks at the BOM": Lapse.REVOKED}


async def test_looks_follow_each_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.access.rights.LOOK_SECONDS", 0)
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    monkeypatch.setattr(stage.rights, "look", look)
    asking = asyncio.ensure_future(stage.rights.keep_asking())
    await until(lambda: looks > 3)
    asking.cancel()


async def test_the_end_leaves_no_question_behind(stage: Stage, database: Database) -> None:
    await stage.known("a")
    before = asyncio.all_tasks()
    database.gate = asyncio.Event()
    stage.rights.members_changed(P, {"user of a"})
    await until(lambda: database.in_flight)
    await stage.rights.close()
    database.gate.set()
    await until(lambda: asyncio.all_tasks() <= before)
