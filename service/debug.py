"""``/debug``: a page for development that shows one stream's raw frames, its reduced state and its ids as they arrive.

One file without a build step. It knows nothing, and asks for nothing but what any page may ask, with a token that its
user gives it, by hand or behind a ``#``, which browsers send to nobody.
"""

import base64
import hashlib
import re
from pathlib import Path

from quart import Blueprint, Response

PAGE = Path(__file__).with_name("debug.html")


def blueprint() -> Blueprint:
    """Only registered where development is on; elsewhere there is no such address."""
    routes = Blueprint("debug", __name__)
    page = PAGE.read_text(encoding="utf-8")
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy(page),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }

    @routes.get("/debug")
    async def debug() -> Response:
        return Response(page, headers=headers)

    return routes


def policy(page: str) -> str:
    """A Content Security Policy that allows ``page`` what is in it, and to speak to its own origin."""
    return (
        f"default-src 'none'; script-src {_hash(page, 'script')}; style-src {_hash(page, 'style')}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(page: str, tag: str) -> str:
    [content] = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
