"""What operators can measure, as Prometheus metrics. Each pipeline has a registry of its own."""

import platform
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, ProcessCollector, generate_latest

from service.tallies import Distribution, Tally

LAG_BUCKETS = (
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
"""Fine where a machine of one's own is (some ms), where hosted Realtime is (0.1 to 0.5 s), and coarse up to outages."""


class Metrics:
    """All metrics of one service process. Names and labels are part of the operators' interface."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.streams_open = Gauge("rowcast_streams_open", "Open streams.", ["feed"], registry=registry)
        self.streams_refused = Counter(
            "rowcast_streams_refused", "Streams refused before they began.", ["reason"], registry=registry
        )
        self.limits_reached = Counter(
            "rowcast_limits_reached", "Requests refused because a limit was reached.", ["limit"], registry=registry
        )
        self.rights_asked = Counter(
            "rowcast_rights_asked",
            "Questions to the database whether those who listen still may.",
            ["outcome"],
            registry=registry,
        )
        self.streams_ended = Counter("rowcast_streams_ended", "Streams that have ended.", ["reason"], registry=registry)
        self.events = Counter("rowcast_events", "Messages translated from changes.", ["type"], registry=registry)
        self.deliveries = Tally("rowcast_deliveries", "Messages written to streams.", "feed", registry)
        self.conflated = Counter(
            "rowcast_conflated", "Changes merged into a newer one of the same row for a slow reader.", registry=registry
        )
        self.gaps = Counter(
            "rowcast_gaps_found", "Changes that came before the one that precedes them.", registry=registry
        )
        self.catch_ups = Counter("rowcast_catch_ups", "Readings of what a followed key missed.", registry=registry)
        self.generations = Counter(
            "rowcast_upstream_generations", "Realtime connections that were opened, or tried.", registry=registry
        )
        self.replays = Counter(
            "rowcast_resume_replays", "Streams resumed, by where the past came from.", ["source"], registry=registry
        )
        self.resets = Counter("rowcast_resets", "Streams that were told a reset.", registry=registry)
        self.lag = Distribution(
            "rowcast_lag_seconds",
            "From a change's commit to its frame being written (the oldest of each write).",
            LAG_BUCKETS,
            registry,
        )
        self.keys_followed = Gauge(
            "rowcast_keys_followed", "Keys that have viewers, or had until now.", registry=registry
        )
        self.keys_live = Gauge("rowcast_keys_live", "Followed keys that Realtime carries.", registry=registry)
        self.database_up = Gauge(
            "rowcast_database_up", "1 if the database answered when it was last asked, else 0.", registry=registry
        )
        self.tasks = Gauge(
            "rowcast_tasks", "Tasks of the event loop: they grow with streams, and fall with them.", registry=registry
        )
        build = Info("rowcast_build", "The running program.", registry=registry)
        build.info({"version": version("rowcast"), "python": platform.python_version()})
        ProcessCollector(registry=registry)

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
