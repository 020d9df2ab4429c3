"""SIGTERM as a clean stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Within its block SIGTERM raises SystemExit (status 143) in the main thread, where Python would end at once: so
    jobs end `stopped`, and claimed ones go back to the queue. In async code too, around ``asyncio.run``. A second
    SIGTERM ends the process at once. Raises ValueError outside the main thread.
    """

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal calls it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
