"""Access tokens for users of the devstack, without their passwords: its own secret signs them."""

import jwt
import psycopg

from devstack.errors import DevstackError

LIFETIME_SECONDS = 3600


def access_token(database_url: str, jwt_secret: str, email: str, now: float) -> str:
    """A token for the user with this address, with the claims that Supabase Auth gives. ``now`` in s since the epoch.

    It names no session (``session_id``): none was opened, and Auth refuses a token of one that it does not know.
    Raises :class:`DevstackError` when there is no such user or the database can't be reached.
    """
    try:
        with psycopg.connect(database_url, connect_timeout=5) as database:
            found = database.execute(
                "select id, email from auth.users where lower(email) = lower(%s)", [email]
            ).fetchone()
    except psycopg.Error as error:
        raise DevstackError(f"The devstack's users can't be read: {str(error).splitlines()[0]}") from None
    if found is None:
        raise DevstackError(f"The devstack has no user {email}; sign up first (POST /auth/v1/signup).")
    claims = {
        "sub": str(found[0]),
        "aud": "authenticated",
        "role": "authenticated",
        "email": found[1],
        "is_anonymous": False,
        "iat": int(now),
        "exp": int(now) + LIFETIME_SECONDS,
    }
    return jwt.encode(claims, jwt_secret, algorithm="HS256")
