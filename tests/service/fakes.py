"""A change log and a Realtime that do what a test tells them, for faults that the real ones don't have on demand."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from service.changes.change import Change, FeedKey
from service.changes.log import Page, Snapshot
from service.changes.realtime import Hearing

KEY = FeedKey("tiny", "11111111-1111-4111-8111-111111111111")
PAGE = 3


@dataclass
class FakeLog:
    """A change log in memory. ``fail`` is raised by every call while set; ``gate``, when set, holds calls back."""

    changes: list[Change] = field(default_factory=list)
    floor: int = 100
    fail: Exception | None = None
    gate: asyncio.Event | None = None
    calls: list[str] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"rows": []})

    @property
    def head(self) -> int:
        return self.changes[-1].revision if self.changes else self.floor

    def append(self, change: Change) -> Change:
        self.changes.append(change)
        return change

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.gate is not None:
            await self.gate.wait()
        else:
            await asyncio.sleep(0)
        if self.fail is not None:
            raise self.fail

    async def since(self, key: FeedKey, cursor: int) -> Page:
        newer = [change for change in self.changes if change.revision > cursor]
        head = self.head
        await self._called(f"since {cursor}")
        if cursor < self.floor or cursor > head:
            return Page(head, True, (), False)
        return Page(head, False, tuple(newer[:PAGE]), len(newer) > PAGE)

    async def heads(self, feed: str, keys: Iterable[str]) -> dict[str, int]:
        head = self.head
        await self._called("heads")
        return dict.fromkeys(keys, head)

    async def snapshot(self, key: FeedKey, function: str, argument: str) -> Snapshot:
        head = self.head
        await self._called("snapshot")
        return Snapshot(head, self.rows)


class FakeGeneration:
    """A generation that opens at once (or raises ``refusal``) and is otherwise in the test's hands."""

    def __init__(self, hearing: Hearing, refusal: Exception | None = None) -> None:
        self.hearing = hearing
        self.joined: set[FeedKey] = set()
        self.closed = False
        self._refusal = refusal
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def join(self, key: FeedKey) -> None:
        self.joined.add(key)

    def leave(self, key: FeedKey) -> None:
        self.joined.discard(key)

    def end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)

    async def ended(self) -> str:
        return await asyncio.shield(self._ended)

    async def close(self) -> None:
        self.closed = True

    def tell(self, change: Change, feed: str = KEY.feed) -> None:
        """Brings a change as Realtime would."""
        self.hearing.record(
            KEY,
            {
                "feed": feed, "key": KEY.key, "revision": change.revision, "prev": change.prev,
                "table_name": change.table, "row_id": change.row_id, "op": change.op,
                "changed": sorted(change.changed), "row": change.row, "committed_at": "",
            },
        )  # fmt: skip


@dataclass
class Generations:
    """Makes generations and remembers them. ``refusals`` are raised by the next opens, one each."""

    made: list[FakeGeneration] = field(default_factory=list)
    refusals: list[Exception] = field(default_factory=list)

    def __call__(self, hearing: Hearing) -> FakeGeneration:
        generation = FakeGeneration(hearing, self.refusals.pop(0) if self.refusals else None)
        self.made.append(generation)
        return generation

    @property
    def newest(self) -> FakeGeneration:
        return self.made[-1]


@dataclass
class Heard:
    """A sink that writes down what it is told and lets a test wait for it."""

    revisions: list[int] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    _something: asyncio.Event = field(default_factory=asyncio.Event)

    def changes(self, key: FeedKey, changes: Iterable[Change]) -> None:
        self.revisions += [change.revision for change in changes]
        self._something.set()

    def live(self, key: FeedKey, live: bool, reason: str) -> None:
        self.words.append("live" if live else "not live")
        self._something.set()

    def lost(self, key: FeedKey, head: int, reason: str) -> None:
        self.words.append(f"lost before {head}")
        self._something.set()

    async def until(self, condition: Callable[["Heard"], bool]) -> None:
        while not condition(self):
            self._something.clear()
            await self._something.wait()


async def until(condition: Callable[[], object]) -> None:
    """Lets the event loop turn until something is so; the test's own time limit is the limit."""
    while not condition():
        await asyncio.sleep(0.001)
