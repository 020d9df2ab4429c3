"""Feeds as Server-Sent Events: which address streams which, and what is asked of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from quart import Blueprint, Response, request

from service.access.gate import Admission
from service.changes.change import FeedKey
from service.feeds.hub import Topic
from service.streams import asked, opening
from service.streams.services import Services
from service.streams.session import Request, Session

JOIN_SECONDS = 0.3
"""How long a first viewer waits for the key's channel, so that `connected` can mostly say live."""


@dataclass(frozen=True)
class Route:
    """Streams the feed of this name; the one parameter of ``path`` is the key. ``admit`` says who may listen to it."""

    path: str
    feed: str
    admit: Callable[[Services, str], Awaitable[Admission]]


ROUTES = [
    Route("/api/projects/<project_id>/status", "project", opening.admitted),
    Route("/api/enrichment/stream/<bom_id>", "enrichment", opening.admitted_to_bom),
]


def blueprint(services: Callable[[], Services]) -> Blueprint:
    """``services`` gives the running services."""
    routes = Blueprint("streams", __name__)

    def view(route: Route) -> Callable[..., Awaitable[Response]]:
        async def stream(**parameter: str) -> Response:
            ((name, text),) = parameter.items()
            return await _open(services(), route, FeedKey(route.feed, asked.uuid(name, text)))

        return stream

    for route in ROUTES:
        routes.add_url_rule(route.path, route.feed, view(route))
    return routes


async def _open(services: Services, route: Route, key: FeedKey) -> Response:
    query, headers = request.args, request.headers
    feed = services.hub.feeds[key.feed]
    cursor = asked.stream_cursor(headers, query)
    snapshot, named = asked.flag(query, "snapshot"), asked.named(query)
    types = asked.types(query, feed.types)
    admission = await route.admit(services, key.key)
    # what is wrong with the database is an answer, not the end of a stream
    topic = await services.hub.topic(key, JOIN_SECONDS)
    await opening.follow_members(services, admission)
    state = await topic.past.state() if feed.opens_with_state else None
    if cursor is not None and state is not None and feed.final(state.rows) and await _has_all(topic, cursor):
        return Response(status=204)  # EventSource takes it for the end, and does not come back
    wanted = Request(cursor, snapshot, named, types, admission.principal.expires_at, opening.max_age(services))
    session = Session(services.hub, key, wanted, services.keepalive_seconds, services.random, state)
    return opening.answer(services, admission, session)


async def _has_all(topic: Topic, cursor: int) -> bool:
    """Whether nothing has been told after ``cursor``."""
    history = await topic.past.history(cursor, topic.ring.head)
    return history is not None and not any(delivery.messages for delivery in history.deliveries)
