"""A key's order: nothing twice, nothing out of order, nothing behind a hole, and everything in the end."""

from hypothesis import given
from hypothesis import strategies as st

from service.changes.change import Change
from service.changes.sequence import WAITING_LIMIT, Sequencer

START = 1000


def change(revision: int, prev: int) -> Change:
    return Change(revision, prev, "jobs", str(revision), "I", frozenset(), {"id": str(revision)}, "")


def revisions(changes: list[Change]) -> list[int]:
    return [one.revision for one in changes]


def test_a_change_whose_predecessor_is_known_goes_out_at_once() -> None:
    sequencer = Sequencer(START)
    assert revisions(sequencer.admit(change(1005, START))) == [1005]
    assert sequencer.last == 1005
    assert not sequencer.has_hole


def test_the_first_change_of_an_empty_key_follows_any_cursor() -> None:
    assert revisions(Sequencer(START).admit(change(1001, 0))) == [1001]


def test_what_lies_behind_a_hole_waits_for_it_to_close() -> None:
    sequencer = Sequencer(START)
    assert sequencer.admit(change(1003, 1002)) == []
    assert sequencer.admit(change(1002, 1001)) == []
    assert sequencer.has_hole
    assert revisions(sequencer.admit(change(1001, START))) == [1001, 1002, 1003]
    assert not sequencer.has_hole


def test_a_change_that_could_not_know_its_predecessor_is_always_a_hole() -> None:
    sequencer = Sequencer(START)
    assert sequencer.admit(change(1001, -1)) == []
    assert sequencer.has_hole


def test_what_was_seen_is_dropped() -> None:
    sequencer = Sequencer(START)
    sequencer.admit(change(1001, START))
    assert sequencer.admit(change(1001, START)) == []
    assert sequencer.admit(change(999, 998)) == []


def test_a_catch_up_closes_a_hole_and_lets_go_what_waited() -> None:
    sequencer = Sequencer(START)
    sequencer.admit(change(1005, 1002))
    caught = sequencer.catch_up([change(1001, -1), change(1002, 1001)], head=1002)
    assert revisions(caught) == [1001, 1002, 1005]
    assert not sequencer.has_hole


def test_a_catch_up_of_nothing_moves_to_the_head() -> None:
    sequencer = Sequencer(START)
    assert sequencer.catch_up([], head=1010) == []
    assert sequencer.last == 1010
    assert sequencer.catch_up([], head=1005) == []
    assert sequencer.last == 1010


def test_a_full_waiting_room_is_emptied_and_still_shows_a_hole() -> None:
    sequencer = Sequencer(START)
    for revision in range(START + 2, START + 3 + WAITING_LIMIT):
        sequencer.admit(change(revision, revision - 1))
    assert sequencer.has_hole
    everything = [change(revision, revision - 1) for revision in range(START + 1, START + 3 + WAITING_LIMIT)]
    caught = sequencer.catch_up(everything, head=everything[-1].revision)
    assert revisions(caught) == revisions(everything)


def test_a_restart_forgets_what_waited() -> None:
    sequencer = Sequencer(START)
    sequencer.admit(change(1002, 1001))
    sequencer.restart(2000)
    assert (sequencer.last, sequencer.has_hole) == (2000, False)


@st.composite
def logs(draw: st.DrawFn) -> list[Change]:
    """A key's log with gaps in its numbers (other keys') and now and then a change that knows no predecessor."""
    log: list[Change] = []
    last = START
    for _ in range(draw(st.integers(1, 12))):
        revision = last + draw(st.integers(1, 4))
        unknown = draw(st.integers(0, 5)) == 0
        log.append(change(revision, -1 if unknown else last))
        last = revision
    return log


@given(logs(), st.data())
def test_any_loss_duplication_and_reordering_gives_every_change_once_and_in_order(
    log: list[Change], data: st.DataObject
) -> None:
    sequencer = Sequencer(START)
    out: list[Change] = []
    arriving = data.draw(st.lists(st.sampled_from(log), max_size=30))
    for one in arriving:
        out += sequencer.admit(one)
        if data.draw(st.integers(0, 4)) == 0:  # the database is read, up to some moment not before what was seen
            upto = data.draw(st.sampled_from([c for c in log if c.revision >= sequencer.last] or log[-1:]))
            cursor = data.draw(st.integers(START, sequencer.last))
            page = [c for c in log if cursor < c.revision <= upto.revision]
            out += sequencer.catch_up(page, upto.revision)
    out += sequencer.catch_up([c for c in log if c.revision > sequencer.last], log[-1].revision)
    assert revisions(out) == revisions(log)
    assert not sequencer.has_hole
