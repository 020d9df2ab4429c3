"""Held back frames: what is late keeps its order, what is reordered is overtaken, and nothing is lost or made up."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from devstack.realtime.faults import LOST, Verdict
from devstack.realtime.lines import Line


def test_a_late_frame_holds_up_what_follows_it() -> None:
    line = Line()
    assert line.push("a", Verdict(delay=1.0), 10.0) == []
    assert line.push("b", None, 10.5) == []
    assert line.next_due == 11.0
    assert line.due(10.9) == []
    assert line.due(11.0) == ["a", "b"]
    assert line.next_due is None
    assert line.push("c", None, 11.0) == ["c"]


def test_a_reordered_frame_waits_for_others() -> None:
    line = Line()
    assert line.push("a", Verdict(behind=2, wait=1.0), 0.0) == []
    assert line.push("b", None, 0.1) == ["b"]
    assert line.push("c", None, 0.2) == ["c", "a"]
    assert line.next_due is None


def test_a_reordered_frame_goes_alone_when_nothing_follows() -> None:
    line = Line()
    line.push("a", Verdict(copies=2, behind=1, wait=1.0), 0.0)
    assert line.next_due == 1.0
    assert line.due(1.0) == ["a", "a"]


def test_a_lost_frame_is_lost_and_a_double_one_sent_twice() -> None:
    line = Line()
    assert line.push("a", LOST, 0.0) == []
    assert line.push("b", Verdict(copies=2), 0.0) == ["b", "b"]
    assert line.next_due is None


VERDICTS = st.builds(
    Verdict,
    copies=st.integers(0, 3),
    delay=st.sampled_from([0.0, 0.0, 0.5, 2.0]),
    behind=st.sampled_from([0, 0, 0, 1, 3]),
    wait=st.sampled_from([0.5, 5.0]),
)
STEPS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 1.0]), st.none() | VERDICTS), max_size=30)


def played(steps: list[tuple[float, Verdict | None]]) -> list[int]:
    """The numbers of the frames in the order in which they went, its time kept exactly."""
    line, now, out = Line(), 0.0, []
    for number, (pause, verdict) in enumerate(steps):
        now += pause
        while (due := line.next_due) is not None and due <= now:
            out += line.due(due)
        out += line.push(str(number), verdict, now)
    while (due := line.next_due) is not None:
        sent = line.due(due)
        assert sent, "what is due goes"
        out += sent
    return [int(frame) for frame in out]


@given(STEPS)
def test_every_frame_goes_as_often_as_it_should(steps: list[tuple[float, Verdict | None]]) -> None:
    wanted = {number: verdict.copies if verdict else 1 for number, (_, verdict) in enumerate(steps)}
    assert Counter(played(steps)) == {number: copies for number, copies in wanted.items() if copies}


@given(STEPS)
def test_only_reordered_frames_change_places(steps: list[tuple[float, Verdict | None]]) -> None:
    aside = {number for number, (_, verdict) in enumerate(steps) if verdict and verdict.behind}
    kept = [number for number in played(steps) if number not in aside]
    assert kept == sorted(kept)


@given(STEPS)
def test_a_reordered_frame_is_overtaken_by_so_many_and_no_more(steps: list[tuple[float, Verdict | None]]) -> None:
    order = list(dict.fromkeys(played(steps)))
    aside = {number for number, (_, verdict) in enumerate(steps) if verdict and verdict.behind}
    for number, (_, verdict) in enumerate(steps):
        if verdict and verdict.behind and verdict.copies:
            earlier = order[: order.index(number)]
            assert sum(other > number and other not in aside for other in earlier) <= verdict.behind
