"""Verifies Supabase access tokens against keys that the caller has at hand.

The key decides the algorithm, never the token's header: a key from the JWKS is used with the one algorithm it is made
for, and the legacy secret with HS256 alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from service.errors import ApiError

AUDIENCE = "authenticated"
LEEWAY_SECONDS = 5
MAX_LENGTH = 16 * 1024
ALGORITHMS = frozenset({"ES256", "RS256"})
"""What keys of a JWKS may be made for."""

# Nothing else reaches the decoder, nor, as part of a valid token, a header of the question to the database.
SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")

API_KEYS = {"sb_secret_": "secret", "sb_publishable_": "publishable"}
API_ROLES = {"service_role": "secret", "anon": "publishable"}
"""The roles that the legacy API keys, which are JWTs, are for."""


class UnknownKey(Exception):
    """The token names a key that is not at hand; a fresh key set may have it."""


@dataclass(frozen=True)
class Principal:
    """Who a valid token speaks for. ``expires_at`` in s since the epoch; ``token`` is for asking the database.

    ``projects`` are the only ones that it is good for, as a ticket's; None: the database decides alone.
    An operator is no user: there is no token, and the database is not asked.
    """

    user_id: str
    expires_at: float
    token: str = field(repr=False)
    projects: frozenset[str] | None = None
    is_operator: bool = False


def invalid(why: str) -> ApiError:
    return ApiError(401, "invalid_token", f"The access token is not valid: {why}.")


def verify(token: str, keys: Mapping[str, jwt.PyJWK], secret: str | None, issuer: str | None, now: float) -> Principal:
    """Checks signature, exp, nbf, aud, iss (unless None) and sub; ``keys`` maps key ids to the JWKS' keys.

    Raises :class:`ApiError` 401 invalid_token or expired_token, or :class:`UnknownKey`.
    """
    if len(token) > MAX_LENGTH:
        raise invalid("it is too long")
    _refuse_api_key(token)
    if not SHAPE.fullmatch(token):
        raise invalid("it is no JWT")
    key, algorithm = _key_for(token, keys, secret)
    try:
        # PyJWT would look at the clock itself, so its time checks are off and made below.
        claims = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=AUDIENCE,
            issuer=issuer,
            options={
                "require": ["exp", "sub"], "verify_exp": False, "verify_nbf": False, "verify_iat": False,
                "verify_iss": issuer is not None,
            },
        )  # fmt: skip
    except jwt.PyJWTError as error:
        raise invalid(str(error).rstrip(".").lower()) from None
    expires_at = _seconds("exp", claims["exp"])
    not_before = _seconds("nbf", claims.get("nbf", 0))
    if expires_at + LEEWAY_SECONDS <= now:
        raise ApiError(401, "expired_token", "The access token has expired; sign in again or refresh it.")
    if not_before > now + LEEWAY_SECONDS:
        raise invalid("it is not valid yet (nbf)")
    if not claims["sub"]:
        raise invalid("sub is empty")
    return Principal(claims["sub"], expires_at, token)


def _refuse_api_key(token: str) -> None:
    """An API key says which program asks, not which user; with a secret one the database would let it read all.

    What it is made for is read before it is verified: nobody gets in by that.
    """
    kind = next((kind for prefix, kind in API_KEYS.items() if token.startswith(prefix)), None)
    if kind is None:
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, RecursionError):
            return
        role = claims.get("role")
        kind = API_ROLES.get(role) if isinstance(role, str) else None
    if kind is not None:
        warning = " (and a secret key belongs on no page)" if kind == "secret" else ""
        raise invalid(f"it is a {kind} API key, not the access token of a signed-in user{warning}")


def _seconds(name: str, value: Any) -> float:
    # the comparison is false for NaN, and keeps out what no float can hold
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        raise invalid(f"{name} must be a number of seconds")
    return float(value)


def _key_for(token: str, keys: Mapping[str, jwt.PyJWK], secret: str | None) -> tuple[jwt.PyJWK | str, str]:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, RecursionError):  # the latter from JSON nested deeply, in older versions of PyJWT
        raise invalid("it is no JWT") from None
    kid = header.get("kid")
    if isinstance(kid, str) and kid in keys:
        key = keys[kid]
        if key.algorithm_name not in ALGORITHMS:
            raise invalid("its key is of a kind that access tokens don't have")
        return key, key.algorithm_name
    if header.get("alg") == "HS256":
        if secret is None:
            raise invalid("it is signed with HS256 and this service knows no SUPABASE_JWT_SECRET")
        return secret, "HS256"
    if kid is None:
        raise invalid("it names no key")
    raise UnknownKey(kid)
