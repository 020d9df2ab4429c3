"""What is due when, by clocks that the test sets."""

import asyncio

import pytest

from service.events.endings import Ending
from service.events.model import Reauth
from service.streams.lifetime import REAUTH_SECONDS, Lifetime

HOUR = 3600.0


class Clocks:
    """The wall clock, and the event loop's."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000.0
        self.loop = 50.0

    def forward(self, seconds: float) -> None:
        self.wall += seconds
        self.loop += seconds


@pytest.fixture
async def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr("service.streams.lifetime.time.time", lambda: clocks.wall)
    loop = asyncio.get_running_loop()
    clocks.loop = loop.time()
    started, real = clocks.loop, loop.time
    monkeypatch.setattr(loop, "time", lambda: clocks.loop + real() - started)
    return clocks


async def test_nothing_is_due_before_its_time(clocks: Clocks) -> None:
    lifetime = Lifetime(clocks.wall + HOUR, 2 * HOUR, 15)
    assert lifetime.due() == pytest.approx(clocks.loop + 15, abs=1)
    assert not lifetime.is_expired


async def test_a_keepalive_is_due_so_long_after_the_last_word(clocks: Clocks) -> None:
    lifetime = Lifetime(clocks.wall + HOUR, 2 * HOUR, 15)
    clocks.forward(10)
    lifetime.spoke()
    clocks.forward(10)
    assert isinstance(lifetime.due(), float)
    clocks.forward(6)
    assert lifetime.due() is None
    assert lifetime.due() == pytest.approx(clocks.loop + 15, abs=1)


async def test_the_hint_is_due_once_a_token(clocks: Clocks) -> None:
    expires_at = clocks.wall + HOUR
    lifetime = Lifetime(expires_at, 2 * HOUR, HOUR)
    assert lifetime.due() == pytest.approx(clocks.loop + HOUR - REAUTH_SECONDS, abs=1)
    clocks.forward(HOUR - REAUTH_SECONDS + 1)
    assert lifetime.due() == Reauth.before(expires_at)
    assert isinstance(lifetime.due(), float)
    lifetime.renew(expires_at + 0.5)
    assert lifetime.due() == Reauth.before(expires_at + 0.5)
    assert isinstance(lifetime.due(), float)


async def test_age_ends_it_once_and_its_token_for_good(clocks: Clocks) -> None:
    lifetime = Lifetime(clocks.wall + HOUR, 100, HOUR)
    clocks.forward(101)
    assert lifetime.due() is Ending.SHUTDOWN
    assert isinstance(lifetime.due(), float)
    clocks.forward(HOUR)
    assert lifetime.is_expired
    assert [lifetime.due(), lifetime.due()] == [Ending.TOKEN_EXPIRED] * 2


@pytest.mark.parametrize(
    ("wall", "loop", "left"),
    [
        (0, 0, 100),  # an hour-glass of 100 s
        (40, 40, 60),  # the clocks go alike
        (60, 40, 40),  # the wall clock was set forward, or the machine slept for 20 s
        (20, 40, 80),  # set back
    ],
)
async def test_a_token_ends_when_the_wall_clock_as_it_is_now_says_so(
    clocks: Clocks, wall: float, loop: float, left: float
) -> None:
    lifetime = Lifetime(clocks.wall + 100 + REAUTH_SECONDS, HOUR, HOUR)
    clocks.wall += wall
    clocks.loop += loop
    assert lifetime.due() == pytest.approx(clocks.loop + left, abs=1)
