import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast.pipeline import LOG_LINES, LONGEST_ESTIMATE, METRICS, MOST_METRICS, MOST_STAGES, Pipeline

START, WALL = 100.0, 1_800_000_000.0


def make(**options):
    pipeline = Pipeline(**options)
    pipeline.start(START, WALL)
    return pipeline


def stages(pipeline, now=START, **options):
    return pipeline.as_object(now, **options)["stages"]


def overall(pipeline, now=START, **options):
    return pipeline.as_object(now, **options)["overall_progress_percent"]


def eta(pipeline, now):
    """In seconds."""
    told = pipeline.as_object(now)["timing"]["estimated_remaining_ms"]
    return None if told is None else told / 1000


def test_a_job_that_has_told_nothing_still_has_the_whole_object():
    assert make(name="A report", document_id="7").as_object(START + 2) == {
        "document_id": "7",
        "document_name": "A report",
        "total_chunks": None,
        "total_images": None,
        "stages": {},
        "worker_pool": {"active": 0, "max": 0, "queue_depth": 0, "workers": []},
        "metrics": dict.fromkeys(METRICS, 0),
        "timing": {"started_at": WALL, "elapsed_ms": 2000, "estimated_remaining_ms": None},
        "overall_progress_percent": 0.0,
        "log": [],
    }


def test_a_stage_under_way_and_those_planned():
    pipeline = make()
    pipeline.plan({"parsing": 1, "extraction": 3})
    pipeline.begin("parsing", 4, START)
    pipeline.current.processed += 1
    pipeline.current.in_flight = 2
    told = stages(pipeline, START + 1.5)
    assert told["parsing"] == {
        "name": "parsing", "status": "in_progress", "processed": 1, "total": 4, "in_flight": 2,
        "progress_percent": 25.0, "duration_ms": 1500, "is_complete": False, "weight": 1, "position": 0,
    }  # fmt: skip
    assert (told["extraction"]["status"], told["extraction"]["weight"]) == ("pending", 3)
    assert list(told) == ["parsing", "extraction"]
    assert overall(pipeline) == 6.2  # a quarter of a quarter
    pipeline.current.processed, pipeline.current.in_flight = 4, 0
    assert stages(pipeline)["parsing"]["is_complete"]  # before the next one begins
    assert overall(pipeline) == 25.0


def test_the_plain_columns_are_those_of_the_stage_under_way():
    pipeline = make()
    pipeline.current.processed += 3
    assert pipeline.columns() == {
        "progress_stage": None, "progress_current": 3, "progress_total": None, "progress_message": None,
    }  # fmt: skip
    assert stages(pipeline)["work"]["processed"] == 3
    pipeline.begin("parsing", 10, START, done=4)
    pipeline.message = "a.md"
    assert pipeline.columns() == {
        "progress_stage": "parsing", "progress_current": 4, "progress_total": 10, "progress_message": "a.md",
    }  # fmt: skip


def test_a_stage_begun_again_goes_on_counting_and_its_columns_begin_at_0():
    pipeline = make()
    pipeline.begin("reading", 2, START)
    pipeline.current.processed += 2
    pipeline.begin("writing", 2, START + 1)
    pipeline.begin("reading", 3, START + 3)
    pipeline.current.processed += 1
    assert (pipeline.columns()["progress_current"], pipeline.columns()["progress_total"]) == (1, 3)
    told = stages(pipeline, START + 4)
    assert (told["reading"]["processed"], told["reading"]["total"], told["reading"]["duration_ms"]) == (3, 5, 2000)
    assert (told["reading"]["status"], told["writing"]["status"]) == ("in_progress", "completed")


def test_a_total_that_was_too_low_grows():
    pipeline = make()
    pipeline.begin("reading", 2, START)
    pipeline.current.processed += 5
    assert pipeline.columns()["progress_total"] == 5
    assert stages(pipeline)["reading"]["total"] == 5


@pytest.mark.parametrize(
    ("end", "first", "second", "percent", "left"),
    [
        ("completed", "completed", "completed", 100.0, 0),
        ("failed", "completed", "error", 75.0, None),
        ("stopped", "completed", "error", 75.0, None),
        ("queued", "completed", "in_progress", 75.0, None),
    ],
)
def test_the_end_says_what_became_of_each_stage(end, first, second, percent, left):
    pipeline = make()
    pipeline.plan({"a": 1, "b": 1})
    pipeline.begin("a", 2, START)
    pipeline.begin("b", 2, START + 1)
    pipeline.current.processed += 1
    told = pipeline.as_object(START + 9, end)
    assert [told["stages"][name]["status"] for name in "ab"] == [first, second]
    assert (told["overall_progress_percent"], told["timing"]["estimated_remaining_ms"]) == (percent, left)


def test_without_a_plan_the_whole_is_never_said_to_be_done_before_the_end():
    pipeline = make()
    pipeline.begin("only", 1, START)
    pipeline.current.processed += 1
    assert overall(pipeline) == 99.0
    assert overall(pipeline, end="completed") == 100.0


