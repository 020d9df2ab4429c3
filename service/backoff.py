"""Delays between attempts: exponential, bounded, and jittered, so that many who failed at once don't return at once."""

from collections.abc import Callable, Iterator


def delays(random: Callable[[], float], first: float = 0.2, limit: float = 30.0) -> Iterator[float]:
    """Yields delays in seconds for ever: ``first``, then doubling up to ``limit``, each times 0.5 to 1.

    ``random`` gives numbers from 0 to 1.
    """
    delay = min(first, limit)
    while True:
        yield delay * (0.5 + random() / 2)
        delay = min(delay * 2, limit)
