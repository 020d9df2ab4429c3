"""The project's public keys, fetched when needed and kept.

One fetch at a time, and none within COOLDOWN of the last. A set in use is renewed in the background once it is older
than RENEW; one older than MAX_AGE is waited for, so a key that was taken out is not accepted for longer. An unknown
key id asks for a fetch at once. While the endpoint is down the old keys serve on.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import jwt

from service.access.tokens import ALGORITHMS, Principal, UnknownKey, invalid, verify
from service.errors import ApiError
from service.logs import fields

RENEW_SECONDS = 300.0
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
        self.keys: Mapping[str, jwt.PyJWK] = {}
        self.is_certain = False
        """Whether the last fetch succeeded: if not, a key that is unknown here may exist."""
        self._tried_at = float("-inf")
        self._fetched_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def renew(self) -> None:
        """Sees to it that keys in use are not too old, as far as the endpoint allows. Never raises."""
        age = self._clock() - self._fetched_at
        if self.keys and age > RENEW_SECONDS:
            fetching = self._fetch_once()
            if fetching is not None and age > MAX_AGE_SECONDS:
                await asyncio.shield(fetching)

    async def refresh(self) -> bool:
        """Fetches the set unless that was tried within COOLDOWN; returns whether it was. Never raises."""
        fetching = self._fetch_once()
        if fetching is not None:
            # shielded: others wait for the same fetch when this caller is cancelled
            await asyncio.shield(fetching)
        return fetching is not None

    def _fetch_once(self) -> asyncio.Task[None] | None:
        """The fetch in flight, else a new one; None while the last is too recent."""
        if self._fetching is None and self._clock() - self._tried_at >= COOLDOWN_SECONDS:
            self._tried_at = self._clock()
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            answer = await self._client.get(self._url, timeout=FETCH_SECONDS)
            answer.raise_for_status()
            self.keys = _usable(answer.json())
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            self.is_certain = False
            logger.warning("the JWKS can't be fetched, old keys stay", extra=fields(keys=len(self.keys), error=error))
        else:
            self.is_certain = True
            self._fetched_at = self._clock()
        finally:
            self._fetching = None


def _usable(document: Any) -> dict[str, jwt.PyJWK]:
    """Those keys of a JWKS that can have signed an access token, by id. Raises ValueError when it is no JWKS."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("not a JWKS")
    found = {}
    for entry in entries:
        try:
            key = jwt.PyJWK(entry)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            logger.info("a key of the JWKS is passed over", extra=fields(error=error))
            continue
        if isinstance(key.key_id, str) and key.algorithm_name in ALGORITHMS:
            found[key.key_id] = key
    return found


class Verifier:
    """Verifies tokens with the key set and the legacy secret; ``now`` gives s since the epoch."""

    def __init__(self, keys: KeySet, secret: str | None, issuer: str | None, now: Callable[[], float]) -> None:
        self._keys = keys
        self._secret = secret
        self._issuer = issuer
        self._now = now

    async def verify(self, token: str) -> Principal:
        """Raises :class:`ApiError` 401 invalid_token or expired_token; 503 when the keys can't be fetched to tell."""
        await self._keys.renew()
        try:
            return self._verify(token)
        except UnknownKey as unknown:
            if await self._keys.refresh():
                try:
                    return self._verify(token)
                except UnknownKey:
                    pass
            if not self._keys.is_certain:
                raise ApiError(
                    503,
                    "upstream_unavailable",
                    "The keys that access tokens are signed with can't be fetched at the moment.",
                    retry_after=int(COOLDOWN_SECONDS),
                ) from None
            raise invalid(f"its key {str(unknown)[:64]!r} is not among the project's") from None

    def _verify(self, token: str) -> Principal:
        return verify(token, self._keys.keys, self._secret, self._issuer, self._now())
