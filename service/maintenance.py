"""What the service does for the database by itself: it prunes the change log, where pg_cron does not, and old tickets;
it says what becomes of jobs whose worker is lost.

Any number of processes may do so, and pg_cron beside them: the database lets one at a time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from service.errors import DatabaseRefused, DatabaseUnavailable
from service.logs import fields

PRUNING_SECONDS = 600.0
"""Between two rounds of pruning."""
PAUSE_SECONDS = 0.2
"""Between two batches, so that a large backlog leaves the database time for others."""

logger = logging.getLogger(__name__)


async def keep(done: str, batch: Callable[[], Awaitable[int]], seconds: float, random: Callable[[], float]) -> None:
    """Works for ever: a round at the start and one every so many seconds, each until nothing is left to do.

    ``batch`` does a part and returns how many rows that was; 0 when there is nothing (left). ``done`` says in the log
    what was done to them: "tickets pruned".
    """
    has_failed = False
    while True:
        try:
            total = 0
            while rows := await batch():
                total += rows
                await asyncio.sleep(PAUSE_SECONDS)
            if total:
                logger.info(done, extra=fields(count=total))
            has_failed = False
        except (DatabaseUnavailable, DatabaseRefused) as error:
            level = logging.DEBUG if has_failed else logging.WARNING  # an outage may last for hours
            logger.log(level, "maintenance failed", extra=fields(what=done, error=error))
            has_failed = True
        await asyncio.sleep(seconds * (0.8 + 0.4 * random()))