def test_an_attempt_that_goes_on_with_another_worker_goes_on_from_what_that_one_told():
    first = make()
    first.begin("only", 10, START)
    first.current.processed += 6
    first.count("pages", 12)
    first.log("info", "half of it", WALL)
    pipeline = make(before=first.as_object(START + 1))
    pipeline.begin("only", 10, START)
    pipeline.count("pages", 1)
    told = pipeline.as_object(START)
    assert told["overall_progress_percent"] == 60.0
    assert told["metrics"]["pages"] == 13
    assert [line["message"] for line in told["log"]] == ["half of it"]
    pipeline.current.processed += 7
    assert overall(pipeline) == 70.0


def test_what_somebody_else_wrote_into_a_pipeline_is_taken_as_far_as_it_makes_sense():
    before = {"overall_progress_percent": None, "metrics": {"pages": "many", "bytes": 5}, "log": 7}
    told = make(before=before).as_object(START)
    assert (told["overall_progress_percent"], told["metrics"]["bytes"], told["log"]) == (0.0, 5, [])
    assert "pages" not in told["metrics"]


def test_a_nested_track_is_a_part_of_the_item_around_it():
    pipeline = make()
    pipeline.plan({"files": 1})
    pipeline.begin("files", 2, START)
    pages = pipeline.enter("pages", 4, pipeline.current, START)
    pipeline.advance(pages)
    words = pipeline.enter("words", 2, pages, START)
    pipeline.advance(words)
    told = stages(pipeline, START + 1)
    assert overall(pipeline) == 18.8  # (1 + 1/2) of 4 pages of the first of 2 files
    assert told["pages"] == {
        "name": "pages", "status": "in_progress", "processed": 1, "total": None, "in_flight": 1,
        "progress_percent": 18.8, "duration_ms": 1000, "is_complete": False, "parent": "files", "position": 1,
    }  # fmt: skip
    assert told["words"]["parent"] == "files"
    pipeline.leave(words)
    pipeline.leave(pages)
    pipeline.current.processed += 1
    second = pipeline.enter("pages", 3, pipeline.current, START + 2)
    pipeline.advance(second)
    pipeline.leave(second)
    pipeline.begin("next", None, START + 5)
    told = stages(pipeline, START + 9)["pages"]
    assert (told["processed"], told["total"], told["status"]) == (2, 2, "completed")
    assert told["duration_ms"] == 5000


def test_nested_stages_are_bounded_too_but_for_those_under_way():
    pipeline = make()
    pipeline.begin("files", None, START)
    open_ = pipeline.enter("open", 2, pipeline.current, START)
    for number in range(MOST_STAGES * 2):
        pipeline.leave(pipeline.enter(f"file {number}", 1, pipeline.current, START))
    told = stages(pipeline, START)
    assert len(told) == MOST_STAGES
    assert {"files", "open", f"file {MOST_STAGES * 2 - 1}"} <= told.keys()
    pipeline.leave(open_)


def test_the_pool_s_workers_are_told_and_stay_to_be_seen_idle():
    pipeline = make()
    pipeline.begin("files", 2, START)
    pool = pipeline.add_pool(2)
    pool.workers[0].status, pool.workers[0].current = "processing", "a.pdf"
    track = pipeline.enter("pages", 2, pipeline.current, START)
    pool.workers[0].track = track
    pipeline.advance(track)
    pool.queued = 3
    assert pipeline.as_object(START)["worker_pool"] == {
        "active": 1, "max": 2, "queue_depth": 3, "workers": [
            {"id": 1, "status": "processing", "current_chunk": "a.pdf", "progress_percent": 50.0},
            {"id": 2, "status": "idle", "current_chunk": None, "progress_percent": 0.0},
        ],
    }  # fmt: skip
    pipeline.drop_pool(pool)
    assert pipeline.as_object(START)["worker_pool"]["max"] == 2
    pipeline.add_pool(5)
    assert pipeline.as_object(START)["worker_pool"]["max"] == 5  # the one before is gone


def test_it_is_bounded():
    pipeline = make()
    for number in range(MOST_STAGES * 2):
        pipeline.begin(f"stage {number}", 1, START)
        pipeline.current.processed += 1
        pipeline.log("info", f"line {number}", WALL + number)
    told = pipeline.as_object(START)
    assert len(told["stages"]) == MOST_STAGES
    assert f"stage {MOST_STAGES * 2 - 1}" in told["stages"]
    assert [line["message"] for line in told["log"]] == [f"line {number}" for number in range(180, 200)]
    assert len(told["log"]) == LOG_LINES
    assert told["log"][0] == {"time": "2027-01-15T08:03:00.000Z", "level": "info", "message": "line 180"}
    assert told["overall_progress_percent"] == 99.0  # what left still counts
    for number in range(MOST_METRICS - len(METRICS)):
        pipeline.count(f"metric {number}", 1)
    with pytest.raises(ValueError, match="there are 100 already"):
        pipeline.count("one more", 1)
    pipeline.count("entities_total", 2)
    pipeline.count("entities_total", 0.5)
    assert pipeline.as_object(START)["metrics"]["entities_total"] == 2.5


