"""A stream's place, its endings and its line in the log, whatever it tells."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from service.errors import DatabaseUnavailable
from service.events.endings import Ending
from service.streams.frames import event_writer
from service.streams.session import Session
from service.streams.stream import new_id
from tests.service.fakes import KEY, until
from tests.service.logged import logged
from tests.service.streams.stages import HOUR, Stage, asked, opened
from tests.service.test_metrics import counted

STREAM = "service.streams.stream"
DENIALS = [Ending.TOKEN_EXPIRED, Ending.ACCESS_REVOKED]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with opened() as stage:
        yield stage


async def test_a_topic_given_up_before_the_first_byte_is_opened_again() -> None:
    stage = Stage(linger_seconds=0)
    stage.topic = await stage.hub.topic(KEY)
    page = stage.page()
    await until(lambda: stage.listener.unfollowed == [KEY])
    await page.read()
    stage.commit(104)
    await page.read()
    assert page.types == ["connected", "new"]
    await page.close()
    await stage.hub.close()


async def test_a_topic_that_cannot_be_opened_again_ends_the_stream_with_a_word() -> None:
    stage = Stage(linger_seconds=0)
    page = stage.page()
    stage.log.fail = DatabaseUnavailable("down")
    await page.read_all()
    assert page.types == ["error", "stream_end"]
    assert await counted(stage.hub.metrics, 'rowcast_streams_ended_total{reason="error"}') == 1


async def test_a_stream_that_cannot_begin_says_so_and_may_come_back(stage: Stage) -> None:
    stage.log.fail = DatabaseUnavailable("down")
    page = stage.page(snapshot=True)
    await page.read_all()
    assert page.types == ["connected", "error", "stream_end"]
    assert page.frames[1][2]["code"] == "upstream_unavailable"
    assert page.frames[2][2] == {"type": "stream_end", "reason": "error", "reconnect": True}
    assert stage.hub.viewers == 0


async def test_a_bug_on_the_way_ends_the_stream_with_a_word(stage: Stage) -> None:
    stage.log.fail = RuntimeError("a bug")
    page = stage.page(snapshot=True)
    await page.read_all()
    assert page.types == ["connected", "error", "stream_end"]
    assert page.frames[1][2] == {"type": "error", "code": "internal_error", "message": "The service has failed."}


@pytest.mark.parametrize(("drawn", "milliseconds"), [(0.0, 1000), (0.25, 1500), (1.0, 3000)])
async def test_how_long_a_page_waits_before_it_comes_back_is_spread(
    stage: Stage, drawn: float, milliseconds: int
) -> None:
    session = Session(stage.hub, KEY, asked(), event_writer(False, None), HOUR, lambda: drawn)
    chunks = session.chunks()
    assert (await anext(chunks)).startswith(b"retry: %d\n\n" % milliseconds)
    await chunks.aclose()


async def test_however_a_stream_ends_its_place_is_given_back(stage: Stage) -> None:
    never_read, cut_early, cut_later = stage.page(), stage.page(cursor=101), stage.page()
    await cut_early.read()
    await cut_later.read()
    waiting = asyncio.ensure_future(cut_later.read())
    await until(lambda: stage.hub.viewers == 2)
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await cut_early.close()
    await never_read.close()
    assert stage.hub.viewers == 0


@pytest.mark.parametrize("ending", DENIALS)
async def test_when_the_right_ends_what_waits_is_not_told(stage: Stage, ending: Ending) -> None:
    page = stage.page()
    await page.read()
    stage.commit(104, 105)
    await until(lambda: not stage.topic._pending)
    page.session.end(ending)
    stage.commit(106)
    await page.read_all()
    assert page.types == ["connected", "stream_end"]
    assert page.frames[-1][2]["reason"] == ending.reason


async def test_a_right_that_ends_before_the_first_byte_ends_the_stream_with_it(stage: Stage) -> None:
    page = stage.page(snapshot=True)
    page.session.end(Ending.ACCESS_REVOKED)
    await page.read_all()
    assert page.types == ["connected", "stream_end"]


async def test_a_lost_right_comes_before_any_other_ending(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    stage.commit(104)
    await until(lambda: not stage.topic._pending)
    draining = asyncio.ensure_future(stage.hub.drain(5))
    await asyncio.sleep(0)
    page.session.end(Ending.ACCESS_REVOKED)
    await page.read_all()
    await draining
    assert page.types == ["connected", "stream_end"]
    assert page.frames[-1][2]["reason"] == "access_revoked"


async def test_a_stream_that_can_not_go_on_says_why_first(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    page.session.end(Ending.ERROR)
    await page.read_all()
    assert page.types == ["connected", "error", "stream_end"]
    assert page.frames[1][2]["code"] == "upstream_unavailable"
    assert page.frames[-1][2] == {"type": "stream_end", "reason": "error", "reconnect": True}


def test_streams_have_names_of_their_own() -> None:
    assert len({new_id() for _ in range(100)}) == 100


async def test_a_streams_life_is_a_line_at_its_end(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    page = stage.page(cursor=102)
    await page.read_until("new")
    stage.commit(104)
    await page.read()
    about = {"stream": page.session.id, "feed": KEY.feed, "key": KEY.key}
    assert logged(caplog, STREAM, logging.DEBUG) == [("DEBUG", "stream opened", {**about, "cursor": 102})]
    await page.close()
    [(level, message, found)] = logged(caplog, STREAM)
    assert (level, message) == ("INFO", "stream ended")
    assert isinstance(found.pop("seconds"), float)
    assert found == {**about, "reason": "gone", "deliveries": 2, "conflated": 0, "error": None}


async def test_a_stream_that_the_service_ends_is_logged_with_the_reason(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    page = stage.page(max_age=0.01)
    await page.read_all()
    [(_, _, found)] = logged(caplog, STREAM)
    assert found["reason"] == "shutdown"


async def test_a_stream_that_the_database_fails_is_no_warning_of_its_own(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stage.log.fail = DatabaseUnavailable("down")
    await stage.page(snapshot=True).read_all()
    [(level, _, found)] = logged(caplog, STREAM)
    assert (level, found["reason"], found["error"]) == ("INFO", "error", "down")


async def test_a_stream_that_never_began_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    stage.log.fail = DatabaseUnavailable("down")
    await stage.page().read_all()
    [(level, message, found)] = logged(caplog, STREAM)
    assert (level, message, found["reason"], found["error"]) == ("INFO", "stream ended", "error", "down")


async def test_a_bug_is_an_error_with_its_traceback_and_the_streams_id(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.log.fail = RuntimeError("a bug")
    page = stage.page(snapshot=True)
    await page.read_all()
    [(level, message, found)] = logged(caplog, STREAM)
    assert (level, message, found["stream"]) == ("ERROR", "a stream failed", page.session.id)
    assert caplog.records[0].exc_info is not None
