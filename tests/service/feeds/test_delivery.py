"""A change with its messages, encoded when first asked for and then kept."""

import json
from dataclasses import replace

from service.feeds.delivery import OVERHEAD, Delivery
from tests.service.tiny import TinyFeed, make_delivery, told


def test_messages_are_translated_once() -> None:
    delivery = make_delivery(5)
    assert delivery.messages is delivery.messages
    assert json.loads(delivery.messages[0].data) == {"type": "changed", "rowId": "a", "value": 5, "other": None}
    assert delivery.size == OVERHEAD + len(delivery.messages[0].data)


def test_what_it_keeps_in_memory_is_its_row_too_told_or_not() -> None:
    bare, laden = make_delivery(5), make_delivery(5)
    row = {**(laden.change.row or {}), "pipeline": {"stages": [{"name": "x" * 1000, "done": 1.5, "over": None}] * 3}}
    laden = Delivery(replace(laden.change, row=row), TinyFeed())
    assert laden.size == bare.size
    assert laden.held > bare.held + 3000
    assert make_delivery(5, "D").held == make_delivery(5, "D").size


def test_a_merged_delivery_tells_the_newest_state_under_the_newest_revision() -> None:
    merged = make_delivery(5, "I").merged(make_delivery(6))
    assert merged.change.revision == 6
    assert told([merged]) == ["new a=6"]


def test_a_row_that_came_back_is_told_as_gone_and_new() -> None:
    assert told([make_delivery(5, "D").merged(make_delivery(6, "I"))]) == ["gone a", "new a=6"]


def test_only_rows_of_append_only_tables_do_not_merge() -> None:
    assert make_delivery(1).merges
    assert not make_delivery(1, "I", table="events").merges
