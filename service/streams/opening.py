"""The way into every stream: who asks, whether they may listen, and a place among the streams that are open."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Protocol

from quart import Response, request

from service.access.gate import Admission, Credential
from service.access.rights import Lapse
from service.access.tokens import Principal
from service.changes.change import FeedKey, Reader
from service.errors import ApiError, no_change_log
from service.events.endings import Ending
from service.events.feed import Feed
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


Enter = Callable[[Principal, str], Awaitable[Admission]]
"""Lets somebody in; see :meth:`Gate.enter`."""
End = Callable[[Ending], None]
Right = tuple[Admission, End]
"""A right to listen, and who is to be told how to end when it lapses."""


class Opened(Protocol):
    """One stream; see :class:`service.streams.stream.Stream`."""

    @property
    def id(self) -> str: ...
    def chunks(self) -> AsyncGenerator[bytes, None]: ...
    def end(self, ending: Ending) -> None: ...


async def admitted(services: Services, project_id: str) -> Admission:
    """Whoever sends the present request, let into the project to listen.

    Raises :class:`ApiError` 401, 404, and 503 while shutting down; what :meth:`Gate.admit` raises.
    """
    return await services.gate.admit(_credential(services), project_id)


async def admitted_to_each(services: Services, feed: str, keys: Sequence[str], parameter: str) -> list[Admission]:
    """As :func:`admitted` or :func:`admitted_to_bom`, to all of them; ``parameter`` is where they were named."""
    of_boms = feed != MEMBERS_FEED
    principal = await services.gate.identify(_credential(services), operators=of_boms)
    enter = services.gate.enter_bom if of_boms else services.gate.enter
    return await let_in(enter, principal, keys, parameter)


async def let_in(enter: Enter, principal: Principal, keys: Sequence[str], parameter: str) -> list[Admission]:
    """Somebody let in to all, or to none: a 404 does not say of which. Raises what ``enter`` raises."""
    found = await asyncio.gather(*(enter(principal, key) for key in keys), return_exceptions=True)
    admissions: list[Admission] = []
    for each in found:
        if isinstance(each, ApiError) and each.status == 404:
            raise ApiError(404, each.code, f"{parameter} names what does not exist, or what is not yours to see.")
        if isinstance(each, BaseException):
            raise each
        admissions.append(each)
    return admissions


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
    refuse_while_draining(services)
    return credential


def refuse_while_draining(services: Services) -> None:
    """Raises :class:`ApiError` 503: who came in now would be told to go."""
    if services.hub.draining:
        raise ApiError(503, "upstream_unavailable", "The service is shutting down.", retry_after=1)


def max_age(services: Services) -> float:
    """A stream's, in s: spread over a quarter, so that streams opened together don't come back together."""
    return services.stream_max_age_seconds * (0.75 + services.random() / 4)


async def follow_members(services: Services, admission: Admission) -> None:
    """Sees to it that what happens to the project's members is heard, whatever the stream is of.

    Raises :class:`service.errors.DatabaseUnavailable` or :class:`service.errors.DatabaseRefused`.
    """
    if _has_members(services, admission):
        await services.hub.topic(_members_key(admission))


def _has_members(services: Services, admission: Admission) -> bool:
    """Whether who may listen is told by rows of the project feed. An operator may anyway."""
    return not admission.principal.is_operator and not services.reads_as_user


def feed_key(services: Services, feed: str, key: str, admission: Admission) -> FeedKey:
    """What whoever came in listens to: a key as all see it or, where only row level security says what, as they do."""
    if not services.reads_as_user or admission.principal.is_operator:
        return FeedKey(feed, key)
    return FeedKey(feed, key, Reader(admission.principal.token))


def feed(services: Services, name: str) -> Feed:
    """A feed by its name. Raises :class:`ApiError` 404 where the database does not have it."""
    if name not in services.hub.feeds:
        raise no_change_log()
    return services.hub.feeds[name]


def _members_key(admission: Admission) -> FeedKey:
    return FeedKey(MEMBERS_FEED, admission.project_id)


def answer(services: Services, admission: Admission, stream: Opened) -> Response:
    """The stream as the answer to the present request. Nothing may be awaited between it and the route's return.

    Raises :class:`service.errors.LimitReached`.
    """
    return answer_all(services, [(admission, stream.end)], stream)


def answer_all(services: Services, rights: Sequence[Right], stream: Opened) -> Response:
    """As :func:`answer`, for a stream of several keys."""
    headers = {**STREAM_HEADERS, "X-Stream-Id": stream.id}
    if request.method == "HEAD":  # what it would be, without being it
        return Response(b"", headers=headers)
    subjects = [("user", rights[0][0].principal.user_id)]
    for admission, _ in rights:
        subjects += places_in(admission)
    subjects.append(("address", asked.address(request, services.proxies)))
    held = Held()
    held.enter_context(services.limits.take(list(dict.fromkeys(subjects))))
    for admission, end in rights:
        look_after(services, admission, end, held)
    return asgi.event_stream(asgi.Stream(stream.chunks(), held), headers)


def look_after(services: Services, admission: Admission, end: End, held: "Held | ExitStack") -> None:
    """Has somebody look after a right until ``held`` is left; when it lapses, ``end`` is told how."""
    if _has_members(services, admission):
        held.enter_context(services.hub.keeping(_members_key(admission)))
    if not admission.principal.is_operator:
        held.enter_context(services.rights.hold(admission, lambda lapse: end(ENDINGS[lapse])))


class Held:
    """What a stream has while it is open: its place, and somebody who looks after its rights.

    An ExitStack for what ends without a failure. (The real one would take a kilobyte of every stream.)
    """

    __slots__ = ("_entered",)

    def __init__(self) -> None:
        self._entered: tuple[AbstractContextManager[None], ...] = ()

    def enter_context(self, context: AbstractContextManager[None]) -> None:
        context.__enter__()
        self._entered = (context, *self._entered)

    def __enter__(self) -> None:
        """Nothing to do: all is entered."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for context in self._entered:
            context.__exit__(None, None, None)
        self._entered = ()


def places_in(admission: Admission) -> list[tuple[str, str]]:
    """What a stream is counted for beside its user and address."""
    project = ("project", admission.project_id)
    return [project] if admission.organization_id is None else [project, ("organization", admission.organization_id)]
