"""The way into every stream: who asks, whether they may listen, and a place among the streams that are open."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from quart import Response, request

from service.access.gate import Admission, Credential
from service.access.limits import Place
from service.access.rights import Lapse
from service.access.tokens import Principal
from service.changes.change import FeedKey
from service.errors import ApiError
from service.events.endings import Ending
from service.streams import asgi, asked
from service.streams.services import Services

STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
MEMBERS_FEED = "project"
ENDINGS = {
    Lapse.REVOKED: Ending.ACCESS_REVOKED,
    Lapse.TOKEN_REFUSED: Ending.TOKEN_EXPIRED,
    Lapse.UNCONFIRMED: Ending.ERROR,
}


class Opened(Protocol):
    """One stream; see :class:`service.streams.session.Session`."""

    @property
    def id(self) -> str: ...
    def chunks(self) -> AsyncGenerator[bytes, None]: ...
    def end(self, ending: Ending) -> None: ...


async def admitted(services: Services, project_id: str) -> Admission:
    """Whoever sends the present request, let into the project to listen.

    Raises :class:`ApiError` 401, 404, and 503 while shutting down; what :meth:`Gate.admit` raises.
    """
    return await services.gate.admit(_credential(services), project_id)


async def admitted_to_bom(services: Services, bom_id: str) -> Admission:
    """As :func:`admitted`, to a BOM; operators are let in too."""
    return await services.gate.enter_bom(await identified(services), bom_id)


async def identified(services: Services) -> Principal:
    """Whoever sends the present request, to be let into something; maybe an operator.

    Raises :class:`ApiError` 401, and 503 while shutting down; what :meth:`Gate.identify` raises.
    """
    return await services.gate.identify(_credential(services), operators=True)


def _credential(services: Services) -> Credential:
    credential = asked.credential(request.headers, request.args, tickets=True)
    if services.hub.draining:
        raise ApiError(503, "upstream_unavailable", "The service is shutting down.", retry_after=1)
    return credential


def max_age(services: Services) -> float:
    """A stream's, in s: spread over a quarter, so that streams opened together don't come back together."""
    return services.stream_max_age_seconds * (0.75 + services.random() / 4)


async def follow_members(services: Services, admission: Admission) -> None:
    """Sees to it that what happens to the project's members is heard, whatever the stream is of.

    Raises :class:`service.errors.DatabaseUnavailable` or :class:`service.errors.DatabaseRefused`.
    """
    if not admission.principal.is_operator:
        await services.hub.topic(_members_key(admission))


def _members_key(admission: Admission) -> FeedKey:
    return FeedKey(MEMBERS_FEED, admission.project_id)


def answer(services: Services, admission: Admission, stream: Opened) -> Response:
    """The stream as the answer to the present request. Nothing may be awaited between it and the route's return.

    Raises :class:`service.errors.LimitReached`.
    """
    headers = {**STREAM_HEADERS, "X-Stream-Id": stream.id}
    if request.method == "HEAD":  # what it would be, without being it
        return Response(b"", headers=headers)
    place = services.limits.take(_subjects(services, admission))
    return asgi.event_stream(asgi.Stream(stream.chunks(), _held(services, admission, place, stream)), headers)


@contextmanager
def _held(services: Services, admission: Admission, place: Place, stream: Opened) -> Iterator[None]:
    """What a stream has while it is open: its place, and somebody who looks after its right."""
    with ExitStack() as held:
        held.enter_context(place)
        if not admission.principal.is_operator:
            held.enter_context(services.hub.keeping(_members_key(admission)))
            held.enter_context(services.rights.hold(admission, lambda lapse: stream.end(ENDINGS[lapse])))
        yield


def _subjects(services: Services, admission: Admission) -> list[tuple[str, str]]:
    subjects = [("user", admission.principal.user_id), ("project", admission.project_id)]
    if admission.organization_id is not None:
        subjects.append(("organization", admission.organization_id))
    return [*subjects, ("address", asked.address(request, services.proxies))]