def test_no_estimate_before_it_can_be_known():
    pipeline = make()
    assert eta(pipeline, START + 60) is None  # nothing has begun
    pipeline.begin("counting", None, START + 60)
    pipeline.current.processed += 100
    assert eta(pipeline, START + 100) is None  # no total
    pipeline.begin("reading", 1000, START + 100)
    assert eta(make(), START + 100) is None


def test_an_estimate_is_the_pace_so_far():
    pipeline = make()
    pipeline.begin("reading", 100, START)
    pipeline.current.processed += 1
    assert eta(pipeline, START + 0.9) is None  # too soon
    assert eta(pipeline, START + 1) == 99.0
    pipeline.current.processed += 19
    assert eta(pipeline, START + 20) == 80.0
    assert eta(pipeline, START + 30) == 120.0  # a halt makes it grow as slowly as time goes
    pipeline.pause(START + 30)
    assert eta(pipeline, START + 500) == 120.0
    pipeline.resume(START + 500)
    assert eta(pipeline, START + 500) == 120.0


def test_what_an_earlier_attempt_did_says_nothing_about_the_pace():
    pipeline = make()
    pipeline.begin("reading", 100, START, done=50)
    assert eta(pipeline, START + 20) is None
    pipeline.current.processed += 10
    assert eta(pipeline, START + 20) == 80.0


def test_the_stages_to_come_are_reckoned_by_their_weights():
    pipeline = make()
    pipeline.plan({"a": 1, "b": 3})
    pipeline.begin("a", 10, START)
    pipeline.current.processed += 5
    assert eta(pipeline, START + 10) == pytest.approx(10 + 60)
    pipeline.current.processed += 5
    pipeline.begin("b", 10, START + 20)
    assert eta(pipeline, START + 20) == 60.0  # no jump where one stage follows another
    # b's weight was far off: the more of it is done, the more its own pace counts
    pipeline.current.processed += 9
    assert eta(pipeline, START + 29) < 3


def test_over_thirty_days_is_not_known():
    pipeline = make()
    pipeline.begin("reading", 1_000_000, START)
    pipeline.current.processed += 1
    assert eta(pipeline, START + 60) is None


NAMES = st.sampled_from(["a", "b", "c"])
ACTIONS = st.one_of(
    st.tuples(st.just("begin"), st.none() | NAMES, st.none() | st.integers(0, 50), st.integers(0, 10)),
    st.tuples(st.just("advance"), st.integers(0, 30)),
    st.tuples(st.just("flight"), st.integers(0, 4)),
    st.tuples(st.just("enter"), st.none() | NAMES, st.none() | st.integers(0, 5)),
    st.tuples(st.just("step")),
    st.tuples(st.just("leave")),
    st.tuples(st.just("pause")),
    st.tuples(st.just("resume")),
    st.tuples(st.just("plan"), st.dictionaries(NAMES, st.floats(0.01, 100), max_size=3)),
)


@settings(max_examples=150, deadline=None)
@given(
    st.booleans(),
    st.lists(st.tuples(ACTIONS, st.floats(0, 1e6, allow_subnormal=False)), max_size=40),
    st.sampled_from(["completed", "failed", "stopped", "queued"]),
)
def test_whatever_happens_percent_never_goes_back_and_estimates_are_sane(planned, actions, end):
    pipeline = make()
    if planned:
        pipeline.plan({"a": 1, "b": 2.5})
    tracks, now, before = [], START, {}
    for (action, *given_), passed in actions:
        now += passed
        match action:
            case "begin":
                name, total, done = given_
                pipeline.begin(name, total, now, done=done)
            case "advance":
                pipeline.current.processed += given_[0]
            case "flight":
                pipeline.current.in_flight = given_[0]
            case "enter":
                tracks.append(pipeline.enter(*given_, tracks[-1] if tracks else pipeline.current, now))
            case "step" if tracks:
                pipeline.advance(tracks[-1])
            case "leave" if tracks:
                pipeline.leave(tracks.pop())
            case "plan":
                pipeline.plan(given_[0])
            case "pause" | "resume":
                getattr(pipeline, action)(now)
        before = sane(pipeline.as_object(now), before)
    told = pipeline.as_object(now, end)
    sane(told, before)
    if end == "completed":
        assert told["overall_progress_percent"] == 100.0
        assert told["timing"]["estimated_remaining_ms"] == 0


def sane(told, before):
    json.dumps(told, allow_nan=False)
    percents = {"": told["overall_progress_percent"]}
    for name, stage in told["stages"].items():
        percents[name] = stage["progress_percent"]
        assert stage["status"] in ("pending", "in_progress", "completed", "error")
        assert stage["is_complete"] == (stage["status"] == "completed")
        assert stage["processed"] >= 0
        assert stage["in_flight"] >= 0
        assert stage["duration_ms"] >= 0
        assert stage["total"] is None or stage["total"] >= stage["processed"]
        if stage["is_complete"]:
            assert stage["progress_percent"] == 100.0
    for name, percent in percents.items():
        assert 0.0 <= percent <= 100.0
        assert percent >= before.get(name, 0.0)
    left = told["timing"]["estimated_remaining_ms"]
    assert left is None or 0 <= left <= LONGEST_ESTIMATE * 1000
    return percents
