"""Where log lines go and which are worth reading."""

import logging

NOISY = ("httpx", "httpcore", "hpack", "realtime", "websockets")
"""Libraries that at INFO tell every request, with its address."""


def configure(level: str) -> None:
    """Sends every logger's lines to stderr, from ``level`` up."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))
