"""What the routes work with; the composition root fills it in."""

from collections.abc import Callable
from dataclasses import dataclass

from service.access.gate import Gate
from service.feeds.hub import Hub


@dataclass(frozen=True)
class Services:
    """``random`` gives numbers from 0 to 1; durations are in s."""

    hub: Hub
    gate: Gate
    keepalive_seconds: float
    stream_max_age_seconds: float
    random: Callable[[], float]
