"""Channels on Realtime sockets that come and go."""

import logging
from collections.abc import AsyncIterator, Mapping
from itertools import repeat
from typing import Any

import pytest

from service.changes.change import FeedKey
from service.changes.realtime import CHANNELS_PER_SOCKET, Generation, Hearing
from service.changes.sockets import Channel, Sockets
from service.metrics import Metrics
from tests.service.fakes import KEY, Generations, until
from tests.service.logged import logged

LOGGER = "service.changes.sockets"


class Written:
    """An ear that writes down what it hears."""

    def __init__(self) -> None:
        self.words: list[Any] = []

    def ready(self) -> None:
        self.words.append("ready")

    def record(self, record: Mapping[str, Any] | None) -> None:
        self.words.append(record)

    def deaf(self) -> None:
        self.words.append("deaf")


class Bench:
    """Sockets whose generations are in the test's hands, and one channel. ``random`` is 0: the shortest delays."""

    def __init__(self) -> None:
        self.generations = Generations()
        self.sockets = Sockets(self.generations, lambda: 0.0, Metrics())
        self.ear = Written()

    async def joined(self) -> Channel:
        channel = self.sockets.join(KEY, self.ear)
        await self.ready()
        return channel

    async def ready(self, generations: int = 1) -> None:
        """The newest of so many generations has joined, and is told that it is subscribed."""
        made = self.generations.made
        await until(lambda: len(made) >= generations and KEY in made[-1].joined)
        made[-1].hearing.ready(KEY)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.sockets.close()


async def test_an_ear_hears_each_readiness_each_record_and_the_end(bench: Bench) -> None:
    channel = await bench.joined()
    assert channel.live.is_set()
    bench.generations.newest.hearing.record(KEY, {"a": 1})
    bench.generations.newest.hearing.record(KEY, None)
    bench.generations.newest.hearing.ready(KEY)
    bench.generations.newest.end("cut")
    await bench.ready(2)
    assert bench.ear.words == ["ready", {"a": 1}, None, "ready", "deaf", "ready"]
    await channel.wait_live(60)


async def test_a_channel_that_is_never_ready_is_not_waited_for(bench: Bench) -> None:
    channel = bench.sockets.join(KEY, bench.ear)
    await channel.wait_live(0)
    assert not channel.live.is_set()


async def test_a_generation_that_is_distrusted_is_followed_by_another(bench: Bench) -> None:
    channel = await bench.joined()
    first = bench.generations.newest
    channel.distrust("it is deaf")
    await bench.ready(2)
    assert first.closed
    assert await first.ended() == "it is deaf"


async def test_a_channel_that_was_left_hears_nothing_and_its_socket_is_closed(bench: Bench) -> None:
    channel = await bench.joined()
    generation = bench.generations.newest
    bench.sockets.leave(channel)
    generation.hearing.record(KEY, {"a": 1})
    await until(lambda: generation.closed)
    assert bench.ear.words == ["ready"]
    bench.sockets.leave(channel)  # again is nothing


async def test_connecting_is_tried_until_it_works(bench: Bench) -> None:
    bench.generations.refusals = [ConnectionRefusedError("down"), TimeoutError("slow")]
    await bench.joined()
    assert len(bench.generations.made) == 3


async def test_a_generation_that_cannot_even_be_made_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make(hearing: Hearing) -> Generation:
        made.append(hearing)
        if len(made) == 1:
            raise ValueError("a bug")
        return bench.generations(hearing)

    monkeypatch.setattr(bench.sockets, "new_generation", make)
    await bench.joined()
    assert len(made) == 2


async def test_more_keys_than_a_socket_takes_open_another(bench: Bench) -> None:
    keys = [FeedKey("tiny", f"{number:08}-1111-4111-8111-111111111111") for number in range(CHANNELS_PER_SOCKET + 1)]
    for key in keys:
        bench.sockets.join(key, bench.ear)
    await until(lambda: sum(len(generation.joined) for generation in bench.generations.made) == len(keys))
    assert [len(generation.joined) for generation in bench.generations.made] == [CHANNELS_PER_SOCKET, 1]


async def test_an_outage_is_told_where_it_changes(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.changes.sockets.delays", lambda _: repeat(0.0))  # else they add up to a minute
    caplog.set_level(logging.INFO)
    await bench.joined()
    down, slow = ConnectionRefusedError("down"), TimeoutError("slow")
    bench.generations.refusals = [down, down, slow, down, slow, OSError()]
    bench.generations.newest.end("cut")
    await bench.ready(8)
    bench.generations.newest.hearing.ready(KEY)
    lines = logged(caplog, LOGGER)
    assert [(level, message, found.get("reason")) for level, message, found in lines] == [
        ("INFO", "Realtime is there", None),
        ("WARNING", "Realtime generation ended", "cut"),
        ("WARNING", "Realtime generation ended", "can't connect: down"),
        ("WARNING", "Realtime generation ended", "can't connect: slow"),
        ("WARNING", "Realtime generation ended", "can't connect: OSError"),
        ("INFO", "Realtime is there", None),
    ]
    assert all(found["keys"] == 1 for _, _, found in lines)


async def test_a_realtime_that_comes_and_goes_is_told_each_time(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.joined()
    for count in (2, 3):
        bench.generations.newest.end("cut")
        await bench.ready(count)
    assert [level for level, _, _ in logged(caplog, LOGGER)] == ["WARNING", "WARNING"]
