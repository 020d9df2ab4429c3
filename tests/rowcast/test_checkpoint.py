import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.checkpoint import LIMIT, Checkpoints, encode


def test_a_checkpoint_waits_for_the_rows_that_were_queued_before_it():
    checkpoints = Checkpoints()
    checkpoints.put("1", after=2)
    assert checkpoints.ripe(written=1) is None
    assert checkpoints.ripe(written=2) == "1"
    assert checkpoints.pending()  # until it is settled: the write may fail
    done = checkpoints.written()
    checkpoints.settled("1")
    assert done.done()
    assert not checkpoints.pending()
    assert checkpoints.written() is None


def test_the_newest_wins_but_the_one_that_waits_is_not_put_off_by_it():
    checkpoints = Checkpoints()
    for number in range(10):
        checkpoints.put(str(number), after=number)
    assert checkpoints.ripe(written=3) == "0"
    checkpoints.settled("0")
    assert checkpoints.ripe(written=3) is None
    assert checkpoints.ripe(written=9) == "9"


def test_a_newer_one_that_is_ripe_takes_the_older_one_s_place():
    checkpoints = Checkpoints()
    checkpoints.put("old", after=0)
    assert checkpoints.ripe(0) == "old"
    checkpoints.put("new", after=0)
    assert checkpoints.ripe(0) == "new"
    checkpoints.settled("old")
    assert checkpoints.pending()


def test_none_says_that_what_was_refused_is_done():
    checkpoints = Checkpoints()
    checkpoints.put("before", after=1)
    checkpoints.put("behind", after=2)
    checkpoints.bar(2, RuntimeError("refused"))
    checkpoints.put("later", after=3)
    assert checkpoints.ripe(written=3) == "before"
    checkpoints.settled("before")
    assert checkpoints.ripe(written=3) is None
    alone = Checkpoints()
    alone.put("behind", after=1)
    done = alone.written()
    alone.bar(1, RuntimeError("refused"))
    assert str(done.exception()) == "refused"


def test_whoever_waits_hears_that_it_is_given_up():
    checkpoints = Checkpoints()
    checkpoints.put("1", after=0)
    done = checkpoints.written()
    checkpoints.close(RuntimeError("lost"))
    assert str(done.exception()) == "lost"
    assert not checkpoints.pending()


@given(st.lists(st.one_of(st.just("put"), st.just("row"), st.just("write"), st.just("settle")), max_size=60))
def test_what_is_written_never_runs_ahead_of_the_rows_and_the_last_is_written_in_the_end(actions):
    checkpoints, queued, written, last, settled = Checkpoints(), 0, 0, None, None
    for action in actions:
        match action:
            case "put":
                last = str(queued)
                checkpoints.put(last, queued)
            case "row":
                queued += 1
            case "write":
                written = min(written + 1, queued)
            case "settle":
                taken = checkpoints.ripe(written)
                assert taken is None or int(taken) <= written
                if taken is not None:
                    settled = taken
                    checkpoints.settled(taken)
    while checkpoints.pending():
        settled = checkpoints.ripe(queued)
        checkpoints.settled(settled)
    assert settled == last


def test_a_checkpoint_is_json_of_a_bounded_size():
    assert json.loads(encode({"page": 7, "name": "a\x00b"})) == {"page": 7, "name": "a\N{REPLACEMENT CHARACTER}b"}
    assert json.loads(encode([{"\ud800": (1, None)}])) == [{"?": [1, None]}]
    with pytest.raises(TypeError, match="a checkpoint must be what JSON can say"):
        encode(object())
    with pytest.raises(ValueError, match="what JSON can say"):
        encode(float("nan"))
    with pytest.raises(ValueError, match=r"may have 262,144 bytes as JSON, and this one has 262,146"):
        encode("x" * LIMIT)
