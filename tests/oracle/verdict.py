"""What a run has to say in the end."""

import logging
from collections import Counter, deque
from dataclasses import dataclass, field

KEPT = 12

logger = logging.getLogger(__name__)


class Complaints:
    """Counts what is wrong and keeps the first few of each kind, with all that helps to understand them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._first: dict[str, deque[str]] = {}

    def add(self, what: str, text: str) -> None:
        """``what`` is lost, misordered or leaked."""
        self.counts[what] += 1
        first = self._first.setdefault(what, deque())
        if len(first) < KEPT:
            first.append(text)
            logger.error("%s: %s", what, text)

    @property
    def told(self) -> list[str]:
        return [f"{what.upper()}: {text}" for what, texts in self._first.items() for text in texts]


@dataclass(frozen=True)
class Verdict:
    """``details`` is for people; ``str()`` is the one line."""

    seed: int
    seconds: float
    faults: int
    changes: int
    deliveries: int
    lost: int
    misordered: int
    leaked: int
    details: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.misordered or self.leaked)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}, seconds {self.seconds:.0f}, faults {self.faults}, changes {self.changes}, "
            f"deliveries {self.deliveries}, lost {self.lost}, misordered {self.misordered}, leaked {self.leaked}"
        )
