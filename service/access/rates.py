"""How many requests a minute an address may make of a route: quart-rate-limiter, with a store that can't grow for ever.

It counts by GCRA: a whole minute's worth may come at once, as after a restart all pages of an office do, and what comes
above it gets a 429 with Retry-After. What does not come through Quart, a WebSocket and what is asked on it, is counted
here in the same way.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from quart import Quart
from quart_rate_limiter import RateLimit, RateLimiter
from quart_rate_limiter.store import RateLimiterStoreABC

from service.errors import LimitReached

KEYS_LIMIT = 50_000


class BoundedStore(RateLimiterStoreABC):
    """When each key may come again.

    With more than ``limit`` keys, those who may come at once are forgotten, and then who came longest ago until half
    are left: so that it seldom has to look.
    """

    def __init__(self, limit: int = KEYS_LIMIT) -> None:
        self._limit = limit
        self._arrivals: dict[str, datetime] = {}  # the one written longest ago first

    def __len__(self) -> int:
        return len(self._arrivals)

    async def before_serving(self) -> None:
        """Nothing to set up."""

    async def after_serving(self) -> None:
        """Nothing to clean up."""

    async def get(self, key: str, default: datetime) -> datetime:
        return self._arrivals.get(key, default)

    async def set(self, key: str, tat: datetime) -> None:
        self._arrivals.pop(key, None)
        self._arrivals[key] = tat
        if len(self._arrivals) > self._limit:
            now = datetime.now(UTC)
            self._arrivals = {key: arrival for key, arrival in self._arrivals.items() if arrival > now}
            while len(self._arrivals) > self._limit // 2:
                del self._arrivals[next(iter(self._arrivals))]


def limit_requests(app: Quart, per_minute: int, address: Callable[[], str]) -> None:
    """Limits every route of the application; ``address`` tells whom the present request is counted for. 0: no limit."""

    async def key() -> str:
        return address()

    if per_minute:
        RateLimiter(app, key, BoundedStore(), [RateLimit(per_minute, timedelta(minutes=1))])


class Pace:
    """Whether something may come again: ``per_minute`` times, all at once if they like."""

    def __init__(self, per_minute: int) -> None:
        self._apart = 60 / per_minute
        self._arrival = float("-inf")

    def allows(self, now: float) -> bool:
        """Counts one at ``now``, in s, if there may be one."""
        arrival = max(self._arrival, now)
        if arrival - now > 60 - self._apart:
            return False
        self._arrival = arrival + self._apart
        return True


class Handshakes:
    """As :func:`limit_requests`, for connections that Quart does not see."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._store = BoundedStore()

    async def count(self, address: str) -> None:
        """Raises :class:`LimitReached` 429 for one too many."""
        if not self._per_minute:
            return
        now, apart = datetime.now(UTC), 60 / self._per_minute
        arrival = max(await self._store.get(address, now), now)
        early = (arrival - now).total_seconds() - (60 - apart)
        if early > 0:
            raise too_many_requests(math.ceil(early))
        await self._store.set(address, arrival + timedelta(seconds=apart))


def too_many_requests(retry_after: int) -> LimitReached:
    message = "Too many requests from this address in a minute."
    return LimitReached("requests", 429, "rate_limited", message, retry_after)
