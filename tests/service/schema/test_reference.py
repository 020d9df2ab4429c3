"""docs/events.md tells all there is, once."""

import json
import re

from service.schema import examples
from service.schema.catalogue import SEVERAL, STREAMS, messages, schemas
from service.schema.reference import markdown

PAGE = markdown()


def test_every_type_of_every_stream_is_in_it_with_a_real_example() -> None:
    _, *sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    titles = [each.title for each in (*STREAMS, *SEVERAL)]
    assert [section.partition("\n")[0] for section in sections] == [*titles, "The WebSocket"]
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    for stream, section in zip(STREAMS, sections[: len(STREAMS)], strict=True):
        for type_, _ in messages(stream):
            assert f"`{type_}`" in section
            is_told_above = any(f"`{type_}`" in line for line in section.splitlines() if line.startswith("Also "))
            assert is_told_above or json.loads(examples.of(stream.name)[type_]) in shown


def test_every_field_of_every_message_is_in_it() -> None:
    for stream in STREAMS:
        for _, model in messages(stream):
            for name in schemas()[model]["properties"]:
                assert f"| `{name}` |" in PAGE


def test_a_model_is_told_once() -> None:
    headings = re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)
    assert sorted(set(headings)) == sorted(headings)
    assert {"Job", "Progress", "EnrichmentState", "Stage"} <= set(headings)
