"""Takes what opens something out of a text that is about to be logged.

It comes last, after everybody who logs has been careful: for the exception that quotes an address, for the library that
tells its headers, for the access log whose format an operator chose.
"""

import json
import re
from collections.abc import Callable, Iterable
from urllib.parse import parse_qsl, quote

HIDDEN = "[redacted]"

SHOWN_PARAMETERS = frozenset(
    {"since", "snapshot", "events", "types", "projects", "boms", "after", "limit", "project_id"}
)
"""The parameters whose values a log may show. Any other's may be a secret by a name that nobody thought of."""
HIDDEN_HEADERS = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"apikey", b"x-api-key"})

# What is known by its form, wherever it stands: parameters of addresses (id_token= too), headers, JWTs, Supabase's
# secret keys. And any long run of base64url, as a ticket is: no word and no identifier is as long. That one stands
# before what begins like it, so that no text, however it is made, is gone through again and again.
FORMS = re.compile(
    r"(?P<name>(?:token|ticket|apikey|api_key|secret|password)=|\bbearer\s+)(?!\[redacted\])[^&\s\"'<>\\)\]}]+"
    r"|[A-Za-z0-9_-]{100,}(?:\.[A-Za-z0-9_-]+)*"
    r"|\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|\bsb_secret_[A-Za-z0-9_-]+",
    re.IGNORECASE,
)


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that hides ``secrets``, and all that looks like one, in a text."""
    known = {form for secret in secrets if secret for form in (secret, json.dumps(secret)[1:-1])}
    exact = re.compile("|".join(map(re.escape, sorted(known, key=len, reverse=True)))) if known else None

    def redact(text: str) -> str:
        if exact is not None:
            text = exact.sub(HIDDEN, text)
        return FORMS.sub(lambda found: f"{found['name'] or ''}{HIDDEN}", text)

    return redact


def shown_query(query: bytes) -> bytes:
    """A query string with the values alone that a log may show."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    shown = [f"{quote(name)}={quote(value, ',') if name in SHOWN_PARAMETERS else HIDDEN}" for name, value in pairs]
    return "&".join(shown).encode()


def shown_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """A request's headers without those that say who sends it."""
    return [(name, HIDDEN.encode() if name.lower() in HIDDEN_HEADERS else value) for name, value in headers]
