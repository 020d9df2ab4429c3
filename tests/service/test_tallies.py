"""Counters that cost an addition read as prometheus_client's own do."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from service.tallies import Distribution, Tally

BOUNDS = (0.01, 0.1, 1.0)


def exposition(registry: CollectorRegistry) -> list[str]:
    """Without the times of creation, which are prometheus_client's own idea."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_a_tally_reads_as_a_counter() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("things", "Things.", "kind", ours)
    counter = Counter("things", "Things.", ["kind"], registry=theirs)
    for kind, count in (("a", 2), ("b", 1), ("a", 3)):
        tally.counts[kind] += count
        counter.labels(kind).inc(count)
    assert exposition(ours) == exposition(theirs)


def test_a_distribution_reads_as_a_histogram() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    distribution = Distribution("seconds", "Seconds.", BOUNDS, ours)
    histogram = Histogram("seconds", "Seconds.", buckets=BOUNDS, registry=theirs)
    for value in (0.0, 0.01, 0.011, 0.5, 1.0, 7.0):
        distribution.observe(value)
        histogram.observe(value)
    assert exposition(ours) == exposition(theirs)
