"""Serves the application with hypercorn and, when told to stop, lets every stream say goodbye first."""

import asyncio
import signal
from pathlib import Path

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart

from service.app import drain


def configuration(file: Path | None, bind: str | None) -> Config:
    """Hypercorn's configuration from a TOML file, if there is one; ``bind`` ("host:port") wins over it."""
    config = Config.from_toml(file) if file is not None else Config()
    if bind is not None:
        config.bind = [bind]
    return config


async def run(app: Quart, config: Config) -> None:
    """Serves until SIGINT or SIGTERM. Raises OSError when an address can't be bound."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)

    async def stopping() -> None:
        await asked_to_stop.wait()
        # hypercorn's graceful_timeout waits for open streams but does not end them
        await drain(app)

    await serve(app, config, shutdown_trigger=stopping)
