"""A channel's frames that faults hold back: late ones in order, reordered ones behind others (pure).

Contract. What `push` and `due` return is to be sent at once, in that order; `next_due` tells when to call `due`. Frames
that are late hold up what follows them, as a slow network does; only a reordered frame is overtaken.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from devstack.realtime.faults import Verdict

_AS_IT_IS = Verdict()


@dataclass(slots=True)
class _Aside:
    """A reordered frame."""

    frames: list[str]
    due: float
    behind: int


class Line:
    """The held back frames of one channel, from a moment when there are none."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, list[str]]] = deque()
        self._aside: list[_Aside] = []

    @property
    def next_due(self) -> float | None:
        """When the next held frame goes; None if none is held."""
        times = [aside.due for aside in self._aside]
        if self._late:
            times.append(self._late[0][0])
        return min(times, default=None)

    def push(self, frame: str, verdict: Verdict | None, now: float) -> list[str]:
        """Take the channel's next frame."""
        verdict = verdict or _AS_IT_IS
        frames = [frame] * verdict.copies
        if not frames:
            return []
        if verdict.behind:
            self._aside.append(_Aside(frames, now + verdict.delay + verdict.wait, verdict.behind))
            return []
        due = max(now + verdict.delay, self._late[-1][0] if self._late else now)
        if due > now:
            self._late.append((due, frames))
            return []
        return self._with_overtaken(frames)

    def due(self, now: float) -> list[str]:
        """The frames whose time has come."""
        out: list[str] = []
        while self._late and self._late[0][0] <= now:
            out += self._with_overtaken(self._late.popleft()[1])
        for aside in [aside for aside in self._aside if aside.due <= now]:
            self._aside.remove(aside)
            out += aside.frames
        return out

    def _with_overtaken(self, frames: list[str]) -> list[str]:
        """One frame, in all its copies, goes; and behind it those that waited for it."""
        out = list(frames)
        for aside in list(self._aside):
            aside.behind -= 1
            if aside.behind <= 0:
                self._aside.remove(aside)
                out += aside.frames
        return out
