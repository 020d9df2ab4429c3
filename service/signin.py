"""Access tokens for ``rowcast watch``: one that was given, or the demo user's, signed in anew when it is due."""

import time
from collections.abc import Callable, Mapping

import httpx

from service.addresses import base_address
from service.errors import RowcastServiceError

RENEW_SECONDS = 60.0
"""How long before its end a token is renewed."""


class SignInError(RowcastServiceError):
    """No token can be had; the message says what to set or what Auth answered."""


class TokenSource:
    """``environment`` names the project (SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY) and the user (ROWCAST_DEMO_…).

    A token that is ``given`` is used as it is. ``now`` gives s since the epoch.
    """

    def __init__(self, environment: Mapping[str, str], given: str | None, now: Callable[[], float] = time.time) -> None:
        self._environment = environment
        self._given = given
        self._now = now
        self._token = ""
        self._renew_at = float("-inf")

    async def get(self) -> str:
        """A token valid for a while.

        Raises :class:`SignInError`, or httpx.HTTPError when Auth can't be asked and trying again may help.
        """
        if self._given:
            return _copied_whole("The access token", self._given)
        if self._now() >= self._renew_at:
            await self._sign_in()
        return self._token

    async def _sign_in(self) -> None:
        names = ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "ROWCAST_DEMO_EMAIL", "ROWCAST_DEMO_PASSWORD")
        if missing := [name for name in names if not self._environment.get(name)]:
            raise SignInError(f"Set ROWCAST_TOKEN to an access token, or {', '.join(missing)} to sign in with.")
        address, key, email, password = (self._environment[name] for name in names)
        try:
            url = base_address(address)
        except ValueError as error:
            raise SignInError(f"SUPABASE_URL {error}.") from None
        key = _copied_whole("SUPABASE_PUBLISHABLE_KEY", key)
        async with httpx.AsyncClient(timeout=10.0) as client:
            answer = await client.post(
                f"{url}/auth/v1/token",
                params={"grant_type": "password"},
                headers={"apikey": key},
                json={"email": email, "password": password},
            )
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            answer.raise_for_status()
        if answer.status_code != httpx.codes.OK:
            raise SignInError(f"{email} could not sign in ({answer.status_code}): {_said(answer)}")
        try:
            granted = answer.json()
            token, lifetime = str(granted["access_token"]), float(granted["expires_in"])
        except (ValueError, KeyError, TypeError):
            raise SignInError(f"What answers at {url}/auth/v1 is not Supabase Auth.") from None
        self._token, self._renew_at = token, self._now() + lifetime - RENEW_SECONDS


def _said(answer: httpx.Response) -> str:
    """What Auth, or the gateway before it, has against a request."""
    try:
        said = answer.json()
        return str(said.get("msg") or said["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer.text[:200]


def _copied_whole(name: str, value: str) -> str:
    """The value as a header can hold it."""
    value = value.strip()
    if not value.isascii() or not value.isprintable():
        raise SignInError(f"{name} holds characters that none has; was it copied whole?")
    return value
