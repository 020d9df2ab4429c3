"""How many requests a minute an address may make of a route: quart-rate-limiter, with a store that can't grow for ever.

It counts by GCRA: a whole minute's worth may come at once, as after a restart all pages of an office do, and what comes
above it gets a 429 with Retry-After.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from quart import Quart
from quart_rate_limiter import RateLimit, RateLimiter
from quart_rate_limiter.store import RateLimiterStoreABC

KEYS_LIMIT = 50_000


class BoundedStore(RateLimiterStoreABC):
    """When each key may come again. With more than ``limit`` keys, those who may come at once are forgotten, and then

    who came longest ago until half are left: so that it seldom has to look.
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
