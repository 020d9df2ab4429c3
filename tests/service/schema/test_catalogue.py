"""The models as JSON Schema: complete, tidy, and as strict as the database about what a word may be."""

import re
from typing import Literal

import jsonschema_rs
import psycopg
import pytest
from pydantic import RootModel

from service.events.enrichment import EnrichmentFeed
from service.events.model import Message
from service.events.project import ProjectFeed
from service.pipeline import FEEDS
from service.schema import catalogue
from service.schema.catalogue import REF, STREAMS, Stream, messages, schemas, types

CONTROL = {"connected", "snapshot", "live", "reset", "reauth", "error", "stream_end"}
"""Messages about the stream itself."""


def test_every_feed_has_its_stream() -> None:
    assert set(FEEDS) <= {stream.name for stream in STREAMS}


@pytest.mark.parametrize("feed", [ProjectFeed(), EnrichmentFeed()], ids=lambda feed: feed.name)
def test_a_stream_sends_what_its_feed_translates_and_what_all_say_of_themselves(
    feed: ProjectFeed | EnrichmentFeed,
) -> None:
    [stream] = [each for each in STREAMS if each.name == feed.name]
    assert {type_ for type_, _ in messages(stream)} == feed.types | CONTROL
    assert stream.named == feed.named


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_every_stream_may_lose_realtime_warn_of_its_token_s_end_and_end(stream: Stream) -> None:
    assert {"live", "reauth", "stream_end"} <= {type_ for type_, _ in messages(stream)}


def test_every_schema_is_one_and_refers_to_what_is_there() -> None:
    for name, schema in schemas().items():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        for reference in re.findall(rf"{REF}(\w+)", str(schema)):
            assert reference in schemas(), f"{name} refers to {reference}"


def test_every_model_says_what_it_is() -> None:
    assert [name for name, schema in schemas().items() if not schema.get("description")] == []


def test_what_is_sent_is_always_there_and_what_is_received_may_be_left_out() -> None:
    state = schemas()["EnrichmentState"]
    assert sorted(state["required"]) == sorted(state["properties"])
    assert "default" not in state["properties"]["status"]
    request = schemas()["StartRequest"]
    assert "required" not in request
    assert request["properties"]["priority"]["default"] == 5


def test_a_message_known_by_one_type_or_by_several() -> None:
    class One(Message):
        type: Literal["one"] = "one"

    assert types(One) == ("one",)
    assert types(catalogue.enrichment.ComponentEvent) == [
        "enrichment.component.completed",
        "enrichment.component.failed",
    ]


def test_two_models_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Live(Message):
        type: Literal["live"] = "live"

    class Both(RootModel[Live]):
        """A union."""

    monkeypatch.setattr(catalogue, "STREAMS", (*STREAMS, Stream("odd", "Odd", Both)))
    with pytest.raises(ValueError, match=r"two models of one name: .*Live"):
        catalogue.schemas.__wrapped__()


WORDS = {
    ("ingestion_sources", "status"): ("Source", "status"),
    ("jobs", "status"): ("Job", "status"),
    ("proposed_nodes", "status"): ("Proposal", "status"),
    ("boms", "source"): ("EnrichmentEvent", "source"),
    ("bom_line_items", "status"): ("Component", "status"),
}


@pytest.mark.parametrize(("table", "column"), WORDS)
def test_what_a_column_may_hold_is_what_the_schema_says(database: str, table: str, column: str) -> None:
    with psycopg.connect(database) as connection:
        checks = connection.execute(
            "select pg_get_constraintdef(oid) from pg_constraint where conrelid = %s::regclass and contype = 'c'",
            [f"public.{table}"],
        ).fetchall()
    [check] = [str(text) for (text,) in checks if f"({column} = ANY" in str(text)]
    model, field = WORDS[table, column]
    assert set(re.findall(r"'(\w+)'", check)) == set(schemas()[model]["properties"][field]["enum"])


def test_a_boms_state_has_the_databases_words_and_one_of_the_pages_own(database: str) -> None:
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "select pg_get_constraintdef(oid) from pg_constraint where conname = 'boms_status_check'"
        ).fetchone()
    assert row is not None
    known = set(re.findall(r"'(\w+)'", str(row[0]))) | {"connecting"}
    assert known == set(schemas()["EnrichmentState"]["properties"]["status"]["enum"])
