"""Access tokens for ``rowcast watch``: one that was given, or the demo user's, signed in anew when it is due."""

import time
from collections.abc import Mapping

import httpx

from service.errors import RowcastServiceError

RENEW_SECONDS = 60.0
"""How long before its end a token is renewed."""


class SignInError(RowcastServiceError):
    """No token can be had; the message says what to set or what Auth answered."""


class TokenSource:
    """``environment`` names the project (SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY) and the user (ROWCAST_DEMO_…)."""

    def __init__(self, environment: Mapping[str, str], given: str | None) -> None:
        self._environment = environment
        self._given = given
        self._token = ""
        self._renew_at = 0.0

    async def get(self) -> str:
        """A token valid for a while. Raises :class:`SignInError`, or httpx.HTTPError when Auth can't be reached."""
        if self._given:
            return self._given
        if time.time() >= self._renew_at:
            await self._sign_in()
        return self._token

    async def _sign_in(self) -> None:
        names = ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "ROWCAST_DEMO_EMAIL", "ROWCAST_DEMO_PASSWORD")
        if missing := [name for name in names if not self._environment.get(name)]:
            raise SignInError(f"Set ROWCAST_TOKEN to an access token, or {', '.join(missing)} to sign in with.")
        url, key, email, password = (self._environment[name] for name in names)
        async with httpx.AsyncClient(timeout=10.0) as client:
            answer = await client.post(
                f"{url.rstrip('/')}/auth/v1/token",
                params={"grant_type": "password"},
                headers={"apikey": key},
                json={"email": email, "password": password},
            )
        if answer.status_code != httpx.codes.OK:
            raise SignInError(f"{email} could not sign in ({answer.status_code}): {answer.text[:200]}")
        granted = answer.json()
        self._token = granted["access_token"]
        self._renew_at = time.time() + float(granted["expires_in"]) - RENEW_SECONDS
