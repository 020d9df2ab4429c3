"""Bars as tqdm's, of our own and the library's itself, against a real server."""

import io

import pytest
import tqdm as library
import tqdm.asyncio

import rowcast
from rowcast.loops import _stage, _whole

PROJECT = "b1c7c8ab-5c0a-4a1e-9d3e-000000000001"


@pytest.fixture
def job(connect):
    with connect() as client, client.job(PROJECT, kind="test", title="A test") as job:
        yield job


@pytest.fixture
def patched():
    with rowcast.patch_tqdm():
        yield


def stages(job):
    with job._writer.lock:
        told = job._state.pipeline.as_object(job._writer.clock())["stages"]
    return {name: (stage["processed"], stage["total"], stage["status"]) for name, stage in told.items()}


def ours(*args, **options):
    return rowcast.tqdm(*args, **options)


def theirs(*args, **options):
    return library.tqdm(*args, file=io.StringIO(), **options)


def disabled(*args, **options):
    return library.tqdm(*args, disable=True, **options)


BARS = pytest.mark.parametrize("bar", [ours, theirs, disabled])


@BARS
def test_a_loop_is_a_stage(job, patched, bar):
    assert list(bar("abc", desc="reading")) == ["a", "b", "c"]
    assert stages(job) == {"reading": (3, 3, "completed")}
    assert list(bar(iter("ab"), desc="writing")) == ["a", "b"]
    assert stages(job)["writing"] == (2, 2, "completed")


@BARS
def test_a_bar_that_is_moved_by_hand_is_a_stage(job, patched, bar):
    with bar(total=10, desc="copying: ", initial=2) as moved:
        moved.update(3)
        moved.update()
        assert stages(job) == {"copying": (6, 10, "in_progress")}


@BARS
def test_a_loop_that_is_left_is_not_over_and_the_next_one_nests_in_nothing(job, patched, bar):
    for item in bar("abc", desc="reading"):
        if item == "b":
            break
    assert stages(job) == {"reading": (1, 3, "in_progress")}
    list(bar("xy", desc="writing"))
    assert stages(job) == {"reading": (1, 3, "completed"), "writing": (2, 2, "completed")}


@BARS
def test_in_a_stage_under_way_a_bar_is_a_part_of_it(job, patched, bar):
    job.stage("embedding", 2)
    for _ in range(2):
        assert list(bar("abcd", desc="Batches")) == ["a", "b", "c", "d"]
        job.advance()
    assert stages(job) == {"embedding": (2, 2, "completed"), "Batches": (8, None, "in_progress")}


@BARS
def test_a_bar_that_nobody_closes_ends_with_the_function_that_made_it(job, patched, bar):
    def load():
        bar(total=2, desc="loading").update(2)

    load()
    list(bar("xy", desc="writing"))
    assert stages(job) == {"loading": (2, 2, "completed"), "writing": (2, 2, "completed")}
    assert [stage["parent"] for stage in job.look()["pipeline"]["stages"].values() if "parent" in stage] == []


@BARS
def test_a_bar_that_counts_fractions_is_over_at_its_end(job, patched, bar):
    with bar(total=1.5, desc="loading") as moved:
        moved.update(1.5)
    list(bar("xy", desc="writing"))
    assert stages(job) == {"loading": (1, 1, "completed"), "writing": (2, 2, "completed")}


@BARS
def test_outside_a_job_a_bar_is_a_loop_and_no_more(patched, bar):
    assert list(bar("abc", desc="reading")) == ["a", "b", "c"]
    with bar(total=3) as moved:
        moved.update()


def test_what_is_undone_reports_no_more(job):
    patch = rowcast.patch_tqdm()
    patch.undo()
    patch.undo()
    assert list(theirs("abc")) == ["a", "b", "c"]
    assert stages(job) == {}


async def test_the_async_bars_of_the_library_report_too(connect, patched):
    async def numbers():
        for number in range(3):
            yield number

    async with connect() as client, client.job(PROJECT, kind="test", title="A test") as job:
        assert [n async for n in tqdm.asyncio.tqdm(numbers(), desc="asking", total=3, file=io.StringIO())] == [0, 1, 2]
        assert stages(job) == {"asking": (3, 3, "completed")}


@pytest.mark.parametrize("bar", [ours, theirs])
def test_reset_begins_anew(job, patched, bar):
    moved = bar(total=3, desc="turn")
    moved.update(3)
    moved.reset(total=5)
    moved.update(2)
    assert stages(job) == {"turn": (5, 8, "in_progress")}
    moved.close()


def test_what_tqdm_s_users_call_is_there(job, capsys):
    bar = rowcast.trange(3, leave=False, ncols=80, mininterval=1)
    assert (len(bar), bool(bar), bar.total, bar.n) == (3, True, 3, 0)
    bar.n, bar.total = 2, 7
    bar.refresh()
    bar.set_description("two of seven")
    assert (stages(job)["work"][:2], job._state.pipeline.message) == ((2, 7), "two of seven")
    bar.set_postfix({"loss": 0.5}, accuracy=1)
    assert job._state.pipeline.message == "loss=0.5, accuracy=1"
    bar.display()
    bar.clear()
    bar.unpause()
    rowcast.tqdm.write("a line")
    assert capsys.readouterr().out == "a line\n"
    with pytest.raises(TypeError, match="made without an iterable"):
        list(rowcast.tqdm())


def test_a_bar_that_outlives_its_job_says_nothing(connect):
    with connect() as client, client.job(PROJECT, kind="test", title="A test"):
        bar = rowcast.tqdm(total=3)
    bar.update()
    bar.close()


@pytest.mark.parametrize(
    ("desc", "stage"),
    [(None, None), ("", None), ("reading: ", "reading"), ("complete", None), ("complete :", None), ("x" * 600, 500)],
)
def test_a_description_is_a_stage_s_name_where_it_can_be(desc, stage):
    told = _stage(desc)
    assert (len(told) if isinstance(stage, int) else told) == stage


@pytest.mark.parametrize(("total", "whole"), [(None, None), (3, 3), (2.7, 2), (float("inf"), None), (-1, None)])
def test_a_total_is_whole_where_it_is_known(total, whole):
    assert _whole(total) == whole
