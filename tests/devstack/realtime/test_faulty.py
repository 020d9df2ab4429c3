"""Held back frames leave by themselves when their time comes, and not at all when nobody is there any more."""

import asyncio
from typing import Any

import pytest

from devstack.realtime.fault_spec import CHANGES, parse
from devstack.realtime.faults import Faults
from devstack.realtime.faulty import FaultyWire


class Wire:
    """A FaultyWire, and what came out of it."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.sent: asyncio.Queue[str] = asyncio.Queue()
        self.faulty = FaultyWire(self.faults, self.sent.put_nowait)

    def fault(self, kind: str, **fields: Any) -> None:
        self.faults.add(parse({"fault": kind, **fields}, seed=0), asyncio.get_running_loop().time())

    def send(self, channel: str, frame: str) -> None:
        self.faulty.send(channel, f"realtime:{channel}", CHANGES, frame)

    async def out(self, count: int) -> list[str]:
        return [await asyncio.wait_for(self.sent.get(), 10) for _ in range(count)]


@pytest.fixture
async def wire() -> Wire:
    return Wire()


async def test_what_is_not_struck_goes_at_once(wire: Wire) -> None:
    wire.send("a", "1")
    assert wire.sent.get_nowait() == "1"
    assert not wire.faulty._lines


async def test_late_frames_leave_in_order_and_leave_nothing_behind(wire: Wire) -> None:
    wire.fault("delay", topic="a", delay=0.02, count=1)
    wire.fault("reorder", topic="b", wait=0.05, count=1)
    wire.send("a", "1")
    wire.send("a", "2")
    wire.send("b", "3")
    wire.send("c", "4")
    assert await wire.out(4) == ["4", "1", "2", "3"]
    assert not wire.faulty._lines
    assert not wire.faulty._timers


async def test_what_is_held_back_of_a_channel_that_ended_never_leaves(wire: Wire) -> None:
    wire.fault("delay", delay=0.02, count=2)
    wire.send("a", "1")
    wire.send("b", "2")
    wire.faulty.forget("a")
    assert await wire.out(1) == ["2"]
    assert wire.sent.empty()


async def test_closing_stops_every_timer(wire: Wire) -> None:
    wire.fault("delay", delay=0.01)
    wire.send("a", "1")
    [timer] = wire.faulty._timers.values()
    wire.faulty.close()
    assert timer.cancelled()
    assert not wire.faulty._lines
