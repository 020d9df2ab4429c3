"""Reads what a request for a stream or a snapshot asks for, and says which parameter is wrong when one is."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from quart import Request
from werkzeug.datastructures import Headers

from service.access.gate import Credential
from service.errors import ApiError, bad_request
from service.events.socket import UUID
from service.feeds.cursor import BadCursor, parse, parse_each
from service.proxies import Proxies

Parameters = Mapping[str, str] | Headers
Cursor = TypeVar("Cursor")

KEYS_LIMIT = 20
"""So many may be on one stream."""


def uuid(name: str, text: str) -> str:
    """A UUID in its canonical form."""
    if UUID.fullmatch(text) is None:
        raise bad_request(f"{name} must be a UUID like 00000000-0000-4000-8000-000000000002.")
    return text.lower()


def cursor(name: str, text: str) -> int:
    try:
        return parse(text)
    except BadCursor as error:
        raise bad_request(f"{name} is wrong: {error}.") from None


def uuids(name: str, query: Parameters) -> tuple[str, ...]:
    """The different UUIDs of a list like ``a,b,c``, in their canonical form, in its order: 1 to KEYS_LIMIT of them."""
    parts = query.get(name, "").split(",")
    if parts == [""] or len(parts) > KEYS_LIMIT:
        raise bad_request(f"{name} must be 1 to {KEYS_LIMIT} UUIDs, separated by commas.")
    keys = tuple(uuid(f"Each of {name}", part) for part in parts)
    if len(set(keys)) < len(keys):
        raise bad_request(f"{name} names one twice; each may be there once.")
    return keys


def stream_cursors(headers: Parameters, query: Parameters, count: int) -> tuple[int, ...] | None:
    """As :func:`stream_cursor`, of a stream of so many keys."""

    def cursors(name: str, text: str) -> tuple[int, ...]:
        try:
            return parse_each(text, count)
        except BadCursor as error:
            raise bad_request(f"{name} is wrong: {error}.") from None

    return _first(cursors, headers, query)


def stream_cursor(headers: Parameters, query: Parameters) -> int | None:
    """Where the page was. EventSource comes back with its first URL, so its header beats ``?since=``; both are read."""
    return _first(cursor, headers, query)


def _first(read: Callable[[str, str], Cursor], headers: Parameters, query: Parameters) -> Cursor | None:
    since = read("since", query["since"]) if "since" in query else None
    header = headers.get("Last-Event-ID", "")
    return read("Last-Event-ID", header) if header else since


def number(query: Parameters, name: str, default: int, least: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and least <= int(text) <= most):
        raise bad_request(f"{name} must be a whole number from {least} to {most}.")
    return int(text)


def flag(query: Parameters, name: str) -> bool:
    value = query.get(name, "0")
    if value not in ("0", "1"):
        raise bad_request(f"{name} must be 1 or 0.")
    return value == "1"


def named(query: Parameters) -> bool:
    if query.get("events", "named") != "named":
        raise bad_request("events must be 'named', or left out for unnamed messages.")
    return "events" in query


def types(query: Parameters, known: frozenset[str]) -> frozenset[str] | None:
    """The types asked for, None for all."""
    if "types" not in query:
        return None
    wanted = frozenset(part for part in query["types"].split(",") if part)
    if not wanted or wanted - known:
        wrong = ", ".join(sorted(wanted - known)[:3]) or "nothing"
        raise bad_request(f"types names {wrong[:100]}; it takes one or more of: {', '.join(sorted(known))}.")
    return wanted


async def body(request: Request, shape: str) -> dict[str, Any]:
    """The JSON object that a request holds, {} when it holds nothing; ``shape`` is what it should be like."""
    data = await request.get_data(as_text=False)
    if not data:
        return {}
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):  # neither text nor JSON, or nested too deep
        given = None
    if not isinstance(given, dict):
        raise bad_request(f"The body must be a JSON object {shape}.")
    return given


def address(request: Request, proxies: Proxies) -> str:
    """Whom a request is counted for; see :meth:`Proxies.client`."""
    peer = (request.scope.get("client") or (None,))[0]
    return proxies.client(peer, request.headers.getlist("X-Forwarded-For"))


def bearer(headers: Parameters) -> Credential | None:
    """The access token of the Authorization header, None without one. Raises :class:`ApiError` 401 invalid_token."""
    if "Authorization" not in headers:
        return None
    scheme, _, token = headers["Authorization"].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(401, "invalid_token", "The Authorization header must be 'Bearer <access token>'.")
    return Credential(token.strip())


def credential(headers: Parameters, query: Parameters, *, tickets: bool = False) -> Credential:
    """Who asks. The first place that holds anything decides; there is no falling through to the next.

    A ticket opens a stream: only with ``tickets`` does it count.

    Raises :class:`ApiError` 401 missing_token or invalid_token.
    """
    if found := bearer(headers):
        return found
    if tickets and query.get("ticket"):
        return Credential(query["ticket"], is_ticket=True)
    if query.get("token"):
        return Credential(query["token"])
    raise missing_token("as 'Authorization: Bearer …' or as the parameter token")


def missing_token(how: str) -> ApiError:
    return ApiError(401, "missing_token", f"Send a Supabase access token {how}.")
