"""What a socket answers, without a socket; whole conversations are replayed in ../test_transcripts.py."""

import json
from typing import Any

import jwt
import pytest

from devstack.realtime.protocol import (
    JOIN_PENALTY,
    REFRESH_DELAY,
    Action,
    Channel,
    CheckToken,
    Hold,
    Message,
    Send,
    Socket,
    Subscribe,
    Unsubscribe,
    change_frame,
    decode,
    encode,
)
from devstack.realtime.tokens import Keyring

SECRET = "a-secret-of-at-least-thirty-two-characters"
NOW = 1_800_000_000.25
BINDING = {"event": "*", "schema": "public", "table": "jobs"}


def sign(exp: int = 60, **claims: Any) -> str:
    return jwt.encode({"role": "authenticated", "exp": int(NOW) + exp, **claims}, SECRET, algorithm="HS256")


def socket() -> Socket:
    return Socket(Keyring(SECRET, {"sb_secret_x": "service_role"}), "sb_secret_x")


def join(ref: str = "1", topic: str = "realtime:room", **payload: Any) -> Message:
    payload = {"config": {"postgres_changes": [BINDING]}} | payload
    return Message(topic, "phx_join", payload, ref, ref)


def sent(actions: list[Action]) -> list[tuple[str, Any]]:
    return [(action.message.event, action.message.payload) for action in actions if isinstance(action, Send)]


def joined(under: Socket, **payload: Any) -> Channel:
    [subscribe] = [action for action in under.receive(join(**payload), NOW) if isinstance(action, Subscribe)]
    return subscribe.channel


def test_frames_of_both_versions() -> None:
    message = Message("realtime:é", "system", {"a": None}, None, "1")
    one, two = encode("1.0.0", message), encode("2.0.0", message)
    assert one == '{"ref":null,"payload":{"a":null},"event":"system","topic":"realtime:é"}'
    assert two == '["1",null,"realtime:é","system",{"a":null}]'
    assert decode("2.0.0", two) == message
    assert decode("1.0.0", one) == Message("realtime:é", "system", {"a": None})
    for version in ("1.0.0", "2.0.0"):
        before, after = change_frame(version, 'to"pic')
        frame = json.loads(before + "{}" + after)
        values = frame.values() if isinstance(frame, dict) else frame
        assert [value for value in values if value is not None] in (
            ['to"pic', "postgres_changes", {}],
            [{}, "postgres_changes", 'to"pic'],
        )


@pytest.mark.parametrize(
    ("version", "text"),
    [("2.0.0", "hello"), ("2.0.0", "{}"), ("2.0.0", "[]"), ("1.0.0", "[1,2,3,4,5]"), ("1.0.0", "null")],
)
def test_what_is_no_frame_of_that_version_is_not_answered(version: str, text: str) -> None:
    assert decode(version, text) is None


def test_a_join_is_answered_before_it_is_subscribed() -> None:
    reply, subscribe = socket().receive(join(), NOW)
    assert isinstance(reply, Send)
    assert reply.message.payload["response"]["postgres_changes"][0].keys() == {"id", *BINDING}
    assert isinstance(subscribe, Subscribe)
    assert subscribe.channel.claims == {"role": "service_role"}
    assert subscribe.delay == 0


def test_a_bad_token_holds_the_socket_before_the_error() -> None:
    hold, reply = socket().receive(join(access_token="garbage"), NOW)
    assert hold == Hold(JOIN_PENALTY)
    assert isinstance(reply, Send)
    assert reply.message.payload["status"] == "error"


def test_one_binding_that_cannot_be_parsed_refuses_the_channel_but_leaves_it_joined() -> None:
    under = socket()
    bindings = [BINDING, BINDING | {"filter": "undefined"}]
    actions = under.receive(join(config={"postgres_changes": bindings}), NOW)
    assert [event for event, _ in sent(actions)] == ["phx_reply", "system"]
    assert not any(isinstance(action, Subscribe) for action in actions)
    assert "realtime:room" in under.channels


def test_a_second_join_closes_the_first_under_its_own_ref() -> None:
    under = socket()
    first = joined(under)
    actions = under.receive(join("2"), NOW)
    assert [(a.message.event, a.message.ref) for a in actions if isinstance(a, Send)] == [
        ("phx_reply", "2"),
        ("phx_close", "1"),
    ]
    assert Unsubscribe(first) in actions
    assert under.subscribed(first) == [], "readiness of the first would come too late"


def test_a_token_is_looked_at_when_it_ends_and_not_later_than_five_minutes() -> None:
    under = socket()
    channel = joined(under, access_token=sign(400))
    assert under.expire(channel, NOW + 300) == [CheckToken(channel, 100)]
    assert [event for event, _ in sent(under.expire(channel, NOW + 400))] == ["system", "phx_close"]
    assert under.expire(channel, NOW + 400) == []
    assert under.channels == {}


def test_a_new_token_subscribes_again_with_its_claims_later() -> None:
    under = socket()
    channel = joined(under, access_token=sign())
    push = Message("realtime:room", "access_token", {"access_token": sign(120, sub="x")}, "2", "1")
    check, subscribe = under.receive(push, NOW)
    assert check == CheckToken(channel, 120)
    assert isinstance(subscribe, Subscribe)
    assert (subscribe.delay, subscribe.channel.claims["sub"]) == (REFRESH_DELAY, "x")
    assert under.receive(push, NOW) == [], "the same token again"


def test_leaving_twice_is_fine_and_a_stale_leave_is_ignored() -> None:
    under = socket()
    joined(under)
    assert under.receive(Message("realtime:room", "phx_leave", {}, "3", "0"), NOW) == []
    leave = Message("realtime:room", "phx_leave", {}, "3", "1")
    assert [event for event, _ in sent(under.receive(leave, NOW))] == ["phx_reply", "phx_close"]
    assert [event for event, _ in sent(under.receive(leave, NOW))] == ["phx_reply"]


def test_heartbeats_and_unmatched_topics() -> None:
    assert sent(socket().receive(Message("phoenix", "heartbeat", {}), NOW)) == [
        ("phx_reply", {"status": "ok", "response": {}})
    ]
    unmatched = ("phx_reply", {"status": "error", "response": {"reason": "unmatched topic"}})
    assert sent(socket().receive(Message("phoenix", "other", {}), NOW)) == [unmatched]
    assert sent(socket().receive(join(topic="room"), NOW)) == [unmatched]
