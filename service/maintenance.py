"""What the service does for the database by itself: it prunes the change log, where pg_cron does not.

Any number of processes may do so, and pg_cron beside them: the database lets one at a time.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from service.errors import DatabaseRefused, DatabaseUnavailable

ROUND_SECONDS = 600.0
PAUSE_SECONDS = 0.2
"""Between two batches, so that a large backlog leaves the database time for others."""

logger = logging.getLogger(__name__)


class PrunedLog(Protocol):
    async def prune(self, days: float) -> int:
        """Deletes a batch of changes older than ``days`` and returns how many; 0 when there is nothing (left) to do."""


async def keep_pruned(log: PrunedLog, days: float, random: Callable[[], float]) -> None:
    """Prunes for ever: a round at the start and one every ten minutes, each until nothing is left."""
    while True:
        try:
            total = 0
            while pruned := await log.prune(days):
                total += pruned
                await asyncio.sleep(PAUSE_SECONDS)
            if total:
                logger.info("pruned %d changes older than %g days", total, days)
        except (DatabaseUnavailable, DatabaseRefused) as error:
            logger.warning("the change log could not be pruned: %s", error)
        await asyncio.sleep(ROUND_SECONDS * (0.8 + 0.4 * random()))
