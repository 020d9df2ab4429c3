"""The project feed as Server-Sent Events: ``GET /api/projects/{project_id}/status``."""

from collections.abc import Callable

from quart import Blueprint, Response, request

from service.changes.change import FeedKey
from service.streams import asked, opening
from service.streams.services import Services
from service.streams.session import Request, Session

JOIN_SECONDS = 0.3
"""How long a first viewer waits for the key's channel, so that `connected` can mostly say live."""


def blueprint(services: Callable[[], Services]) -> Blueprint:
    """``services`` gives the running services."""
    routes = Blueprint("streams", __name__)

    @routes.get("/api/projects/<project_id>/status")
    async def status(project_id: str) -> Response:
        with_ = services()
        key = FeedKey("project", asked.uuid("project_id", project_id))
        query, headers = request.args, request.headers
        feed = with_.hub.feeds[key.feed]
        cursor = asked.stream_cursor(headers, query)
        snapshot, named = asked.flag(query, "snapshot"), asked.named(query)
        types = asked.types(query, feed.types)
        admission = await opening.admitted(with_, key.key)
        await with_.hub.topic(key, JOIN_SECONDS)  # what is wrong with it is an answer, not the end of a stream
        # ages are spread, so that streams opened together don't come back together
        max_age = with_.stream_max_age_seconds * (0.75 + with_.random() / 4)
        wanted = Request(cursor, snapshot, named, types, admission.principal.expires_at, max_age)
        session = Session(with_.hub, key, wanted, with_.keepalive_seconds, with_.random)
        return opening.answer(with_, admission, session)

    return routes
