"""A job's pipeline, as its worker wrote it, half wrote it, or did not write it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.pipeline import Pipeline
from service.events.pipeline import ending, missing, progress, timing
from service.events.wire import encode

JOB = "00000000-0000-4000-8000-00000000000a"
ROW: dict[str, Any] = {
    "id": JOB, "title": "Manuals", "status": "running", "pipeline": None, "source_id": None, "error_message": None,
    "progress_stage": "parsing", "progress_current": 1, "progress_total": 4,
    "progress_updated_at": "2026-01-01T00:00:02+00:00", "started_at": "2026-01-01T00:00:00+00:00", "finished_at": None,
}  # fmt: skip
WRITTEN: dict[str, Any] = {
    "document_id": "d", "document_name": "a.pdf", "total_chunks": 8, "total_images": 2,
    "stages": {"parsing": {
        "name": "parsing", "status": "completed", "processed": 8, "total": 8, "in_flight": 0, "progress_percent": 100.0,
        "duration_ms": 1200, "is_complete": True, "weight": 2.0, "parent": None,
    }},
    "worker_pool": {"active": 1, "max": 4, "queue_depth": 3, "workers": [
        {"id": "1", "status": "processing", "current_chunk": "p. 3", "progress_percent": 50.0},
    ]},
    "metrics": {"entities_total": 3, "relations_total": 0, "neo4j_writes": 0, "qdrant_writes": 0, "pages": 2.5},
    "timing": {"started_at": 1767225600.0, "elapsed_ms": 2000, "estimated_remaining_ms": 500},
    "overall_progress_percent": 66.7,
    "log": [{"time": "2026-01-01T00:00:01.000Z", "level": "info", "message": "read"}],
}  # fmt: skip


def told(row: dict[str, Any], *, several: bool = False) -> dict[str, Any]:
    message = progress(row, several=several)
    assert message.type == "pipeline_progress"
    said: dict[str, Any] = json.loads(encode(message).data)
    return said


def test_what_the_worker_wrote_is_told_as_it_is() -> None:
    assert told({**ROW, "pipeline": WRITTEN}) == WRITTEN
    assert told({**ROW, "pipeline": WRITTEN}, several=True) == {**WRITTEN, "job_id": JOB}


def test_a_job_without_a_pipeline_is_told_from_its_plain_progress() -> None:
    said = told({**ROW, "source_id": "s"})
    assert (said["document_id"], said["document_name"]) == ("s", "Manuals")
    assert said["stages"] == {"parsing": {
        "name": "parsing", "status": "in_progress", "processed": 1, "total": 4, "in_flight": 0,
        "progress_percent": 25.0, "duration_ms": None, "is_complete": False, "weight": None, "parent": None,
    }}  # fmt: skip
    assert said["timing"] == {"started_at": 1767225600.0, "elapsed_ms": 2000, "estimated_remaining_ms": None}
    assert said["overall_progress_percent"] == 25.0
    assert said["metrics"] == {"entities_total": 0, "relations_total": 0, "neo4j_writes": 0, "qdrant_writes": 0}


@pytest.mark.parametrize(
    ("columns", "percent", "status"),
    [
        ({"progress_total": None}, 0.0, "in_progress"),
        ({"progress_total": 0}, 0.0, "in_progress"),
        ({"progress_current": 9}, 100.0, "in_progress"),
        ({"status": "failed"}, 25.0, "error"),
        ({"status": "completed", "progress_total": None}, 100.0, "completed"),
    ],
)
def test_plain_progress_of_every_shape_has_a_percentage(columns: dict[str, Any], percent: float, status: str) -> None:
    said = told({**ROW, **columns})
    assert said["overall_progress_percent"] == percent
    assert said["stages"]["parsing"]["status"] == status


def test_a_job_that_has_not_begun_has_no_stages() -> None:
    columns = {"progress_stage": None, "started_at": None, "progress_updated_at": None, "status": "queued"}
    said = told({**ROW, **columns})
    assert (said["stages"], said["timing"]["started_at"], said["timing"]["elapsed_ms"]) == ({}, None, 0)


def test_nonsense_in_a_field_costs_that_field_alone() -> None:
    said = told({**ROW, "pipeline": {
        **WRITTEN, "total_chunks": "many", "timing": [1], "metrics": {"pages": 2, "name": "x", "yes": True},
        "overall_progress_percent": 1e9, "stages": {"parsing": {"processed": "8", "weight": -1, "status": "odd"}},
    }})  # fmt: skip
    assert said["total_chunks"] == 0
    assert said["timing"] == {"started_at": None, "elapsed_ms": 0, "estimated_remaining_ms": None}
    assert said["metrics"]["pages"] == 2
    assert not {"name", "yes"} & said["metrics"].keys()
    assert said["overall_progress_percent"] == 0.0
    assert said["worker_pool"] == WRITTEN["worker_pool"]
    assert (said["stages"]["parsing"]["weight"], said["stages"]["parsing"]["status"]) == (None, "pending")


@pytest.mark.parametrize("number", [float("inf"), 10**400, -(10**400), 2**53 + 1])
def test_a_number_that_no_page_can_hold_is_nonsense(number: float) -> None:
    pipeline = {"total_chunks": number, "metrics": {"pages": number}, "timing": {"estimated_remaining_ms": number}}
    said = told({**ROW, "pipeline": pipeline})
    assert said["total_chunks"] == 0
    assert "pages" not in said["metrics"]
    assert timing(pipeline).estimated_remaining_ms is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(WRITTEN)) | st.text(), anything, max_size=6))
def test_whatever_is_in_the_column_something_is_told(pipeline: dict[str, Any]) -> None:
    assert told({**ROW, "pipeline": pipeline}).keys() == WRITTEN.keys()
    timing(pipeline)


def test_a_job_that_goes_on_has_no_ending() -> None:
    for status in ("queued", "running", "paused", "stalled"):
        assert ending({**ROW, "status": status}, several=False) is None


def test_each_ending_is_told_with_its_job_where_there_are_several() -> None:
    def said(status: str, error: str | None = None, *, several: bool = False) -> tuple[str, dict[str, Any]]:
        message = ending({**ROW, "status": status, "error_message": error}, several=several)
        assert message is not None
        return message.type, json.loads(encode(message).data)

    assert said("completed") == ("complete", {})
    assert said("completed", several=True) == ("complete", {"job_id": JOB})
    assert said("failed", "no disk") == ("error", {"message": "no disk", "job_id": JOB})
    assert said("failed") == ("error", {"message": "The job failed.", "job_id": JOB})
    assert said("stopped", several=True) == ("error", {"message": "The job was stopped.", "job_id": JOB})
    assert encode(missing("x")).data == b'{"message":"Job not found: x","job_id":"x"}'


def test_what_the_worker_sdk_writes_is_told_whole() -> None:
    pipeline = Pipeline(name="a.pdf")
    pipeline.start(0.0, 1767225600.0)
    pipeline.begin("reading", 2, 0.0, weight=2)
    pipeline.advance(pipeline.enter("pages", 3, pipeline.current, 0.5))
    pipeline.add_pool(2)
    pipeline.count("tables", 2)
    pipeline.log("info", "begun", 1767225600.0)
    # The column is jsonb, which keeps keys in an order of its own.
    written = json.loads(json.dumps(pipeline.as_object(1.0), sort_keys=True))
    said = told({**ROW, "pipeline": written})
    assert said["document_name"] == "a.pdf"
    for name in ("worker_pool", "metrics", "timing", "overall_progress_percent", "log"):
        assert said[name] == written[name]
    for name, stage in written["stages"].items():
        del stage["position"]
        assert stage.items() <= said["stages"][name].items()
    assert list(said["stages"]) == ["reading", "pages"]
