"""Which keys and tokens are believed, and what is said to the others."""

import time
from typing import Any

import jwt
import pytest

from devstack.realtime.tokens import Keyring, TokenError, is_opaque

SECRET = "a-secret-of-at-least-thirty-two-characters"
NOW = 1_800_000_000.5
RING = Keyring(SECRET, {"sb_publishable_x": "anon", "sb_secret_x": "service_role"})


def sign(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode(claims, secret, algorithm=algorithm)


def test_opaque_keys_stand_for_their_roles() -> None:
    assert RING.verify_key("sb_secret_x", NOW) == {"role": "service_role"}
    assert RING.verify_key("sb_publishable_x", NOW) == {"role": "anon"}


def test_a_signed_token_is_believed_until_it_expires() -> None:
    token = sign(role="authenticated", exp=int(NOW) + 1, sub="x", aud="anything", iat=int(NOW) + 100)
    assert RING.verify_key(token, NOW)["sub"] == "x"
    with pytest.raises(TokenError):
        RING.verify(token, NOW + 1)


@pytest.mark.parametrize(
    ("token", "on_connect", "on_join", "on_refresh"),
    [
        (
            sign(SECRET[::-1], role="anon", exp=int(NOW) + 9),
            "Failed to validate JWT signature",
            "JwtSignatureError: Failed to validate JWT signature",
            ":signature_error",
        ),
        (
            sign(role="anon", exp=int(NOW) - 9),
            "Token has expired",
            "InvalidJWTToken: Token has expired 9 seconds ago",
            "Token has expired 9 seconds ago",
        ),
        *(
            (
                token,
                "Fields `role` and `exp` are required in JWT",
                "InvalidJWTToken: Fields `role` and `exp` are required in JWT",
                "Fields `role` and `exp` are required in JWT",
            )
            for token in (sign(exp=int(NOW) + 9), sign(role="anon"), sign(role=7, exp=int(NOW) + 9))
        ),
        *(
            (
                token,
                "The token provided is not a valid JWT",
                "MalformedJWT: The token provided is not a valid JWT",
                "The token provided is not a valid JWT",
            )
            for token in ("garbage", "", "a.b.c", "sb_secret_unknown")
        ),
    ],
)
def test_refuses_in_the_real_servers_words(token: str, on_connect: str, on_join: str, on_refresh: str) -> None:
    with pytest.raises(TokenError) as error:
        RING.verify_key(token, NOW)
    assert (error.value.on_connect, error.value.on_join, error.value.on_refresh) == (on_connect, on_join, on_refresh)


def test_an_unsigned_token_is_not_believed() -> None:
    with pytest.raises(TokenError):
        RING.verify(jwt.encode({"role": "service_role", "exp": time.time() + 9}, None, algorithm="none"), NOW)


def test_no_token_and_opaque_ones_leave_it_to_the_key() -> None:
    assert is_opaque(None)
    assert is_opaque("sb_publishable_x")
    assert not is_opaque("eyJ")
    assert not is_opaque(7)
