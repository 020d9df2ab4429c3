"""Faults applied to one connection's frames: asks what becomes of each, and keeps the timers of those held back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from devstack.realtime.faults import Faults
from devstack.realtime.lines import Line


class FaultyWire:
    """Between a connection and its frames' senders.

    Args:
        send: sends a frame at once.
    """

    def __init__(self, faults: Faults, send: Callable[[str], None]) -> None:
        self._faults = faults
        self._send = send
        self._lines: dict[Hashable, Line] = {}
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}
        self._loop = asyncio.get_running_loop()

    def send(self, channel: Hashable, topic: str, event: str, frame: str) -> None:
        """Let the faults in force have a frame; what they leave of it is sent, at once or later.

        Args:
            channel: whose frame it is; frames of one channel keep their order.
        """
        now = self._loop.time()
        verdict = self._faults.on_frame(channel, topic, event, now)
        line = self._lines.get(channel)
        if line is None:
            if verdict is None:
                self._send(frame)
                return
            line = self._lines[channel] = Line()
        self._pass(channel, line, line.push(frame, verdict, now))

    def forget(self, channel: Hashable) -> None:
        """A channel has ended: what is held back of it will not be sent."""
        self._faults.forget(channel)
        self._drop(channel)

    def close(self) -> None:
        for channel in list(self._lines):
            self._drop(channel)

    def _drop(self, channel: Hashable) -> None:
        self._lines.pop(channel, None)
        if timer := self._timers.pop(channel, None):
            timer.cancel()

    def _due(self, channel: Hashable) -> None:
        line = self._lines[channel]
        self._pass(channel, line, line.due(self._loop.time()))

    def _pass(self, channel: Hashable, line: Line, frames: list[str]) -> None:
        for frame in frames:
            self._send(frame)
        if timer := self._timers.pop(channel, None):
            timer.cancel()
        due = line.next_due
        if due is None:
            del self._lines[channel]
        else:
            self._timers[channel] = self._loop.call_at(due, self._due, channel)
