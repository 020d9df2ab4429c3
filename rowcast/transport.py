"""One write, one HTTP request to PostgREST, and what its answer means.

httpx directly: the errors of the package `postgrest` have lost the HTTP status and the Retry-After header, which decide
here between waiting and giving up.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from rowcast.config import Config
from rowcast.errors import RequestError
from rowcast.state import Delivered, Outcome, Refused, Unreachable, Write

LONGEST_RETRY_AFTER = 20.0  # seconds, a third of a lease: a server that says more is asked again before it runs out
TRY_AGAIN = frozenset({408, 425, 429})
# Supabase Lite answers a violated constraint with 500, PostgREST with 400; neither gets better by repeating.
# Both answer 500 when job_heartbeat finds no such job; Lite also where a job's status can't change like that.
HOPELESS = re.compile(
    r"\bviolates\b.*\bconstraint\b|\binvalid input syntax\b|\bout of range\b|\bvalue too long\b|\bthere is no job\b"
    r"|\bjob can't become\b"
)


class Rest:
    """A project's `/rest/v1` with the secret key. One connection, kept open; for use by one thread."""

    def __init__(self, config: Config) -> None:
        self._client = httpx.Client(
            base_url=f"{config.url}/rest/v1/",
            headers={
                "apikey": config.key,
                "Authorization": f"Bearer {config.key}",
                "Content-Type": "application/json",
                "Prefer": "resolution=ignore-duplicates,return=representation",
            },
        )

    def send(self, write: Write) -> Outcome:
        try:
            response = self._client.request(
                write.method, write.path, params=write.params, content=write.body.encode(), timeout=write.patience
            )
            return read_answer(response, write)
        except httpx.HTTPError as error:
            return Unreachable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        except (ValueError, TypeError, httpx.InvalidURL) as error:  # one that can't be sent ends no others
            return Refused(RequestError(f"{write.what} can't be sent: {error}", status=0))

    def close(self) -> None:
        self._client.close()


def read_answer(response: httpx.Response, write: Write) -> Outcome:
    """What ``response`` means for ``write``."""
    status = response.status_code
    body, is_json = None, False
    with suppress(ValueError):
        body, is_json = response.json(), True
    told = body if isinstance(body, dict) else {}
    if response.is_success:
        if not is_json:
            # A page, or nothing at all, where JSON was asked for: this is not PostgREST.
            return Refused(
                _error(response, write, {"message": "the answer is no JSON; is the address a Supabase project's?"})
            )
        return Delivered(body)
    hopeless = status == 500 and HOPELESS.search(str(told.get("message")))
    if status in TRY_AGAIN or (status >= 500 and not hopeless):
        reason = f"HTTP {status} {told.get('message') or response.reason_phrase}".strip()
        return Unreachable(reason, retry_after(response.headers.get("Retry-After"), datetime.now(UTC)))
    return Refused(_error(response, write, told))


def retry_after(value: str | None, now: datetime) -> float | None:
    """A Retry-After header (seconds or a date) in seconds, at most LONGEST_RETRY_AFTER; None without a usable one."""
    if value is None:
        return None
    seconds: float | None = None
    if value.strip().isdecimal():
        seconds = float(value)
    else:
        with suppress(ValueError, TypeError):
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _error(response: httpx.Response, write: Write, told: dict[str, object]) -> RequestError:
    def text(name: str) -> str | None:
        return str(told[name]) if told.get(name) else None

    code, details, hint = text("code"), text("details"), text("hint")
    said = text("message") or response.reason_phrase or "no reason given"
    if response.status_code in (401, 403):
        hint = "is this the secret key of this project?"
    elif code in ("PGRST202", "PGRST204", "PGRST205"):
        hint = hint or "are rowcast's migrations applied to this database?"
    extra = "".join(f" ({part})" for part in (details, hint) if part)
    return RequestError(
        f"{write.what} was refused with HTTP {response.status_code}: {said}{extra}",
        status=response.status_code,
        code=code,
        details=details,
        hint=hint,
    )
