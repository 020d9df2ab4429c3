"""Where to write and with which key: from arguments, or from the environment."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from rowcast.errors import ConfigError

URL_VARIABLE = "SUPABASE_URL"
KEY_VARIABLES = ("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")


@dataclass(frozen=True, slots=True)
class Config:
    """A project's address and its secret key. The key stays out of the repr."""

    url: str
    key: str = field(repr=False)


def read_config(url: str | None, key: str | None, environ: Mapping[str, str]) -> Config:
    """The configuration from arguments, else from ``environ``.

    Raises :class:`ConfigError` naming everything that is missing, or the first thing that is wrong. The message never
    repeats a key.
    """
    url_from, key_from = "url", "key"
    if url is None:
        url_from, url = URL_VARIABLE, environ.get(URL_VARIABLE)
    if key is None:
        key_from = next((name for name in KEY_VARIABLES if environ.get(name, "").strip()), KEY_VARIABLES[0])
        key = environ.get(key_from)
    url, key = (url or "").strip(), (key or "").strip()
    missing = [
        text
        for value, text in (
            (url, f"{url_from} (the project's address, like https://abc.supabase.co)"),
            (key, f"{key_from} (the project's secret key, sb_secret_… or the service_role key)"),
        )
        if not value
    ]
    if missing:
        raise ConfigError(f"Not set: {' and '.join(missing)}.")
    return Config(_check_url(url, url_from), _check_key(key, key_from))


def _check_url(url: str, name: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"{name} is not a URL ({error}); it looks like https://abc.supabase.co.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"{name} must be an http or https address like https://abc.supabase.co, not {url!r}.")
    if parsed.query or parsed.fragment or parsed.userinfo:
        raise ConfigError(f"{name} must be the bare address of the project, without '?', '#' or a user name.")
    return url.rstrip("/").removesuffix("/rest/v1")


def _check_key(key: str, name: str) -> str:
    if not key.isascii() or any(character.isspace() for character in key):
        raise ConfigError(f"{name} holds spaces or other characters that no key has: was it copied whole?")
    if key.startswith("sb_publishable_"):
        raise ConfigError(
            f"{name} is a publishable key, which may not write. A worker needs the secret key (sb_secret_…)."
        )
    if key.startswith("sb_secret_"):
        return key
    role = _jwt_role(key)
    if role == "service_role":
        return key
    if role == "anon":
        raise ConfigError(
            f"{name} is the anon key, which may not write. A worker needs the secret or service_role key."
        )
    if role is not None:
        raise ConfigError(
            f"{name} is an access token of role {role!r}, no API key. A worker needs the secret or service_role key."
        )
    raise ConfigError(f"{name} is no Supabase key: those start with sb_secret_, or are a service_role JWT.")


def _jwt_role(key: str) -> str | None:
    """The role a legacy JWT key claims (not verified: the server does that), None when it is no JWT."""
    parts = key.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    return str(claims.get("role")) if isinstance(claims, dict) else None
