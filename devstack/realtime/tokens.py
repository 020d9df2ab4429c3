"""API keys and access tokens, with the real server's words for what is wrong with them (pure).

A token is a JWT signed HS256 with the project's JWT secret; `role` and `exp` are required. An opaque key
(`sb_publishable_…`, `sb_secret_…`) stands for the role anon or service_role: on hosted Supabase the gateway swaps it
for a short-lived token before Realtime sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import jwt

Claims = Mapping[str, Any]

_NOT_A_JWT = "The token provided is not a valid JWT"
_FIELDS_REQUIRED = "Fields `role` and `exp` are required in JWT"
_BAD_SIGNATURE = "Failed to validate JWT signature"


class TokenError(Exception):
    """A key or token was refused. Its three wordings are those of the place where it was shown.

    Attributes:
        on_connect: the JSON error of the HTTP 401.
        on_join: the reason in the phx_reply.
        on_refresh: the message of the system frame, after an access_token push or at expiry.
    """

    def __init__(self, on_connect: str, on_join: str, on_refresh: str) -> None:
        super().__init__(on_connect)
        self.on_connect = on_connect
        self.on_join = on_join
        self.on_refresh = on_refresh


def expired(seconds: int) -> TokenError:
    """The error for a token whose `exp` passed `seconds` ago."""
    ago = f"Token has expired {seconds} seconds ago"
    return TokenError("Token has expired", f"InvalidJWTToken: {ago}", ago)


@dataclass(frozen=True, slots=True)
class Keyring:
    """What this server trusts.

    Args:
        jwt_secret: signs JWTs, HS256.
        opaque: opaque API keys and the role each stands for.
    """

    jwt_secret: str
    opaque: Mapping[str, str]

    def verify_key(self, key: str, now: float) -> Claims:
        """The claims of an API key: an opaque one, or a JWT.

        Raises:
            TokenError: if it is neither.
        """
        role = self.opaque.get(key)
        return {"role": role} if role is not None else self.verify(key, now)

    def verify(self, token: str, now: float) -> Claims:
        """The claims of a JWT.

        Args:
            now: seconds since 1970.

        Raises:
            TokenError: if it is malformed, signed by someone else, lacks role or exp, or has expired.
        """
        try:
            # Checked below instead, in the real server's order and words.
            unchecked = {"verify_exp": False, "verify_aud": False, "verify_iat": False, "verify_nbf": False}
            claims = jwt.decode(
                token, self.jwt_secret, algorithms=["HS256"], options=cast("Any", unchecked | {"verify_sub": False})
            )
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
            raise TokenError(_BAD_SIGNATURE, f"JwtSignatureError: {_BAD_SIGNATURE}", ":signature_error") from None
        except jwt.PyJWTError:
            raise TokenError(_NOT_A_JWT, f"MalformedJWT: {_NOT_A_JWT}", _NOT_A_JWT) from None
        expires = claims.get("exp")
        if not isinstance(expires, int) or not isinstance(claims.get("role"), str):
            raise TokenError(_FIELDS_REQUIRED, f"InvalidJWTToken: {_FIELDS_REQUIRED}", _FIELDS_REQUIRED)
        if expires <= int(now):
            raise expired(int(now) - expires)
        return claims


def is_opaque(token: object) -> bool:
    """Whether a client sent no token of its own: none at all, or its opaque API key."""
    return token is None or (isinstance(token, str) and token.startswith("sb_"))
