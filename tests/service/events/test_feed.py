"""What a feed gets for nothing."""

import json

from service.events.wire import encode
from tests.service.tiny import TinyFeed, make_change


class Plain(TinyFeed):
    """Without a `connected` of its own."""

    connected = TinyFeed.__base__.connected


def test_a_stream_says_where_it_begins():
    message = Plain().connected("k", 7, resumed=True, live=False, rows={})
    assert json.loads(encode(message).data) == {
        "type": "connected", "key": "k", "revision": 7, "resumed": True, "live": False,
    }  # fmt: skip


def test_streams_do_not_end_by_themselves():
    feed = Plain()
    assert feed.ending(make_change(1)) is None
    assert feed.final({}) is None
    assert not feed.named
    assert not feed.opens_with_state
    assert feed.append_only == {"events"}
