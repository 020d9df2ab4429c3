"""What one tick brought a key. Every viewer who has all that came before is told the same bytes, written once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from service.feeds.delivery import Delivery
from service.feeds.outbox import Told, merge_range

UNMERGED_LIMIT = 256
"""From so many deliveries on, changes of a row merge for readers that keep up too: it is a burst."""


Chunk = TypeVar("Chunk")
Chunk_co = TypeVar("Chunk_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Written(Generic[Chunk_co]):
    """Deliveries as a stream writes them. ``messages`` counts those in ``chunks``.

    ``passed_over`` is the newest id after the last message in them, when the page did not want what carried it.
    """

    chunks: tuple[Chunk_co, ...]
    messages: int
    passed_over: int | None


class Writer(Protocol[Chunk_co]):
    """How pages want to be told. Equal writers write the same."""

    def __hash__(self) -> int: ...
    def write(self, told: Sequence[Told]) -> Written[Chunk_co]: ...


class Batch:
    """The ``deliveries`` of the range (``after``, ``upto``], at least one, for viewers who have all up to ``after``."""

    def __init__(self, after: int, deliveries: Sequence[Delivery]) -> None:
        self.after = after
        self.upto = deliveries[-1].change.revision
        self.deliveries = deliveries
        self._written: dict[Writer[Any], Written[Any]] = {}

    @cached_property
    def told(self) -> Sequence[Told]:
        if len(self.deliveries) > UNMERGED_LIMIT:
            return merge_range(self.deliveries)
        return [(delivery, delivery.change.revision) for delivery in self.deliveries]

    @cached_property
    def committed_at(self) -> float:
        """When the oldest of it was committed, in s since the epoch."""
        return self.deliveries[0].committed_at

    def written(self, writer: Writer[Chunk]) -> Written[Chunk]:
        """It in the one form; all viewers that want this form share it."""
        written: Written[Chunk] | None = self._written.get(writer)
        if written is None:
            written = self._written[writer] = writer.write(self.told)
        return written
