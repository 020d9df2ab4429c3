import json
from uuid import uuid4

import pytest

from rowcast.calls import CallState
from rowcast.errors import RequestError
from rowcast.state import Delivered, Refused, Unreachable


def make_call(**arguments):
    return CallState("count_pages", arguments, lambda: 1.0)


def test_a_call_is_due_at_once_with_its_arguments():
    book = uuid4()
    call = make_call(book=book, tags=["a"], since=None)
    assert call.due() == 0
    write = call.take(0)
    assert (write.method, write.path) == ("POST", "rpc/count_pages")
    assert json.loads(write.body) == {"book": str(book), "tags": ["a"], "since": None}


def test_its_texts_are_what_postgresql_can_store():
    write = make_call(name="b\udce9\0.csv", items=[{"mpn": "\ud800"}]).take(0)
    assert json.loads(write.body.encode()) == {"name": "b?\ufffd.csv", "items": [{"mpn": "?"}]}


def test_what_the_function_returns_is_the_answer():
    call = make_call()
    call.settle(call.take(0), Delivered([3]), 0)
    assert call.closed
    assert call.answer.result() == [3]


def test_a_call_that_does_not_arrive_is_made_again_after_growing_pauses():
    call = make_call()
    now, pauses = 0.0, []
    for _ in range(9):
        call.settle(call.take(now), Unreachable("ConnectError"), now)
        assert call.take(now) is None
        pauses.append(call.due() - now)
        now = call.due()
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 10, 10, 10]
    assert not call.closed


def test_a_server_that_names_a_time_is_not_asked_before():
    call = make_call()
    call.settle(call.take(0), Unreachable("HTTP 503", 20.0), 0)
    assert call.due() == 20


def test_a_refusal_is_the_end():
    call = make_call()
    call.settle(call.take(0), Refused(RequestError("no such function", status=404)), 0)
    assert call.closed
    with pytest.raises(RequestError, match="no such function"):
        call.answer.result()


def test_a_call_given_up_tells_why_and_only_once():
    call = make_call()
    call.close(RuntimeError("closed"))
    call.close(RuntimeError("again"))
    with pytest.raises(RuntimeError, match="closed"):
        call.answer.result()
