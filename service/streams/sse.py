"""Feeds as Server-Sent Events: which address streams which, and what is asked of it."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from quart import Blueprint, Response, request

from service.access.gate import Admission
from service.changes.change import FeedKey
from service.feeds.hub import Topic
from service.feeds.outbox import Budget
from service.feeds.past import State
from service.streams import asgi, asked, frames, opening
from service.streams.merged import KeySession, Merged
from service.streams.services import Services
from service.streams.session import Request, Session
from service.streams.several import Several
from service.streams.stream import new_id, retry_milliseconds

JOIN_SECONDS = 0.3
"""How long a first viewer waits for the key's channel, so that `connected` can mostly say live."""


@dataclass(frozen=True)
class Route:
    """Streams the feed of this name; the one parameter of ``path`` is the key. ``admit`` says who may listen to it."""

    path: str
    feed: str
    admit: Callable[[Services, str], Awaitable[Admission]]


@dataclass(frozen=True)
class SeveralRoute:
    """Streams several keys of the feed of this name at once; the parameter ``keys`` of the query names them."""

    path: str
    feed: str
    keys: str


ROUTES = [
    Route("/api/projects/<project_id>/status", "project", opening.admitted),
    Route("/api/enrichment/stream/<bom_id>", "enrichment", opening.admitted_to_bom),
]
SEVERAL_ROUTES = [
    SeveralRoute("/api/status", "project", "projects"),
    SeveralRoute("/api/enrichment/stream", "enrichment", "boms"),
]


def blueprint(services: Callable[[], Services]) -> Blueprint:
    """``services`` gives the running services."""
    routes = Blueprint("streams", __name__)

    def view(route: Route) -> Callable[..., Awaitable[Response]]:
        async def stream(**parameter: str) -> Response:
            ((name, text),) = parameter.items()
            return await _open(services(), route, asked.uuid(name, text))

        return stream

    def view_of_several(route: SeveralRoute) -> Callable[..., Awaitable[Response]]:
        async def stream() -> Response:
            return await _open_several(services(), route, asked.uuids(route.keys, request.args))

        return stream

    for route in ROUTES:
        routes.add_url_rule(route.path, route.feed, view(route))
    for several in SEVERAL_ROUTES:
        routes.add_url_rule(several.path, several.keys, view_of_several(several))
    return routes


async def _open(services: Services, route: Route, id_: str) -> Response:
    query, headers = request.args, request.headers
    feed = opening.feed(services, route.feed)
    cursor = asked.stream_cursor(headers, query)
    snapshot, named = asked.flag(query, "snapshot"), asked.named(query)
    types = asked.types(query, feed.types)
    admission = await route.admit(services, id_)
    key = opening.feed_key(services, route.feed, id_, admission)
    # what is wrong with the database is an answer, not the end of a stream
    topic, state = await _topic(services, key)
    await opening.follow_members(services, admission)
    if cursor is not None and state is not None and feed.final(state.rows) and await has_all(topic, state, cursor):
        return Response(status=204)  # EventSource takes it for the end, and does not come back
    wanted = Request(cursor, snapshot, admission.principal.expires_at, opening.max_age(services))
    writer = frames.event_writer(named or feed.named, types)
    now, keepalive = asgi.write_now(), services.keepalive_seconds
    session = Session(services.hub, key, wanted, writer, keepalive, services.random, state, write_now=now)
    return opening.answer(services, admission, session)


async def _open_several(services: Services, route: SeveralRoute, keys: Sequence[str]) -> Response:
    query, headers = request.args, request.headers
    hub, feed = services.hub, opening.feed(services, route.feed)
    cursors = asked.stream_cursors(headers, query, len(keys))
    snapshot, named = asked.flag(query, "snapshot"), asked.named(query)
    types = asked.types(query, feed.types)
    admissions = await opening.admitted_to_each(services, route.feed, keys, route.keys)
    feed_keys = [
        opening.feed_key(services, route.feed, key, admission) for key, admission in zip(keys, admissions, strict=True)
    ]
    found = await asyncio.gather(*(_topic(services, key) for key in feed_keys))
    await asyncio.gather(*(opening.follow_members(services, admission) for admission in admissions))
    if cursors is not None:
        told = [
            state is not None and bool(feed.final(state.rows)) and await has_all(topic, state, cursor)
            for (topic, state), cursor in zip(found, cursors, strict=True)
        ]
        if all(told):
            return Response(status=204)
    id_, budget = new_id(), Budget(services.outbox_bytes)

    def session(key: FeedKey, cursor: int | None, state: State | None) -> KeySession:
        wanted = Request(cursor, snapshot, math.inf, math.inf, budget)
        writer = frames.item_writer(types)
        return Session(hub, key, wanted, writer, services.keepalive_seconds, services.random, state, id_)

    places = cursors if cursors is not None else [None] * len(keys)
    sessions = [session(key, at, state) for key, at, (_, state) in zip(feed_keys, places, found, strict=True)]
    keepalive = services.keepalive_seconds
    merged = Merged(sessions, admissions[0].principal.expires_at, opening.max_age(services), keepalive)
    stream = Several(
        id_,
        merged,
        feed,
        keys,
        cursors,
        named=named or feed.named,
        retry_milliseconds=retry_milliseconds(services.random),
        keepalive_seconds=keepalive,
    )
    rights = [(admission, session.end) for admission, session in zip(admissions, sessions, strict=True)]
    return opening.answer_all(services, rights, stream)


async def _topic(services: Services, key: FeedKey) -> tuple[Topic, State | None]:
    """What a stream of the key begins with. Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused`."""
    topic = await services.hub.topic(key, JOIN_SECONDS)
    return topic, await topic.past.state() if topic.feed.opens_with_state else None


async def has_all(topic: Topic, state: State, cursor: int) -> bool:
    """Whether a page at ``cursor`` has been told all that led to the ``state``."""
    if topic.ring.head < state.head:
        return False  # the topic has yet to hear of something that the state knows already
    history = await topic.past.history(cursor, topic.ring.head)
    return history is not None and not any(delivery.messages for delivery in history.deliveries)
