"""What the routes work with; the composition root fills it in."""

from collections.abc import Callable
from dataclasses import dataclass

from service.access.gate import Gate
from service.access.limits import Limits
from service.access.rights import Rights
from service.changes.log import ChangeLog
from service.feeds.hub import Hub
from service.proxies import Proxies


@dataclass(frozen=True)
class Services:
    """``random`` gives numbers from 0 to 1; durations are in s; ``outbox_bytes`` may wait for one reader."""

    hub: Hub
    database: ChangeLog
    gate: Gate
    rights: Rights
    limits: Limits
    proxies: Proxies
    outbox_bytes: int
    keepalive_seconds: float
    stream_max_age_seconds: float
    random: Callable[[], float]
    reads_as_user: bool = False
    """Direct mode: there is no change log, and what a stream tells is read as the user whose it is."""
