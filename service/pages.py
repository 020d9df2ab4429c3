"""HTML pages that are one file and ask nobody but the service for anything."""

import base64
import hashlib
import re

from quart import Response


def answer(page: str) -> Response:
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy(page),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return Response(page, headers=headers)


def policy(page: str) -> str:
    """A Content Security Policy that allows ``page`` what is in it, and to speak to its own origin."""
    return (
        f"default-src 'none'; script-src {_hash(page, 'script')}; style-src {_hash(page, 'style')}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(page: str, tag: str) -> str:
    """A source that allows the one element of this kind; 'none' where there is none."""
    found = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    if not found:
        return "'none'"
    [content] = found
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
