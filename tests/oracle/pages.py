"""What every page has of one key, however it gets it, and how it tells what is wrong."""

import random
from abc import ABC, abstractmethod
from collections import Counter, deque
from dataclasses import dataclass, field

from tests.oracle.stage import Stage, User
from tests.oracle.truth import Truth
from tests.oracle.verdict import Complaints

MAY_REFUSE = {429, 503}
"""Answers that ask a page to come back; any other but 200 would send it away for good."""


@dataclass
class Seen:
    """What all pages together have been through."""

    connections: int = 0
    deliveries: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    refusals: Counter[int] = field(default_factory=Counter)


class Page(ABC):
    """One page. ``is_calm`` makes it one that stays and reads on."""

    def __init__(
        self, name: str, key: str, user: User, stage: Stage, random_: random.Random, complaints: Complaints, seen: Seen
    ) -> None:
        self.name = name
        self.key = key
        self.last: int | None = None
        """The id, or revision, of the newest that it has: where it goes on from."""
        self.knows_all = False
        """It has all up to ``last``: no snapshot is due or half there."""
        self.is_live = False
        self.is_calm = False
        self.is_done = False
        """There is nothing more to see."""
        self._user = user
        self._stage = stage
        self._random = random_
        self._complaints = complaints
        self._seen = seen
        self._history: deque[str] = deque(maxlen=24)

    @abstractmethod
    async def run(self) -> None:
        """Looks on until cancelled, or until there is nothing more to see."""

    @abstractmethod
    def lacks(self, truth: Truth) -> list[str]:
        """What it has otherwise than it should have in the end."""

    def is_behind(self, head: int) -> list[str]:
        """Says so when it is not at the head of its key, or is not told that it is live."""
        where = [] if self.last == head else [f"is at {self.last}, the head is {head}"]
        return where + ([] if self.is_live else ["is not live"])

    def complain(self, what: str, text: str) -> None:
        self._complaints.add(what, f"{text}\n    {self.name} of {self.key}: {'; '.join(self._history)}")

    def note(self, text: str) -> None:
        """Remembers what would explain a complaint: connections and ids."""
        self._history.append(text)

    def refused(self, status: int) -> None:
        """Notes an HTTP status that is no success, and complains of one that sends a page away for good."""
        self._seen.refusals[status] += 1
        if status not in MAY_REFUSE:
            self.complain("lost", f"sent away with HTTP {status}")
