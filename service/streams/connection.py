"""One WebSocket: what its client asks for, and what it is told.

Who speaks first is the client: it says who it is, and subscribes to projects. What it is told are the messages of the
projects' streams, each with its ``projectId`` and the ``revision`` up to which the project has been told then, so that
a client that has noted the last goes on exactly. The rules for endings are those of :mod:`service.streams.merged`; the
whole ends with a ``stream_end`` and a close.

Three tasks: one hears, always, so that a client that goes is noticed; one does what is asked, one thing after the
other; and the one that runs it writes. Nothing grows: what is heard waits in a list of few, answers wait until they
are written, and feeds in their outboxes.
"""

import asyncio
import json
import math
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable

from service.access.gate import Admission, Credential
from service.access.limits import RETRY_SECONDS
from service.access.rates import Pace
from service.access.tokens import Principal
from service.errors import (
    ApiError,
    DatabaseRefused,
    DatabaseUnavailable,
    LimitReached,
    bad_request,
    upstream_unavailable,
)
from service.events.endings import Ending
from service.events.model import Message
from service.events.socket import (
    UUID,
    Asked,
    Auth,
    Authenticated,
    BadOperation,
    Keepalive,
    Refused,
    Subscribe,
    Unsubscribe,
    Unsubscribed,
    read,
)
from service.events.wire import Encoded, encode
from service.feeds.outbox import Budget
from service.streams import asked, frames, opening
from service.streams.asgi import UntilGone
from service.streams.merged import Merged, Part
from service.streams.services import Services
from service.streams.session import Request, Session
from service.streams.several import QUIET, keyed
from service.streams.sse import JOIN_SECONDS
from service.streams.stream import new_id
from service.tasks import spawn

FEED = "project"
OPS_WAITING = 32
"""So many may be asked for before the first of them is done: all subscriptions at once, and some."""
HAS_REVISION = frozenset({"connected", "snapshot"})
"""Types whose messages have a ``revision`` of their own."""
CLOSE_CODES = {
    Ending.SHUTDOWN.reason: 1001,
    Ending.TOKEN_EXPIRED.reason: 4401,
    Ending.TOO_SLOW.reason: 4408,
    Ending.ERROR.reason: 4503,
}
UNAUTHENTICATED = 4401
TOO_MANY_OPS = 4429
KEEPALIVE = encode(Keepalive())


@dataclass(frozen=True)
class Patience:
    """How long a client may take to say who it is, in s, and how much it may ask for."""

    auth_seconds: float = 10.0
    ops_per_minute: int = 120


@dataclass(eq=False)
class _Subscription:
    """``right`` holds what looks after the right to it; a new token brings another."""

    end: opening.End
    place: ExitStack
    right: ExitStack = field(default_factory=ExitStack)

    def leave(self) -> None:
        self.right.close()
        self.place.close()


