"""What the service does for the database by itself: it prunes the change log, where pg_cron does not, and old tickets.

Any number of processes may do so, and pg_cron beside them: the database lets one at a time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from service.errors import DatabaseRefused, DatabaseUnavailable
from service.logs import fields

ROUND_SECONDS = 600.0
PAUSE_SECONDS = 0.2
"""Between two batches, so that a large backlog leaves the database time for others."""

logger = logging.getLogger(__name__)


async def keep_pruned(what: str, prune: Callable[[], Awaitable[int]], random: Callable[[], float]) -> None:
    """Prunes for ever: a round at the start and one every ten minutes, each until nothing is left.

    ``prune`` deletes a batch and returns how many; 0 when there is nothing (left) to do.
    """
    while True:
        try:
            total = 0
            while pruned := await prune():
                total += pruned
                await asyncio.sleep(PAUSE_SECONDS)
            if total:
                logger.info("pruned", extra=fields(what=what, count=total))
        except (DatabaseUnavailable, DatabaseRefused) as error:
            logger.warning("pruning failed", extra=fields(what=what, error=error))
        await asyncio.sleep(ROUND_SECONDS * (0.8 + 0.4 * random()))
