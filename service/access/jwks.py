"""The project's public keys, fetched when needed and kept.

One fetch at a time; a fresh set every MAX_AGE; an unknown key id asks for one at most every COOLDOWN; while the
endpoint is down the old keys serve on.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

import httpx
import jwt

from service.access.tokens import Principal, UnknownKey, invalid, verify

MAX_AGE_SECONDS = 600.0
COOLDOWN_SECONDS = 30.0
FETCH_SECONDS = 5.0

logger = logging.getLogger(__name__)


class KeySet:
    """``url`` answers with a JWKS; ``clock`` gives monotonic seconds."""

    def __init__(self, client: httpx.AsyncClient, url: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._url = url
        self._clock = clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._tried_at = float("-inf")
        self._fetched_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    @property
    def keys(self) -> Mapping[str, jwt.PyJWK]:
        return self._keys

    @property
    def is_stale(self) -> bool:
        return self._clock() - self._fetched_at > MAX_AGE_SECONDS

    async def refresh(self) -> bool:
        """Fetches the set unless that was tried within COOLDOWN; returns whether it was. Never raises."""
        if self._fetching is None:
            if self._clock() - self._tried_at < COOLDOWN_SECONDS:
                return False
            self._tried_at = self._clock()
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        await asyncio.shield(self._fetching)
        return True

    async def _fetch(self) -> None:
        try:
            answer = await self._client.get(self._url, timeout=FETCH_SECONDS)
            answer.raise_for_status()
            found = {}
            for entry in answer.json()["keys"]:
                if entry.get("kid") and entry.get("kty") in ("EC", "RSA"):
                    found[entry["kid"]] = jwt.PyJWK(entry)
            self._keys = found
            self._fetched_at = self._clock()
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
            logger.warning("the JWKS can't be fetched, %d old keys stay: %r", len(self._keys), error)
        finally:
            self._fetching = None


class Verifier:
    """Verifies tokens with the key set and the legacy secret; ``now`` gives s since the epoch."""

    def __init__(self, keys: KeySet, secret: str | None, issuer: str | None, now: Callable[[], float]) -> None:
        self._keys = keys
        self._secret = secret
        self._issuer = issuer
        self._now = now

    async def verify(self, token: str) -> Principal:
        """Raises :class:`service.errors.ApiError` 401 invalid_token or expired_token."""
        try:
            return self._verify(token)
        except UnknownKey as unknown:
            if await self._keys.refresh():
                try:
                    return self._verify(token)
                except UnknownKey:
                    pass
            raise invalid(f"its key {str(unknown)[:64]!r} is not among the project's") from None

    def _verify(self, token: str) -> Principal:
        return verify(token, self._keys.keys, self._secret, self._issuer, self._now())
