"""So that nobody's questions keep those of others waiting: of each user a few are asked at once, the rest in turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """``at_once`` for each who asks. What is kept goes with the last of their questions."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._asking: dict[str, tuple[asyncio.Semaphore, int]] = {}  # and how many have it

    def __len__(self) -> int:
        return len(self._asking)

    @asynccontextmanager
    async def of(self, who: str) -> AsyncIterator[None]:
        """Entered when it is their turn."""
        turns, count = self._asking.get(who, (asyncio.Semaphore(self._at_once), 0))
        self._asking[who] = turns, count + 1
        try:
            async with turns:
                yield
        finally:
            count = self._asking[who][1] - 1
            if count:
                self._asking[who] = turns, count
            else:
                del self._asking[who]
