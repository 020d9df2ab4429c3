"""What a stream owes its page because time has passed: a hint before its token ends, a sign of life, its end."""

import asyncio
import math
import time

from service.events.endings import Ending
from service.events.model import Reauth

REAUTH_SECONDS = 60.0
"""How long before its token expires a page is told so."""


class Lifetime:
    """Begins when it is made, in a running event loop.

    ``expires_at`` is the token's exp, in s since the epoch; ``max_age`` and ``keepalive_seconds`` are in s. The wall
    clock is asked at every turn, at the latest at the next keepalive. So when it is set right, or the machine has
    slept, an open stream is good for exactly as long as a new one with its token would be.
    """

    __slots__ = ("_expires_at", "_is_warned", "_keepalive_at", "_keepalive_seconds", "_retires_at")

    def __init__(self, expires_at: float, max_age: float, keepalive_seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self._expires_at = expires_at
        self._is_warned = False
        self._retires_at = now + max_age
        self._keepalive_seconds = keepalive_seconds
        self._keepalive_at = now + keepalive_seconds

    @property
    def is_expired(self) -> bool:
        return time.time() >= self._expires_at

    def renew(self, expires_at: float) -> None:
        """There is another token."""
        self._expires_at = expires_at
        self._is_warned = False

    def spoke(self) -> None:
        """The page has been told something: that is a sign of life."""
        self._keepalive_at = asyncio.get_running_loop().time() + self._keepalive_seconds

    def due(self) -> Reauth | Ending | float | None:
        """What is due now, each once: the hint, an ending, or None, which is a keepalive.

        When nothing is: the time to ask again, on the event loop's clock.
        """
        now = asyncio.get_running_loop().time()
        expires = now + (self._expires_at - time.time())
        if now >= expires:
            return Ending.TOKEN_EXPIRED
        warns = math.inf if self._is_warned else expires - REAUTH_SECONDS
        if now >= warns:
            self._is_warned = True
            return Reauth.before(self._expires_at)
        if now >= self._retires_at:
            self._retires_at = math.inf
            return Ending.SHUTDOWN
        if now >= self._keepalive_at:
            self.spoke()
            return None
        return min(warns, expires, self._retires_at, self._keepalive_at)
