"""Stream tickets: what a page puts into an EventSource's address instead of its access token.

A ticket is the access token it was issued for, sealed with a key that only this service's processes can derive (from
the secret API key), so whichever process redeems it verifies that token and asks the database with it as it would have
with the token itself. Single use and the projects it is for are a row of ``stream_tickets``, which holds nothing but
the ticket's hash: redeemed by deleting it, which succeeds once, however many try at the same moment.
"""

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.access.rest import Rest
from service.access.tokens import MAX_LENGTH, Principal
from service.errors import ApiError, DatabaseUnavailable, Refused

LIFETIME_SECONDS = 60
NONCE_BYTES = 12
SHAPE = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_LENGTH * 3 // 2}}}")
LATEST = datetime.max.replace(tzinfo=UTC).timestamp() - 86400
"""The last exp that a timestamptz of Python's can hold, about."""

NO_SUCH_USER = ("23503", "22P02")
"""SQLSTATEs of the insert: auth.users has no such row, and the subject is no UUID."""


def refused() -> ApiError:
    """One answer for all that is wrong with a ticket: who guesses learns nothing."""
    return ApiError(
        401, "invalid_token", "The ticket is not valid: it was used before, is over 60 s old, or is not for this."
    )


class Tickets:
    """``rest`` has the secret key, which is also ``secret_key``; ``now`` gives s since the epoch."""

    def __init__(self, rest: Rest, secret_key: str, now: Callable[[], float]) -> None:
        self._rest = rest
        self._now = now
        self._box = AESGCM(HKDF(SHA256(), 32, None, b"rowcast stream tickets").derive(secret_key.encode()))

    async def issue(self, principal: Principal, project_ids: Iterable[str]) -> tuple[str, int]:
        """A ticket for projects that the principal may read, and for how many seconds it is good.

        Raises :class:`ApiError` 401 for a user that Supabase Auth does not know; what :meth:`Rest.ask` raises.
        """
        lifetime = min(LIFETIME_SECONDS, max(1, int(principal.expires_at - self._now())))
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + self._box.encrypt(nonce, principal.token.encode(), None)
        ticket = base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
        row = {
            "token_hash": _hash(ticket),
            "user_id": principal.user_id,
            "project_ids": list(project_ids),
            "expires_at": _timestamp(self._now() + lifetime),
            "token_exp": _timestamp(principal.expires_at),
        }
        try:
            await self._rest.ask("POST", "stream_tickets", {"select": "expires_at"}, body=row, expect=201)
        except Refused as error:
            if error.code in NO_SUCH_USER:
                raise ApiError(
                    401, "invalid_token", "The access token's user is not one of Supabase Auth's: no ticket for them."
                ) from None
            raise
        return ticket, lifetime

    async def redeem(self, ticket: str) -> tuple[str, frozenset[str]]:
        """The access token that the ticket was issued for, and its projects. The ticket is spent.

        Raises :class:`ApiError` 401; what :meth:`Rest.ask` raises.
        """
        token = self._unseal(ticket)
        this = {"token_hash": f"eq.{_hash(ticket)}", "expires_at": f"gt.{_timestamp(self._now())}"}
        match await self._rest.ask("DELETE", "stream_tickets", {**this, "select": "project_ids"}):
            case [{"project_ids": [*project_ids]}]:
                return token, frozenset(map(str, project_ids))
            case []:
                raise refused()
            case said:
                raise DatabaseUnavailable(f"stream_tickets: not an answer of the database ({str(said)[:200]})")

    async def prune(self) -> int:
        """Deletes the tickets that nobody has redeemed in time, and returns how many, or as many as the answer tells.

        Raises what :meth:`Rest.ask` raises.
        """
        expired = f"lt.{_timestamp(self._now())}"
        return len(await self._rest.ask("DELETE", "stream_tickets", {"expires_at": expired, "select": "expires_at"}))

    def _unseal(self, ticket: str) -> str:
        if not SHAPE.fullmatch(ticket):
            raise refused()
        try:
            sealed = base64.urlsafe_b64decode(ticket + "=" * (-len(ticket) % 4))
            return self._box.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None).decode()
        except (binascii.Error, ValueError, InvalidTag):
            raise refused() from None


def _hash(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(min(seconds, LATEST), UTC).isoformat()
