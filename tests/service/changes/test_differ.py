"""Two readings of a key's rows, and the changes that lead from one to the other."""

from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from service.changes.change import Change, merge
from service.changes.differ import Row, State, differ
from service.events.project import ProjectFeed
from service.tables import REQUIRED, STANDARD

TABLES = tuple(REQUIRED)
AT = "2026-11-21T12:00:00+00:00"

ROWS = st.dictionaries(st.sampled_from("abcde"), st.fixed_dictionaries({"v": st.integers(0, 2), "w": st.booleans()}))
STATES = st.fixed_dictionaries(dict.fromkeys(TABLES, ROWS))


def applied(state: State, changes: Iterable[Change]) -> dict[str, dict[str, Row]]:
    """The state of a reader who has ``state`` and is told ``changes``."""
    rows = {table: dict(of_table) for table, of_table in state.items()}
    for change in changes:
        of_table = rows[change.table]
        match change.op:
            case "I":
                assert change.row_id not in of_table
                assert change.row is not None
                of_table[change.row_id] = change.row
            case "U":
                assert change.row is not None
                told = {name: change.row[name] for name in change.changed}
                assert told
                of_table[change.row_id] = {**of_table[change.row_id], **told}
            case "D":
                del of_table[change.row_id]
    return rows


def merged(changes: Sequence[Change]) -> list[Change]:
    newest: dict[tuple[str, str], Change] = {}
    for change in changes:
        older = newest.get(change.identity)
        newest[change.identity] = change if older is None else merge(older, change)
    return list(newest.values())


@given(STATES, STATES)
def test_the_changes_make_the_new_state_of_the_old(old: State, new: State) -> None:
    assert applied(old, differ(old, new, 7, AT)) == new


@given(STATES)
def test_nothing_is_told_where_nothing_has_changed(state: State) -> None:
    assert differ(state, state, 7, AT) == []


@given(STATES, STATES)
def test_the_changes_are_numbered_one_after_the_other_and_each_row_is_told_once(old: State, new: State) -> None:
    changes = differ(old, new, 7, AT)
    assert [change.revision for change in changes] == list(range(8, 8 + len(changes)))
    assert [change.prev for change in changes] == list(range(7, 7 + len(changes)))
    assert len({change.identity for change in changes}) == len(changes)


@given(STATES, STATES, STATES)
def test_a_slow_reader_who_is_told_several_readings_as_one_has_the_newest(
    first: State, then: State, now: State
) -> None:
    """Rows that went and came back are told as both, and hold all that the newest reading shows."""
    changes = differ(first, then, 0, AT)
    changes += differ(then, now, len(changes), AT)
    rows = {table: dict(of_table) for table, of_table in first.items()}
    for change in merged(changes):
        if change.row is None:
            rows[change.table].pop(change.row_id, None)
        else:
            rows[change.table][change.row_id] = change.row
    assert rows == now


def test_what_refers_to_a_row_is_told_after_it_and_is_gone_before_it() -> None:
    nothing: State = {table: {} for table in TABLES}
    all_ = {table: {"a": {"v": 1}} for table in TABLES}
    assert [change.table for change in differ(nothing, all_, 0, AT)] == list(TABLES)
    assert [change.table for change in differ(all_, nothing, 0, AT)] == list(reversed(TABLES))


def test_the_translators_see_the_same_change_as_from_the_log() -> None:
    job = STANDARD.ours["jobs"].row({"id": "j", "created_at": AT, "title": "T", "status": "running"})
    nothing: State = {"jobs": {}}
    begun: State = {"jobs": {"j": job}}
    on: State = {"jobs": {"j": {**job, "progress_current": 3, "progress_updated_at": AT}}}
    feed = ProjectFeed()

    def types(old: State, new: State) -> list[str]:
        return [message.type for change in differ(old, new, 0, AT) for message in feed.translate(change)]

    assert types(nothing, begun) == ["job_update"]
    assert types(begun, on) == ["progress_update"]
    assert types(on, nothing) == ["job_deleted"]
