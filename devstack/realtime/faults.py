"""Faults on purpose: what to do with a frame, a join or a connection (pure).

Contract. `Faults` holds the faults in force and is asked about every frame, join and connection, with the time; each
answer is drawn from the fault's own generator, so the same seed strikes the same frames of the same traffic. Nothing
here sends, waits or closes: shells do (`faulty`, `control`). docs/devstack.md tells which recording each fault
imitates.

Faults with a `count` end after so many strikes, those with `seconds` when they are over; ended ones stay listed, with
how often they struck, until they are removed or _KEPT newer ones have ended.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Final

from devstack.realtime.fault_spec import CHANGES, FIELDS, Fault

_KEPT: Final = 200
_FRAME_KINDS: Final = frozenset({"drop", "delay", "duplicate", "reorder"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a frame that was struck."""

    copies: int = 1
    """0: it is lost."""
    delay: float = 0.0
    """Seconds that it, and whatever follows on its channel, is late."""
    behind: int = 0
    """Frames that overtake it."""
    wait: float = 0.0
    """Seconds after which it goes anyhow."""


LOST: Final = Verdict(copies=0)


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a join or connection is refused."""

    reason: str = ""
    delay: float = 0.0
    status: int | None = None


class RateLimit:
    """The real server's: an average over the last whole seconds, looked at once a second; what it holds back is not
    counted, so the mute ends when the burst is older than the window.
    """

    def __init__(self, per_second: float, window: int) -> None:
        self._limit = per_second * window
        self._window = window
        self._seconds: deque[tuple[int, int]] = deque()
        self._sum = 0
        self._second = 0
        self._count = 0

    def allows(self, now: float) -> bool:
        """Count one event, unless it is one too many."""
        second = int(now)
        if second != self._second:
            self._seconds.append((self._second, self._count))
            self._sum += self._count
            self._second, self._count = second, 0
            while self._seconds and self._seconds[0][0] < second - self._window:
                self._sum -= self._seconds.popleft()[1]
        if self._sum >= self._limit:
            return False
        self._count += 1
        return True


@dataclass(slots=True, eq=False)
class Active:
    """A fault in force, or one that was."""

    id: int
    fault: Fault
    ends_at: float
    random: Random
    struck: int = 0
    ended: bool = False
    deaf: set[Hashable] = field(default_factory=set)
    """The channels that a `deaf` fault found joined."""
    limit: RateLimit | None = None

    def draw(self) -> bool:
        """Whether it strikes this time; counts it."""
        if self.fault.probability < 1 and self.random.random() >= self.fault.probability:
            return False
        self.strike()
        return True

    def strike(self, times: int = 1) -> None:
        self.struck += times
        self.ended = self.ended or (self.fault.count is not None and self.struck >= self.fault.count)

    def delay(self) -> float:
        least, most = self.fault.delay
        return least if least == most else self.random.uniform(least, most)

    def concerns(self, topic: str, event: str) -> bool:
        return matches(self.fault.topic, topic) and fnmatchcase(event, self.fault.event)

    def described(self) -> dict[str, Any]:
        """As JSON shows it."""
        fields: dict[str, Any] = {name: getattr(self.fault, name) for name in FIELDS[self.fault.kind]}
        return {"id": self.id, "fault": self.fault.kind, **fields, "struck": self.struck, "active": not self.ended}


def matches(pattern: str, topic: str) -> bool:
    """Whether a channel's topic, with "realtime:" or without, fits a fault's pattern."""
    return pattern == "*" or fnmatchcase(topic.removeprefix("realtime:"), pattern)


class Faults:
    """The faults in force. `now` is in seconds, on any clock that never goes back."""

    def __init__(self) -> None:
        self._in_force: dict[int, Active] = {}
        self._ended: dict[int, Active] = {}
        self._last_id = 0
        self._struck: Counter[str] = Counter()

    def add(self, fault: Fault, now: float, channels: Iterable[Hashable] = ()) -> Active:
        """Let a fault be in force from now on; `channels` are those that a deaf one takes."""
        self._last_id += 1
        ends_at = math.inf if fault.seconds is None else now + fault.seconds
        active = Active(self._last_id, fault, ends_at, Random(fault.seed))  # noqa: S311 - repeatable, no secret
        if fault.kind == "deaf":
            active.deaf.update(channels)
            active.strike(len(active.deaf))
        elif fault.kind == "rate_limit":
            active.limit = RateLimit(fault.per_second, fault.window)
        self._in_force[active.id] = active
        return active

    def get(self, id_: int, now: float) -> Active | None:
        """The fault of that id, in force or ended."""
        self._look(now)
        return self._in_force.get(id_) or self._ended.get(id_)

    def remove(self, active: Active) -> None:
        """End and forget a fault."""
        active.ended = True
        self._in_force.pop(active.id, None)
        self._ended.pop(active.id, None)
        self._struck[active.fault.kind] += active.struck

    def all(self, now: float) -> list[Active]:
        """Every fault that was not removed, oldest first."""
        in_force = self._look(now)
        return sorted([*self._ended.values(), *in_force], key=lambda active: active.id)

    def struck(self) -> dict[str, int]:
        """By kind, how often faults struck since the start, removed ones too."""
        total = self._struck.copy()
        for active in (*self._in_force.values(), *self._ended.values()):
            total[active.fault.kind] += active.struck
        return {kind: total[kind] for kind in FIELDS if kind in total}

    def forget(self, channel: Hashable) -> None:
        """A channel has ended: nobody is deaf on it any more."""
        for active in self._in_force.values():
            active.deaf.discard(channel)

    def on_frame(self, channel: Hashable, topic: str, event: str, now: float) -> Verdict | None:
        """What becomes of a frame, None if it goes as it is.

        Args:
            channel: the channel it is of, as deaf faults know it; a rejoin makes another.
        """
        verdict: Verdict | None = None
        for active in self._look(now):
            kind = active.fault.kind
            if event == CHANGES and _keeps_back(active, channel, now):
                return LOST
            if kind in _FRAME_KINDS and active.concerns(topic, event) and active.draw():
                verdict = _struck(verdict or Verdict(), active)
                if not verdict.copies:
                    return verdict
        return verdict

    def on_join(self, topic: str, now: float) -> Refusal | None:
        """How a join is refused, if it is."""
        for active in self._look(now):
            if active.fault.kind == "refuse_joins" and matches(active.fault.topic, topic) and active.draw():
                return Refusal(active.fault.reason, active.delay())
        return None

    def on_connect(self, now: float) -> Refusal | None:
        """How a connection is refused, if it is."""
        for active in self._look(now):
            kind = active.fault.kind
            if kind == "kill" or (kind == "refuse_connections" and active.draw()):
                return Refusal(status=active.fault.status)
        return None

    def _look(self, now: float) -> list[Active]:
        """Those in force, after putting aside what has ended."""
        for active in list(self._in_force.values()):
            if active.ended or now >= active.ends_at:
                active.ended = True
                active.deaf.clear()
                self._ended[active.id] = self._in_force.pop(active.id)
        while len(self._ended) > _KEPT:
            self.remove(next(iter(self._ended.values())))
        return list(self._in_force.values())


def _keeps_back(active: Active, channel: Hashable, now: float) -> bool:
    """Whether a change is lost upstream of its channel."""
    match active.fault.kind:
        case "deaf":
            return channel in active.deaf  # its strikes are the channels
        case "mute":
            active.strike()
            return True
        case "rate_limit" if active.limit is not None and not active.limit.allows(now):
            active.strike()
            return True
        case _:
            return False


def _struck(verdict: Verdict, active: Active) -> Verdict:
    fault = active.fault
    match fault.kind:
        case "drop":
            return LOST
        case "delay":
            return replace(verdict, delay=verdict.delay + active.delay())
        case "duplicate":
            return replace(verdict, copies=verdict.copies * fault.copies)
        case _:
            return replace(verdict, behind=verdict.behind + fault.behind, wait=verdict.wait + fault.wait)
