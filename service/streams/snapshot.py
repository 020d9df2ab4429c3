"""A project's state in one answer, for pages that poll or load: ``GET /api/projects/{project_id}/snapshot``."""

from collections.abc import Callable
from hashlib import sha256

from quart import Blueprint, Response, request

from service.changes.change import FeedKey
from service.events.model import Reset
from service.events.wire import encode, snapshot_members, snapshot_parts
from service.feeds.hub import Hub
from service.feeds.outbox import merge_range
from service.feeds.past import present
from service.streams import asked, opening
from service.streams.services import Services

ANSWER_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "private, no-store",
    "Vary": "Authorization",
}


def blueprint(services: Callable[[], Services]) -> Blueprint:
    """``services`` gives the running services."""
    routes = Blueprint("snapshot", __name__)

    @routes.get("/api/projects/<project_id>/snapshot")
    async def snapshot(project_id: str) -> Response:
        with_ = services()
        id_ = asked.uuid("project_id", project_id)
        since = asked.cursor("since", request.args["since"]) if "since" in request.args else None
        admission = await with_.gate.admit(asked.credential(request.headers, request.args), id_)
        key = opening.feed_key(with_, "project", id_, admission)
        live, exact = with_.hub.is_live(key), with_.hub.feeds[key.feed].exact
        if request.if_none_match and exact:
            head = await with_.hub.head(key)
            if request.if_none_match.contains_weak(_etag(head, live=live)):  # a proxy that compresses weakens it
                return _answer(b"", head, live=live, status=304)
        if since is None:
            revision, members = await _state(with_.hub, key)
        else:
            revision, members = await _events(with_.hub, key, since)
        body = b'{"revision":%d,"live":%s,%s}' % (revision, b"true" if live else b"false", members)
        answer = _answer(body, revision, live=live)
        return answer if exact else await _tagged(answer, body)

    return routes


async def _tagged(answer: Response, body: bytes) -> Response:
    """An answer whose revision says nothing is known again by what it says."""
    answer.set_etag(sha256(body).hexdigest()[:32])
    return await answer.make_conditional(request)


async def _state(hub: Hub, key: FeedKey) -> tuple[int, bytes]:
    """The snapshot's revision and its lists, as JSON members."""
    feed = hub.feeds[key.feed]
    read = await hub.snapshot(key)
    return read.head, snapshot_members(present(feed, key, read.rows))


async def _events(hub: Hub, key: FeedKey, since: int) -> tuple[int, bytes]:
    """What a stream would have sent after ``since``; where it would have been a reset, that and the snapshot."""
    feed = hub.feeds[key.feed]
    history = await hub.read_since(key, since)
    if history is None:
        read = await hub.snapshot(key)
        reset = encode(Reset(reason="the cursor is too old, or not from this database"))
        events = [reset.data, *(part.data for part in snapshot_parts(read.head, present(feed, key, read.rows)))]
        return read.head, b'"reset":true,"events":[%s]' % b",".join(events)
    events = [message.data for delivery, _ in merge_range(history.deliveries) for message in delivery.messages]
    return history.head, b'"reset":false,"events":[%s]' % b",".join(events)


def _etag(revision: int, *, live: bool) -> str:
    return f"{revision}-{'live' if live else 'polled'}"


def _answer(body: bytes, revision: int, *, live: bool, status: int = 200) -> Response:
    response = Response(body, status=status, headers=ANSWER_HEADERS)
    response.set_etag(_etag(revision, live=live))
    return response
