"""Whatever is in a row, what pages are told of it is what the schema says."""

import json
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from service.changes.change import Change
from service.events import pipeline
from service.events.project import ProjectFeed
from service.events.wire import encode
from service.schema.examples import JOB_ROW, LATER
from tests.service.schema.checking import validator

ODD = [math.inf, -math.inf, 10**400, -(10**400), 2**53 + 1, 1e308]
"""Numbers in PostgreSQL's JSON; 1e400 is an infinity once Python has read it."""
NUMBERS = st.sampled_from(ODD) | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TIMES = st.sampled_from(["0001-01-01T00:00:00+00:00", "4000-01-01T00:00:00 BC", "294276-12-31T23:59:59.999999+00:00",
                         "2026-11-21T12:04:34+00:00", "2026-11-21T14:04:34.123456+02:00"])  # fmt: skip


def some(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """An object in which some of these names stand for anything."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, NUMBERS | JSON))


STAGE = some([
    "name", "status", "processed", "total", "in_flight", "progress_percent", "duration_ms", "weight", "parent",
])  # fmt: skip
WORKER = some(["id", "status", "current_chunk", "progress_percent"])
PIPELINE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["document_id", "document_name", "total_chunks", "overall_progress_percent"], JSON),
        "stages": JSON | st.dictionaries(st.text(max_size=5), STAGE | JSON, max_size=3),
        "worker_pool": JSON | st.fixed_dictionaries({"workers": JSON | st.lists(WORKER | JSON, max_size=3)}),
        "metrics": JSON | st.dictionaries(st.text(max_size=5), NUMBERS | JSON, max_size=3),
        "timing": JSON | some(["started_at", "elapsed_ms", "estimated_remaining_ms"]),
        "log": JSON | st.lists(some(["time", "level", "message"]) | JSON, max_size=3),
    },
)


@settings(deadline=None, max_examples=300)
@given(PIPELINE, st.booleans())
def test_of_whatever_a_worker_wrote_as_its_pipeline(said: dict[str, Any], several: bool) -> None:
    told = json.loads(encode(pipeline.progress({**JOB_ROW, "pipeline": said}, several=several)).data)
    validator("JobPipelineProgress" if several else "PipelineProgress").validate(told)


@settings(deadline=None, max_examples=300)
@given(
    PIPELINE | st.none(), TIMES, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1) | st.none(),
    st.sampled_from(["queued", "running", "completed", "failed"]), st.booleans(),
)  # fmt: skip
def test_of_a_job(
    said: dict[str, Any] | None, at: str, current: int, total: int | None, status: str, several: bool
) -> None:
    row = {
        **JOB_ROW, "pipeline": said, "progress_updated_at": at, "progress_current": current, "progress_total": total,
        "started_at": at, "status": status,
    }  # fmt: skip
    for message in ProjectFeed().translate(Change(2, 1, "jobs", row["id"], "I", frozenset(), row, LATER)):
        validator("ProjectMessage").validate(json.loads(encode(message).data))
    for message in (pipeline.progress(row, several=several), pipeline.ending(row, several=several)):
        if message is not None:
            union = "PipelinesMessage" if several else "PipelineMessage"
            validator(union).validate(json.loads(encode(message).data))
