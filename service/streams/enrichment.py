"""What pages ask of a BOM beside its stream: its state, and what happened before."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from quart import Blueprint, Response, request

from service.access.gate import Admission
from service.changes.change import FeedKey
from service.errors import bad_request
from service.events.enrichment import events
from service.events.model import Message
from service.events.wire import encode, snapshot_members
from service.feeds.past import present
from service.streams import asked
from service.streams.services import Services
from service.streams.snapshot import ANSWER_HEADERS

PAGE = 100
PAGE_LIMIT = 1000
ROWS = 25
"""So many are read at once: a page is mostly a few rows, which hold batches."""

MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,6})?\+00:00")
"""As the database writes it. Python reads more forms of a date than the database does, whose refusal would be a 503."""

Place = tuple[str, str, int]
"""Where a reader of the history is: an event's created_at and event_id, and how many of its messages it has."""


def blueprint(services: Callable[[], Services]) -> Blueprint:
    """``services`` gives the running services."""
    routes = Blueprint("enrichment", __name__)

    @routes.get("/api/enrichment/state/<bom_id>")
    async def state(bom_id: str) -> Response:
        with_ = services()
        key = FeedKey("enrichment", asked.uuid("bom_id", bom_id))
        await admitted(with_, key.key)
        read = await with_.hub.snapshot(key)
        members = snapshot_members(present(with_.hub.feeds[key.feed], key, read.rows))
        return Response(b'{%s,"revision":%d}' % (members, read.head), headers=ANSWER_HEADERS)

    @routes.get("/api/enrichment/events/<bom_id>")
    async def history(bom_id: str) -> Response:
        with_ = services()
        key = asked.uuid("bom_id", bom_id)
        limit = asked.number(request.args, "limit", PAGE, 1, PAGE_LIMIT)
        after = place(request.args["after"]) if "after" in request.args else None
        await admitted(with_, key)
        page, more = await _page(with_, key, after, limit)
        told = b",".join(encode(message).data for _, message in page)
        next_ = b'"%s"' % cursor(page[-1][0]).encode() if more else b"null"
        return Response(b'{"events":[%s],"next":%s}' % (told, next_), headers=ANSWER_HEADERS)

    return routes


async def admitted(services: Services, bom_id: str) -> Admission:
    """Whoever sends the present request, let into the BOM, operators too. Raises as :meth:`Gate.enter_bom`."""
    credential = asked.credential(request.headers, request.args)
    principal = await services.gate.identify(credential, operators=True)
    return await services.gate.enter_bom(principal, bom_id)


async def _page(
    services: Services, bom_id: str, after: Place | None, limit: int
) -> tuple[Sequence[tuple[Place, Message]], bool]:
    """At most ``limit`` messages with their places, and whether there are more. A row gives one message or many."""
    told: list[tuple[Place, Message]] = []
    full = True
    while full and len(told) <= limit:
        arguments: dict[str, object] = {"bom_id": bom_id, "size": ROWS}
        if after is not None:
            arguments |= {"from_at": after[0], "from_id": after[1]}
        rows: Sequence[dict[str, Any]] = await services.database.call("enrichment_history", arguments)
        for row in rows:
            # the first row is the one that the reader is at, and may have in part
            known = after[2] if after is not None and (row["created_at"], row["event_id"]) == after[:2] else 0
            messages = enumerate(events(row), start=1)
            told += [((row["created_at"], row["event_id"], n), message) for n, message in messages if n > known]
        full = len(rows) == ROWS
        after = told[-1][0] if told else after
    return told[:limit], len(told) > limit


def cursor(place: Place) -> str:
    """A place as pages keep it; what is in it is nobody's business."""
    return base64.urlsafe_b64encode("|".join(map(str, place)).encode()).decode().rstrip("=")


def place(text: str) -> Place:
    """Reads a cursor. Raises :class:`ApiError` 400."""
    try:
        at, id_, number = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split("|")
        if not MOMENT.fullmatch(at) or not number.isdecimal():
            raise ValueError(text)
        datetime.fromisoformat(at)
        return at, str(UUID(id_)), int(number)
    except (ValueError, binascii.Error):
        raise bad_request("after must be the `next` of an earlier page.") from None
