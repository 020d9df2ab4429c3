"""The examples are complete, real, and what the schema says."""

import json

import pytest

from service.schema import examples
from service.schema.catalogue import STREAMS, Stream, messages
from tests.service.schema.checking import check_event, validator
from tests.service.streams.test_frames import parsed

BY_NAME = pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)


@BY_NAME
def test_each_type_of_message_has_one(stream: Stream) -> None:
    assert sorted(examples.of(stream.name)) == sorted(type_ for type_, _ in messages(stream))


@BY_NAME
def test_each_is_of_its_own_model_and_of_its_streams_union(stream: Stream) -> None:
    union = validator(stream.message.__name__)
    for type_, model in messages(stream):
        value = json.loads(examples.of(stream.name)[type_])
        validator(model).validate(value)
        union.validate(value)


@BY_NAME
def test_each_is_an_event_of_its_stream(stream: Stream) -> None:
    for type_, data in examples.of(stream.name).items():
        check_event(stream, {"event": type_, "data": data.decode(), "id": "7"})


@BY_NAME
@pytest.mark.parametrize(
    "wrong", [{"id": "x"}, {"event": "nothing"}, {"data": "{"}, {"data": "[]"}, {"data": '{"type":"live","live":1}'}]
)
def test_another_is_none(stream: Stream, wrong: dict[str, str]) -> None:
    event = {"event": "live", "data": examples.of(stream.name)["live"].decode(), "id": "7"}
    with pytest.raises(ValueError):  # noqa: PT011 - as both the judge and JSON say it
        check_event(stream, {**event, **wrong})


def test_an_answer_of_each_model() -> None:
    for name, value in examples.answers().items():
        validator(name).validate(value)


@BY_NAME
def test_the_beginning_of_a_stream_is_one(stream: Stream) -> None:
    events = [event for event in parsed(examples.beginning(stream.name).encode()) if event.data]
    told = examples.of(stream.name)
    assert len(events) >= 2
    for event in events:
        type_ = event.event if stream.named else json.loads(event.data)["type"]
        assert event.data.encode() == told[type_]


def test_a_stream_that_is_not_there_has_none() -> None:
    with pytest.raises(KeyError):
        examples.of("nothing")
