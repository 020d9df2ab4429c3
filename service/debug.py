"""``/debug``: a page for development that shows one stream's raw frames, its reduced state and its ids as they arrive.

One file without a build step. It knows nothing, and asks for nothing but what any page may ask, with a token that its
user gives it, by hand or behind a ``#``, which browsers send to nobody.
"""

from pathlib import Path

from quart import Blueprint, Response

from service import pages

PAGE = Path(__file__).with_name("debug.html")


def blueprint() -> Blueprint:
    """Only registered where development is on; elsewhere there is no such address."""
    routes = Blueprint("debug", __name__)
    page = PAGE.read_text(encoding="utf-8")

    @routes.get("/debug")
    async def debug() -> Response:
        return pages.answer(page)

    return routes