class Connection:
    """``principal`` came in with the handshake, None if the client has yet to say who it is.

    ``held`` has what the connection holds until it is over: its place.
    """

    def __init__(
        self, services: Services, principal: Principal | None, held: ExitStack, patience: Patience = Patience()
    ) -> None:
        self.id = new_id()
        self._services = services
        self._principal = principal
        self._held = held
        self._patience = patience
        self._feed = services.hub.feeds[FEED]
        expires_at = math.inf if principal is None else principal.expires_at
        self._merged = Merged([], expires_at, opening.max_age(services), services.keepalive_seconds, stays=True)
        self._budget = Budget(services.outbox_bytes)
        self._subscriptions: dict[str, _Subscription] = {}
        self._at: dict[str, int] = {}  # how far each has been told
        self._ops: deque[str | None] = deque()
        self._has_ops = asyncio.Event()
        self._pace = Pace(patience.ops_per_minute)
        self._last_word: tuple[int, Encoded] | None = None

    async def run(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Until it is closed, by whichever side. It has been accepted."""
        doing, waiting = spawn(self._do_all()), spawn(self._wait_for_somebody())
        try:
            with self._services.hub.guest(self._shut_down), UntilGone(spawn(self._hear(receive))):
                await self._tell_all(send)
        finally:
            waiting.cancel()
            doing.cancel()

    def _shut_down(self) -> None:
        self._merged.end(Ending.SHUTDOWN)

    # What it is told

    async def _tell_all(self, send: ASGISendCallable) -> None:
        loop = asyncio.get_running_loop()
        quiet_seconds = self._services.keepalive_seconds * QUIET
        spoke_at = loop.time()
        async with aclosing(self._merged.flow()) as flow:
            async for parts in flow:
                for part in parts:
                    is_end = part.encoded is not None and part.encoded.type == "stream_end"
                    if is_end and part.key is None and self._last_word is not None:
                        await send(_text(self._last_word[1].data))
                    if not is_end and not self._merged.may_tell(part.key):
                        continue  # a write may have taken minutes
                    data = self._data(part, is_quiet=loop.time() - spoke_at >= quiet_seconds)
                    if data is not None:
                        await send(_text(data))
                        spoke_at = loop.time()
        ending = self._merged.ending or Ending.ERROR
        code = self._last_word[0] if self._last_word is not None else CLOSE_CODES[ending.reason]
        await send({"type": "websocket.close", "code": code, "reason": ending.reason})

    def _data(self, part: Part, *, is_quiet: bool) -> bytes | None:
        if part.key is not None and part.id is not None:
            self._at[part.key] = part.id
        encoded = part.encoded
        if encoded is None:
            if part.id is None and not is_quiet:
                return None
            encoded = KEEPALIVE
        if part.key is None:
            return encoded.data
        data = keyed(self._feed, part.key, encoded)
        revision = self._at.get(part.key)
        if encoded.type in HAS_REVISION or revision is None:
            return data
        return frames.named_too(data, b'"revision":%d' % revision)

    # What it asks for

    async def _hear(self, receive: ASGIReceiveCallable) -> None:
        """Returns when the client has gone."""
        while (event := await receive())["type"] != "websocket.disconnect":
            if event["type"] != "websocket.receive" or self._merged.ending is not None:
                continue
            if len(self._ops) >= OPS_WAITING or not self._pace.allows(asyncio.get_running_loop().time()):
                message = "More was asked for in a minute than may be."
                self._fail(TOO_MANY_OPS, LimitReached("ops", 429, "rate_limited", message, RETRY_SECONDS))
            else:
                self._ops.append(event.get("text"))
                self._has_ops.set()

    async def _wait_for_somebody(self) -> None:
        for _ in range(2):  # in halves: what was said while this process was held up is heard before the second is over
            await asyncio.sleep(self._patience.auth_seconds / 2)
        if self._principal is None:
            error = asked.missing_token(f'with {{"op": "auth"}} within {self._patience.auth_seconds:g} s')
            self._fail(UNAUTHENTICATED, error)

    def _fail(self, code: int, error: ApiError) -> None:
        if self._merged.ending is None:
            self._count(error)
            self._last_word = code, _refusal(error)
            self._merged.end(Ending.ERROR)

    async def _do_all(self) -> None:
        try:
            while True:
                await self._has_ops.wait()
                while self._ops:
                    await self._do(self._ops.popleft())
                self._has_ops.clear()
        except Exception:
            self._merged.end(Ending.ERROR)
            raise  # to the log

    async def _do(self, text: str | None) -> None:
        said: object = None
        try:
            said = _json(text)
            await self._obey(read(said))
        except BadOperation as error:
            await self._refuse(said, bad_request(f"{error}."))
        except ApiError as error:
            await self._refuse(said, error)
        except (DatabaseUnavailable, DatabaseRefused):
            await self._refuse(said, upstream_unavailable())

    async def _obey(self, wanted: Asked) -> None:
        match wanted:
            case Auth():
                await self._authenticate(wanted.token)
                assert self._principal is not None, "that is what it does"  # noqa: S101 - above
                expires_at = datetime.fromtimestamp(self._principal.expires_at, UTC).isoformat()
                await self._say(Authenticated.model_validate({"expires_at": expires_at}))
            case Subscribe():
                if wanted.token is not None:
                    await self._authenticate(wanted.token)
                await self._subscribe(wanted)
            case Unsubscribe(project_id=project_id):
                if project_id not in self._subscriptions:
                    raise bad_request("There is no subscription to this project.")
                await self._merged.remove(project_id)
                await self._say(Unsubscribed(project_id=project_id))

    async def _authenticate(self, token: str) -> None:
        """All that is subscribed to goes on with the new token; what it does not open ends.

        Raises :class:`ApiError` 401, 403, 429, 503; :class:`DatabaseUnavailable` or :class:`DatabaseRefused`: then the
        old token counts as before.
        """
        gate, subscribed = self._services.gate, dict(self._subscriptions)
        if self._principal is not None and self._services.reads_as_user:
            raise bad_request("Without a change log a connection ends with the token that it began with: open another.")
        principal = await gate.identify(Credential(token))
        if self._principal is None:
            self._held.enter_context(self._services.limits.take_more([("user", principal.user_id)]))
        elif principal.user_id != self._principal.user_id:
            raise ApiError(403, "forbidden", "The token is another user's: open another connection for them.")
        admissions: dict[str, Admission | None] = {}
        for key in subscribed:
            try:
                admissions[key] = await gate.enter(principal, key)
            except ApiError as error:
                if error.status != 404:
                    raise
                admissions[key] = None
        self._principal = principal
        self._merged.renew(principal.expires_at)
        for key, admission in admissions.items():
            if self._subscriptions.get(key) is subscribed[key]:
                self._renew(subscribed[key], admission)

    def _renew(self, subscription: _Subscription, admission: Admission | None) -> None:
        if admission is None:
            subscription.end(Ending.ACCESS_REVOKED)
            return
        former, subscription.right = subscription.right, ExitStack()
        opening.look_after(self._services, admission, subscription.end, subscription.right)
        former.close()

    async def _subscribe(self, wanted: Subscribe) -> None:
        services = self._services
        if self._principal is None:
            raise asked.missing_token('with {"op": "auth"} first')
        if wanted.project_id in self._subscriptions:
            raise ApiError(409, "conflict", "There is a subscription to this project already.")
        if len(self._subscriptions) >= asked.KEYS_LIMIT:
            message = f"A connection may have {asked.KEYS_LIMIT} subscriptions."
            raise LimitReached("subscriptions", 429, "too_many_streams", message, RETRY_SECONDS)
        types = None if wanted.types is None else asked.types({"types": ",".join(wanted.types)}, self._feed.types)
        opening.refuse_while_draining(services)
        admission = await services.gate.enter(self._principal, wanted.project_id)
        key = opening.feed_key(services, FEED, wanted.project_id, admission)
        await services.hub.topic(key, JOIN_SECONDS)
        place = ExitStack()
        place.enter_context(services.limits.take_more(opening.places_in(admission)))
        request = Request(wanted.since, wanted.snapshot, math.inf, math.inf, self._budget)
        writer = frames.item_writer(types)
        session = Session(
            services.hub, key, request, writer, services.keepalive_seconds, services.random, None, self.id
        )
        subscription = self._subscriptions[key.key] = _Subscription(session.end, place)
        opening.look_after(services, admission, session.end, subscription.right)
        self._at.pop(key.key, None)
        if wanted.since is not None:
            self._at[key.key] = wanted.since

        def left() -> None:
            del self._subscriptions[key.key]
            subscription.leave()

        self._merged.add(session, left)

    # What it is answered

    async def _say(self, message: Message) -> None:
        await self._merged.say(encode(message))

    async def _refuse(self, said: object, error: ApiError) -> None:
        self._count(error)
        await self._merged.say(_refusal(error, said if isinstance(said, Mapping) else {}))

    def _count(self, error: ApiError) -> None:
        if isinstance(error, LimitReached):
            self._services.hub.metrics.limits_reached.labels(error.limit).inc()


def _json(text: str | None) -> object:
    if text is None:
        raise BadOperation("a message must be text, not binary")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadOperation("a message must be JSON") from None


def _refusal(error: ApiError, said: Mapping[str, Any] | None = None) -> Encoded:
    """``said`` is what the client asked for, of which nothing is repeated that is not what it should be."""
    op, project_id = ((said or {}).get(name) for name in ("op", "projectId"))
    known = op if isinstance(op, str) and op in ("auth", "subscribe", "unsubscribe") else None
    named = project_id if isinstance(project_id, str) and UUID.fullmatch(project_id) else None
    told = Refused(code=error.code, message=error.message, op=known, project_id=named, retry_after=error.retry_after)
    return Encoded(told.type, told.model_dump_json(by_alias=True, exclude_none=True).encode())


def _text(data: bytes) -> Any:
    """As ASGI has it; its types know no message without bytes."""
    return {"type": "websocket.send", "bytes": None, "text": data.decode()}
