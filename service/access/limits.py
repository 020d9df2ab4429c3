"""How many streams may be open at once: for a user, a project, an organization, an address, and in all."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType

from service.errors import LimitReached

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
    """One stream's place, counted from the moment it is made. A context manager: leaving it gives the place back."""

    def __init__(self, taken: Counter[Subject], subjects: Sequence[Subject]) -> None:
        self._taken = taken
        self._subjects = subjects
        taken.update(subjects)

    def __enter__(self) -> None:
        """Nothing to do: it is taken."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for subject in self._subjects:
            self._taken[subject] -= 1
            if not self._taken[subject]:
                del self._taken[subject]


class Limits:
    """``most`` maps the limits' names (user, project, organization, address, process) to numbers; 0 is no limit."""

    def __init__(self, most: Mapping[str, int]) -> None:
        self._most = most
        self._taken: Counter[Subject] = Counter()

    def take(self, subjects: Sequence[Subject]) -> Place:
        """A place counted for all ``subjects`` and for the process. Whoever takes it sees to it that it is left.

        Raises :class:`LimitReached` (429, and 503 for the process) when one of them has none left.
        """
        return self.take_more([(PROCESS, ""), *subjects])

    def take_more(self, counted: Sequence[Subject]) -> Place:
        """What a stream that has its place takes beside it; as :meth:`take`, but not counted for the process."""
        for subject in counted:
            most = self._most[subject[0]]
            if most and self._taken[subject] >= most:
                raise _full(subject[0])
        return Place(self._taken, counted)


def _full(limit: str) -> LimitReached:
    if limit == PROCESS:
        message = "As many streams are open as this server carries; another may have room."
        return LimitReached(limit, 503, "too_many_streams", message, RETRY_SECONDS)
    message = f"{WORDS[limit]}. Close some: the tabs of a browser can share one."
    return LimitReached(limit, 429, "too_many_streams", message, RETRY_SECONDS)
