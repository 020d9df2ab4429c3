"""Finds what should not be there in what a service has written."""

import re
from collections.abc import Mapping

FORMS = re.compile(
    r"eyJ[\w-]+\.[\w-]+|sb_secret_[\w-]+"
    r"|(?:token|ticket|apikey)=(?!\[redacted\])[^\s&\"]+|[Bb]earer (?!\[redacted\])\S+"
)
VARIABLES = ("SUPABASE_SECRET_KEY", "SUPABASE_JWT_SECRET", "ROWCAST_ADMIN_TOKEN")


def secrets_in(text: str, environment: Mapping[str, str]) -> list[str]:
    """Tokens, tickets and keys by their form, and the environment's own, that a text shows."""
    known = [environment[name] for name in VARIABLES if environment.get(name)]
    return [secret for secret in known if secret in text] + FORMS.findall(text)
