"""Server-Sent Events as the standard's parser reads them."""

import json

from httpx_sse import ServerSentEvent
from httpx_sse._decoders import SSEDecoder
from hypothesis import given
from hypothesis import strategies as st

from service.streams import frames


def parsed(data: bytes) -> list[ServerSentEvent]:
    """What an independent parser makes of it. Only LF, CR and CRLF end a line of an event stream."""
    decoder = SSEDecoder()
    lines = data.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    return [event for line in lines if (event := decoder.decode(line)) is not None]


def test_a_message() -> None:
    assert frames.message(b'{"a":1}') == b'data: {"a":1}\n\n'
    assert frames.message(b"{}", event="live", id=7) == b"event: live\ndata: {}\nid: 7\n\n"


def test_a_keepalive_says_nothing_but_may_move_the_id() -> None:
    assert frames.keepalive() == b": keepalive\n\n"
    [event] = parsed(frames.keepalive(9))
    assert (event.data, event.id) == ("", "9")


def test_a_retry() -> None:
    [event] = parsed(frames.retry(1500))
    assert event.retry == 1500


@given(st.text())
def test_no_data_can_start_a_field_or_an_event_of_its_own(text: str) -> None:
    [event] = parsed(frames.message(b"x" + text.encode(), id=3))
    assert event.data == "x" + text.replace("\r\n", "\n").replace("\r", "\n")
    assert (event.event, event.id) == ("message", "3")


@given(st.dictionaries(st.text(), st.text()))
def test_json_arrives_as_it_was(body: dict[str, str]) -> None:
    [event] = parsed(frames.message(json.dumps(body).encode()))
    assert json.loads(event.data) == body
