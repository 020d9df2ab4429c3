"""Which frames, joins and connections faults strike: pure, with the time given."""

from typing import Any

import pytest

from devstack.realtime.fault_spec import parse
from devstack.realtime.faults import LOST, Active, Faults, RateLimit, Refusal, Verdict, matches

CHANGE = "postgres_changes"


@pytest.fixture
def faults() -> Faults:
    return Faults()


def add(faults: Faults, kind: str, now: float = 0.0, channels: Any = (), **fields: Any) -> Active:
    return faults.add(parse({"fault": kind, **fields}, seed=1), now, channels)


def frame(faults: Faults, topic: str = "realtime:room", event: str = CHANGE, now: float = 0.0) -> Verdict | None:
    return faults.on_frame(topic, topic, event, now)


def test_without_faults_frames_go_as_they_are(faults: Faults) -> None:
    assert frame(faults) is None
    assert faults.on_join("realtime:room", 0) is None
    assert faults.on_connect(0) is None


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("*", "phoenix", True),
        ("room", "realtime:room", True),
        ("room", "realtime:rooms", False),
        ("project:*", "realtime:project:1", True),
        ("project:*", "realtime:bom:1", False),
        ("phoenix", "phoenix", True),
    ],
)
def test_patterns_are_of_names(pattern: str, topic: str, *, fits: bool) -> None:
    assert matches(pattern, topic) is fits


def test_changes_alone_are_struck_unless_other_events_are_named(faults: Faults) -> None:
    add(faults, "drop")
    assert frame(faults) is LOST
    assert frame(faults, event="system") is None
    add(faults, "drop", event="s*", topic="room")
    assert frame(faults, event="system") is LOST
    assert frame(faults, event="system", topic="realtime:other") is None


def test_the_same_seed_strikes_the_same_frames() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults()
        add(faults, "drop", probability=0.3, seed=seed)
        return [frame(faults) is LOST for _ in range(200)]

    assert struck(7) == struck(7) != struck(8)
    assert 30 < sum(struck(7)) < 90


def test_a_count_ends_it_and_it_stays_listed(faults: Faults) -> None:
    active = add(faults, "drop", count=2)
    assert [frame(faults) for _ in range(3)] == [LOST, LOST, None]
    assert faults.all(0) == [active]
    assert active.described() == {
        "id": active.id, "fault": "drop", "topic": "*", "event": CHANGE, "probability": 1.0, "count": 2,
        "seconds": None, "seed": 1, "struck": 2, "active": False,
    }  # fmt: skip


def test_time_ends_it(faults: Faults) -> None:
    active = add(faults, "drop", now=10.0, seconds=5)
    assert frame(faults, now=14.9) is LOST
    assert frame(faults, now=15.0) is None
    assert active.ended


def test_several_strike_together(faults: Faults) -> None:
    add(faults, "delay", delay=0.5)
    add(faults, "delay", delay=[0.25, 0.25])
    add(faults, "duplicate", copies=3)
    add(faults, "reorder", behind=2, wait=3)
    assert frame(faults) == Verdict(copies=3, delay=0.75, behind=2, wait=3.0)
    last = add(faults, "drop")
    after = add(faults, "duplicate")
    assert frame(faults) is LOST
    assert (last.struck, after.struck) == (1, 0)


def test_a_delay_is_drawn_from_its_range(faults: Faults) -> None:
    add(faults, "delay", delay=[1, 2])
    delays = {verdict.delay for _ in range(20) if (verdict := frame(faults))}
    assert len(delays) == 20
    assert all(1 <= delay <= 2 for delay in delays)


def test_removed_faults_strike_no_more_and_are_counted_still(faults: Faults) -> None:
    first, second = add(faults, "drop"), add(faults, "mute")
    frame(faults)
    faults.remove(first)
    frame(faults)
    assert faults.struck() == {"drop": 1, "mute": 1}
    assert faults.get(first.id, 0) is None
    assert faults.get(second.id, 0) is second
    faults.remove(second)
    assert frame(faults) is None
    assert faults.struck() == {"drop": 1, "mute": 1}


def test_ended_faults_do_not_pile_up(faults: Faults) -> None:
    for _ in range(500):
        add(faults, "drop", count=1)
        frame(faults)
    assert len(faults.all(0)) == 200
    assert faults.struck() == {"drop": 500}


def test_the_deaf_hear_no_change_and_nothing_else_is_missing(faults: Faults) -> None:
    deaf = add(faults, "deaf", channels=["one", "two"])
    assert deaf.struck == 2
    assert faults.on_frame("one", "realtime:room", CHANGE, 0) is LOST
    assert faults.on_frame("one", "realtime:room", "system", 0) is None
    assert faults.on_frame("joined later", "realtime:room", CHANGE, 0) is None
    faults.forget("one")
    assert faults.on_frame("one", "realtime:room", CHANGE, 0) is None
    assert faults.on_frame("two", "realtime:room", CHANGE, 0) is LOST


def test_a_mute_keeps_all_changes_back_for_its_time(faults: Faults) -> None:
    mute = add(faults, "mute", seconds=3)
    assert frame(faults, now=2.9) is LOST
    assert frame(faults, event="phx_reply") is None
    assert frame(faults, now=3.0) is None
    assert mute.struck == 1


def test_the_recorded_burst_mutes_for_a_minute() -> None:
    # 7,000 changes at once, all delivered; then five a second: none for about a minute, then all again (s7).
    limit = RateLimit(per_second=100, window=60)
    assert all(limit.allows(100.5) for _ in range(7000))
    ticks = [100.5 + tick / 5 for tick in range(1, 400)]
    muted = [tick for tick in ticks if not limit.allows(tick)]
    assert (round(muted[0] - 100.5), round(muted[-1] - 100.5)) == (1, 60)
    assert len(muted) == sum(muted[0] <= tick <= muted[-1] for tick in ticks), "without a break"


def test_a_steady_rate_below_the_limit_is_never_muted() -> None:
    limit = RateLimit(per_second=10, window=5)
    assert all(limit.allows(number / 9) for number in range(1000))


def test_a_rate_limit_counts_changes_alone(faults: Faults) -> None:
    limited = add(faults, "rate_limit", per_second=1, window=2)
    assert [frame(faults, now=0.1) for _ in range(3)] == [None, None, None]
    assert frame(faults, event="system", now=1.1) is None
    assert frame(faults, now=1.1) is LOST
    assert frame(faults, now=3.1) is None
    assert limited.struck == 1


def test_joins_are_refused_by_name_and_number(faults: Faults) -> None:
    add(faults, "refuse_joins", topic="room", reason="no", count=1, delay=2)
    assert faults.on_join("realtime:other", 0) is None
    assert faults.on_join("realtime:room", 0) == Refusal("no", delay=2.0)
    assert faults.on_join("realtime:room", 0) is None


def test_connections_are_refused_with_a_status_or_reset(faults: Faults) -> None:
    refused = add(faults, "refuse_connections", status=429, count=1)
    assert faults.on_connect(0) == Refusal(status=429)
    assert refused.struck == 1
    add(faults, "kill", seconds=5)
    assert faults.on_connect(4.9) == Refusal()
    assert faults.on_connect(5.0) is None
