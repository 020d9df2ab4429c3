"""The project page: the static export of ``web/``, and what it must be told to begin with.

Only registered where ROWCAST_WEB_DIR says where the export is. Files are served as they are at that moment, so that a
new build needs no restart. Each page's policy allows the scripts that are in it, and to ask this service and Supabase.
"""

import asyncio
import base64
import gzip
import hashlib
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from quart import Blueprint, Response, jsonify, request, send_from_directory
from werkzeug.exceptions import NotFound

from service.settings import Settings

SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)
PAGE = re.compile(r"[a-z0-9-]+")
FOREVER = "public, max-age=31536000, immutable"
"""For files with a hash of their content in their names."""


def blueprint(settings: Settings, directory: Path) -> Blueprint:
    """``directory`` is an export, as Next.js makes it."""
    routes = Blueprint("web", __name__)
    address = urlsplit(settings.supabase_url)
    supabase = f"{address.scheme}://{address.netloc}"

    @routes.get("/config.json")
    async def config() -> Response:
        """Where to sign in. Both are public: every page that uses Supabase has them."""
        answer = jsonify({"supabaseUrl": settings.supabase_url, "publishableKey": settings.publishable_key})
        answer.headers["Cache-Control"] = "no-cache"
        return answer

    @routes.get("/")
    async def index() -> Response:
        return await _page(directory / "index.html", supabase)

    @routes.get("/<name>")
    async def page_or_file(name: str) -> Response:
        page = directory / f"{name}.html"
        is_page = PAGE.fullmatch(name) is not None and await asyncio.to_thread(page.is_file)
        if is_page:
            return await _page(page, supabase)
        try:
            return await _file(directory, name, "no-cache")
        except NotFound:
            if "text/html" not in request.headers.get("Accept", ""):  # a program, not somebody who mistyped an address
                raise
            answer = await _page(directory / "404.html", supabase)
            answer.status_code = 404
            return answer

    @routes.get("/<page>/<name>")
    async def part(page: str, name: str) -> Response:
        """What Next.js fetches of a page before it goes there."""
        return await _file(directory, f"{page}/{name}", "no-cache")

    @routes.get("/_next/static/<path:name>")
    async def static(name: str) -> Response:
        answer = await _file(directory / "_next" / "static", name, FOREVER)
        if name.endswith((".js", ".css")):
            answer.vary.add("Accept-Encoding")
            if request.accept_encodings.quality("gzip") > 0:
                file = directory / "_next" / "static" / name  # it is there, or there were no answer
                answer.set_data(await asyncio.to_thread(_compressed, file))
                answer.content_encoding = "gzip"
        return answer

    return routes


def policy(page: str, supabase: str) -> str:
    """A Content Security Policy for the text of a page. ``supabase`` is an origin."""
    scripts = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in SCRIPT.findall(page)]
    allowed = " ".join(["'self'", *(f"'sha256-{each}'" for each in scripts)])
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self' {supabase}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


async def _page(file: Path, supabase: str) -> Response:
    text = await asyncio.to_thread(file.read_text, encoding="utf-8")
    answer = Response(text, content_type="text/html; charset=utf-8")
    answer.headers["Content-Security-Policy"] = policy(text, supabase)
    answer.headers["Cache-Control"] = "no-cache"
    return answer


@lru_cache(maxsize=100)
def _compressed(file: Path) -> bytes:
    """A file whose name is of its content, at a third of its size."""
    return gzip.compress(file.read_bytes())


async def _file(directory: Path, name: str, cache: str) -> Response:
    answer = await send_from_directory(directory, name)
    answer.headers["Cache-Control"] = cache
    return answer
