"""The socket's protocol: frames of versions 1.0.0 and 2.0.0, and what a socket answers to each (pure).

`Socket` holds what one connection has joined. The shell decodes a client's text with `decode`, gives it to
`Socket.receive` with the time, and carries out the actions it returns, in order. What takes time or PostgreSQL is an
action too (Hold, Subscribe); the shell reports back with `subscribed`, `refused` and `expire`, which return further
actions. Sources: the recordings of Realtime 2.129 in tests/devstack/transcripts, and the socket rules of Phoenix 1.7.

Out of scope, and so not answered: broadcast, presence and private channels' authorization.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from devstack.realtime.bindings import Binding, BindingError, binding_id, parse
from devstack.realtime.tokens import Claims, Keyring, TokenError, expired, is_opaque

VERSIONS: Final = ("1.0.0", "2.0.0")
JOIN_PENALTY: Final = 5.0
"""Seconds the whole socket is held before a join's error is answered."""
REFRESH_DELAY: Final = 1.8
"""Seconds from a new access_token to the repeated "Subscribed to PostgreSQL" (recorded: 1.4 to 2.3)."""
_CHECK_AT_MOST: Final = 300
_SUBSCRIBED: Final = "Subscribed to PostgreSQL"


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    event: str
    payload: Any
    ref: Any = None
    join_ref: Any = None


def decode(version: str, text: str) -> Message | None:
    """A client's frame, or None if it isn't one of that version: the real server says nothing to those."""
    try:
        match version, json.loads(text):
            case "1.0.0", {"topic": str(topic), "event": str(event), "payload": payload, **rest}:
                return Message(topic, event, payload, rest.get("ref"), rest.get("join_ref"))
            case "2.0.0", [join_ref, ref, str(topic), str(event), payload]:
                return Message(topic, event, payload, ref, join_ref)
    except ValueError:
        pass
    return None


def dumps(value: object) -> str:
    """JSON as the real server writes frames: no spaces, characters beyond ASCII as they are."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def encode(version: str, message: Message) -> str:
    """A server's frame. Version 1.0.0 has no join_ref; ref is there even when null."""
    payload = dumps(message.payload)
    if version == "1.0.0":
        return (
            f'{{"ref":{dumps(message.ref)},"payload":{payload},'
            f'"event":{dumps(message.event)},"topic":{dumps(message.topic)}}}'
        )
    head = dumps([message.join_ref, message.ref, message.topic, message.event])
    return f"{head[:-1]},{payload}]"


def change_frame(version: str, topic: str) -> tuple[str, str]:
    """What goes before and after a postgres_changes payload, `{"data":…,"ids":…}`, for one channel."""
    if version == "1.0.0":
        return '{"ref":null,"payload":', f',"event":"postgres_changes","topic":{dumps(topic)}}}'
    return f'[null,null,{dumps(topic)},"postgres_changes",', "]"


@dataclass(slots=True, eq=False)
class Channel:
    """One joined topic of one socket; a rejoin makes a new one."""

    topic: str
    join_ref: Any
    token: str | None
    """The access token in force, None while the API key's claims count."""
    claims: Claims
    bindings: tuple[Mapping[str, Any], ...]
    """The client's parameters, in its order."""


@dataclass(frozen=True, slots=True)
class Send:
    message: Message


@dataclass(frozen=True, slots=True)
class Hold:
    """Answer nothing on this socket for so many seconds, before the actions that follow."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe the channel's bindings with its claims after `delay` seconds, then call subscribed or refused."""

    channel: Channel
    bindings: tuple[Binding, ...]
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    channel: Channel


@dataclass(frozen=True, slots=True)
class CheckToken:
    """Call `expire` for the channel after so many seconds, instead of any call asked for before."""

    channel: Channel
    seconds: float


Action = Send | Hold | Subscribe | Unsubscribe | CheckToken


