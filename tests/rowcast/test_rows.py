import asyncio
import json
import os
from fractions import Fraction
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from rowcast import rows

PROJECT = str(uuid4())


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: rows.job("no-uuid", "k", "t", None, None), "project_id must be a UUID, not 'no-uuid'"),
        (lambda: rows.job(None, "k", "t", None, None), "project_id must be a UUID, not None"),
        (lambda: rows.job(PROJECT, "", "t", None, None), "kind must not be empty"),
        (lambda: rows.job(PROJECT, "k", " \n", None, None), "title must not be empty"),
        (lambda: rows.job(PROJECT, "k", "t" * 501, None, None), "title is 501 characters long"),
        (lambda: rows.job(PROJECT, "k", "t", "x", None), "source_id must be a UUID"),
        (lambda: rows.job(PROJECT, "k", "t", None, "x"), "bom_id must be a UUID"),
        (lambda: rows.job(PROJECT, "k", "t", None, None, {"at": Path()}), "payload must hold nothing but JSON's types"),
        (
            lambda: rows.job(PROJECT, "k", "t", None, None, {"n": float("nan")}),
            "payload must hold nothing but JSON's types",
        ),
        (lambda: rows.proposal(PROJECT, uuid4(), "t", None, 1.01, None), "confidence must be from 0 to 1, not 1.01"),
        (lambda: rows.proposal(PROJECT, uuid4(), "t", None, float("nan"), None), "confidence must be from 0 to 1"),
        (lambda: rows.proposal(PROJECT, uuid4(), "", None, 1, None), "title must not be empty"),
        (lambda: rows.source(PROJECT, "", "text", None), "name must not be empty"),
        (lambda: rows.source(PROJECT, "n", "", None), "type must not be empty"),
        (lambda: rows.stage_name("complete"), "stage must not be 'complete'"),
        (lambda: rows.count("total", -1), "total must be a whole number from 0"),
        (lambda: rows.count("total", 1.5), "total must be a whole number from 0"),
    ],
)
def test_a_bad_argument_is_refused_by_name(build, told):
    with pytest.raises(ValueError, match=told):
        build()


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: rows.source(PROJECT, "n", "text", Path("a.md")), "uri must be text, not PosixPath"),
        (lambda: rows.proposal(PROJECT, uuid4(), "t", 7, 0.5, None), "body must be text, not int"),
        (lambda: rows.job(PROJECT, 7, "t", None, None), "kind must be text, not int"),
    ],
)
def test_an_argument_of_another_kind_is_refused_by_name(build, told):
    with pytest.raises(TypeError, match=told):
        build()


def test_numbers_of_other_libraries_are_taken():
    class Int64:
        def __index__(self):
            return 7

    assert rows.count("total", Int64()) == 7
    _, row = rows.proposal(PROJECT, uuid4(), "t", None, Fraction(1, 2), None)
    assert rows.encode({"confidence": row["confidence"]}) == '{"confidence":0.5}'


@pytest.mark.parametrize("confidence", ["high", True, None])
def test_a_confidence_of_another_kind_is_refused(confidence):
    with pytest.raises(TypeError, match="confidence must be a number"):
        rows.proposal(PROJECT, uuid4(), "t", None, confidence, None)


def test_rows_of_a_table_share_their_fields_so_that_they_fit_one_insert():
    _, full = rows.proposal(PROJECT, uuid4(), "t", "body", 0.5, uuid4())
    _, bare = rows.proposal(PROJECT, uuid4(), "t", None, 1, None)
    assert full.keys() == bare.keys()


def test_a_job_runs_from_its_first_write_and_leaves_every_time_to_the_database():
    job_id, row = rows.job(UUID(PROJECT), "ingestion", "Manuals", None, None)
    assert row == {
        "id": str(job_id), "project_id": PROJECT, "kind": "ingestion", "title": "Manuals", "status": "running",
        "source_id": None, "bom_id": None, "payload": None,
    }  # fmt: skip


def test_text_that_postgresql_cannot_hold_is_replaced():
    assert rows.clean("a\x00b") == "a\N{REPLACEMENT CHARACTER}b"
    file_name = os.fsdecode(b"caf\xe9.md")
    _, row = rows.source(PROJECT, file_name, "markdown", file_name)
    assert json.loads(rows.encode(row).encode())["source_name"] == "caf?.md"


def test_a_message_is_cut_where_a_title_is_refused():
    assert len(rows.message("x" * 10_000)) == rows.MESSAGE_LIMIT
    assert rows.message("x" * 10_000).endswith("…")
    assert rows.message(None) is None


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("bad page 3"), "ValueError: bad page 3"),
        (KeyError("title"), "KeyError: 'title'"),
        (asyncio.CancelledError(), "CancelledError"),
        (ExceptionGroup("two", [ValueError("a"), OSError("b")]), "ValueError: a; OSError: b"),
    ],
)
def test_an_error_in_words_says_its_type_and_a_group_its_leaves(error, text):
    assert rows.error_text(error) == text
