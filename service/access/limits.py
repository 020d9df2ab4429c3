"""How many streams may be open at once: for a user, a project, an organization, an address, and in all.

A place is taken before a stream is answered and given back when it ends. Between the two a page may vanish, and then
nobody would give it back: a place that is not occupied within CLAIM_SECONDS is free again by itself.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from types import TracebackType

from service.errors import LimitReached

CLAIM_SECONDS = 30.0
RETRY_SECONDS = 10

WORDS = {
    "user": "This user has as many streams open as one may have",
    "project": "This project has as many streams open as one may have",
    "organization": "This organization has as many streams open as one may have",
    "address": "As many streams are open from this address as may be",
}
PROCESS = "process"

Subject = tuple[str, str]
"""A limit's name and whom it is counted for."""


class Place:
    """One stream's place. A context manager: occupied inside it, given back at its end."""

    def __init__(self, limits: "Limits", subjects: Sequence[Subject]) -> None:
        self._limits = limits
        self.subjects = subjects
        self.is_occupied = False
        self.is_counted = True

    def __enter__(self) -> None:
        self.is_occupied = True
        if not self.is_counted:  # whoever came so late was let in, and is counted again
            self._limits.count(self, 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limits.count(self, -1)


class Limits:
    """``most`` maps the limits' names (user, project, organization, address, process) to numbers; 0 is no limit."""

    def __init__(self, most: Mapping[str, int]) -> None:
        self._most = most
        self._open: Counter[Subject] = Counter()
        self._unclaimed: deque[tuple[float, Place]] = deque()  # oldest first

    def take(self, subjects: Sequence[Subject], now: float) -> Place:
        """A place counted for all ``subjects`` and for the process; ``now`` in monotonic seconds.

        Raises :class:`LimitReached` (429, and 503 for the process) when one of them has none left.
        """
        self._free_unclaimed(now)
        place = Place(self, [(PROCESS, ""), *subjects])
        for subject in place.subjects:
            most = self._most[subject[0]]
            if most and self._open[subject] >= most:
                raise _full(subject[0])
        self.count(place, 1)
        self._unclaimed.append((now + CLAIM_SECONDS, place))
        return place

    def count(self, place: Place, by: int) -> None:
        place.is_counted = by > 0
        for subject in place.subjects:
            self._open[subject] += by
            if not self._open[subject]:
                del self._open[subject]

    def _free_unclaimed(self, now: float) -> None:
        while self._unclaimed and (self._unclaimed[0][0] <= now or self._unclaimed[0][1].is_occupied):
            place = self._unclaimed.popleft()[1]
            if not place.is_occupied:
                self.count(place, -1)


def _full(limit: str) -> LimitReached:
    if limit == PROCESS:
        message = "As many streams are open as this server carries; another may have room."
        return LimitReached(limit, 503, "too_many_streams", message, RETRY_SECONDS)
    message = f"{WORDS[limit]}. Close some: the tabs of a browser can share one."
    return LimitReached(limit, 429, "too_many_streams", message, RETRY_SECONDS)