@dataclass(slots=True)
class Socket:
    """What one connection has joined.

    Args:
        key: the API key it connected with, verified again at each join that brings no token of its own.
    """

    keyring: Keyring
    key: str
    channels: dict[str, Channel] = field(default_factory=dict)

    def receive(self, message: Message, now: float) -> list[Action]:
        """The answers to one frame. `now` is in seconds since 1970."""
        channel = self.channels.get(message.topic)
        match message.event:
            case "heartbeat" if message.topic == "phoenix":
                return [_reply(message, "ok", {})]
            case "phx_join" if message.topic.startswith("realtime:"):
                return self._join(message, now)
            case "phx_leave":
                return self._leave(channel, message)
            case "access_token" if channel is not None:
                return self._refresh(channel, message.payload, now)
            case _ if channel is None:
                return [_reply(message, "error", {"reason": "unmatched topic"})]
            case _:
                return []

    def _join(self, message: Message, now: float) -> list[Action]:
        name = message.topic.removeprefix("realtime:")
        payload = message.payload if isinstance(message.payload, dict) else {}
        token = payload.get("access_token")
        try:
            claims, own = self._claims(token, now)
            bindings = _requested(name, payload)
        except (TokenError, _JoinError) as error:
            return self.refuse_join(message, error.on_join if isinstance(error, TokenError) else str(error))
        old = self.channels.get(message.topic)
        channel = Channel(message.topic, message.join_ref, own, claims, bindings)
        described = [{"id": binding_id(params), **dict(sorted(params.items()))} for params in bindings]
        actions: list[Action] = [
            _reply(message, "ok", {"postgres_changes": described}, message.join_ref),
            *(self._close(old) if old else ()),
            *_token_check(channel, now),
        ]
        self.channels[message.topic] = channel
        return actions + self.subscribe(channel)

    def refuse_join(self, message: Message, reason: str, penalty: float = JOIN_PENALTY) -> list[Action]:
        """Answer a join with an error; the socket stays, and so does an earlier channel of that topic."""
        return [Hold(penalty), _reply(message, "error", {"reason": reason}, message.join_ref)]

    def _leave(self, channel: Channel | None, message: Message) -> list[Action]:
        if channel is None:
            return [_reply(message, "ok", {}, message.join_ref)]
        if channel.join_ref not in (message.join_ref, None):
            return []  # meant for another incarnation, which was closed meanwhile
        return [_reply(message, "ok", {}, channel.join_ref), *self._close(channel)]

    def _claims(self, token: object, now: float) -> tuple[Claims, str | None]:
        if is_opaque(token):
            return self.keyring.verify_key(self.key, now), None
        own = token if isinstance(token, str) else ""
        return self.keyring.verify(own, now), own

    def subscribe(self, channel: Channel, delay: float = 0.0) -> list[Action]:
        """Subscribe a channel's bindings, for the first time or again."""
        if not channel.bindings:
            return []
        try:
            parsed = tuple(parse(params) for params in channel.bindings)
        except BindingError as error:
            return self.refused(channel, str(error))
        return [Subscribe(channel, parsed, delay)]

    def subscribed(self, channel: Channel) -> list[Action]:
        """The channel's changes are flowing."""
        return [_system(channel, "ok", "postgres_changes", _SUBSCRIBED)] if self._current(channel) else []

    def refused(self, channel: Channel, message: str) -> list[Action]:
        """The channel gets no changes; it stays open, and nothing is tried again."""
        return [_system(channel, "error", "postgres_changes", message)]

    def _refresh(self, channel: Channel, payload: object, now: float) -> list[Action]:
        token = payload.get("access_token") if isinstance(payload, dict) else None
        if is_opaque(token) or token == channel.token:
            return []
        try:
            claims, own = self._claims(token, now)
        except TokenError as error:
            return self._end(channel, error)
        channel.claims, channel.token = claims, own
        return [*_token_check(channel, now), *self.subscribe(channel, REFRESH_DELAY)]

    def expire(self, channel: Channel, now: float) -> list[Action]:
        """Look at a channel's token again, at the time CheckToken named."""
        if not self._current(channel):
            return []
        ago = int(now) - int(channel.claims["exp"])
        return self._end(channel, expired(ago)) if ago >= 0 else _token_check(channel, now)

    def _end(self, channel: Channel, error: TokenError) -> list[Action]:
        return [_system(channel, "error", "system", error.on_refresh), *self._close(channel)]

    def _close(self, channel: Channel) -> list[Action]:
        if self._current(channel):
            del self.channels[channel.topic]
        close = Message(channel.topic, "phx_close", {}, channel.join_ref, channel.join_ref)
        return [Unsubscribe(channel), Send(close)]

    def _current(self, channel: Channel) -> bool:
        return self.channels.get(channel.topic) is channel


class _JoinError(Exception):
    """A join refused for a reason that is no token's."""


def _requested(name: str, payload: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The parameters of a join's bindings. Without a config, the topic itself is schema[:table[:filter]]."""
    if not name:
        raise _JoinError("TopicNameRequired: You must provide a topic name")
    if "config" not in payload:
        return (dict(zip(("schema", "table", "filter"), name.split(":", 2), strict=False)),)
    config = payload["config"]
    if not isinstance(config, dict):
        raise _JoinError("UnknownErrorOnChannel: no function clause matching in Access.get/3")
    bindings = config.get("postgres_changes")
    return tuple(params for params in bindings if isinstance(params, dict)) if isinstance(bindings, list) else ()


def _token_check(channel: Channel, now: float) -> list[Action]:
    # Whole seconds, as the real server counts: the check falls up to a second after `exp`. An opaque key has no end.
    expires = channel.claims.get("exp")
    return [] if expires is None else [CheckToken(channel, min(int(expires) - int(now), _CHECK_AT_MOST))]


def _reply(message: Message, status: str, response: object, join_ref: object = None) -> Send:
    payload = {"status": status, "response": response}
    return Send(Message(message.topic, "phx_reply", payload, message.ref, join_ref))


def _system(channel: Channel, status: str, extension: str, text: str) -> Send:
    name = channel.topic.removeprefix("realtime:")
    payload = {"message": text, "status": status, "extension": extension, "channel": name}
    return Send(Message(channel.topic, "system", payload, None, channel.join_ref))
