"""Serves the application with hypercorn and, when told to stop, lets every stream say goodbye first."""

import asyncio
import logging
import os
import signal
import socket
import sys
import tomllib
from pathlib import Path
from typing import Any, cast

from hypercorn.asyncio import serve
from hypercorn.config import Config, Sockets
from quart import Quart

from service.app import drain
from service.errors import RowcastServiceError

if sys.platform != "win32":
    import uvloop

STOP_SECONDS = 4.0
"""From the signal to the process's end, at most; orchestrators are promised five."""

logger = logging.getLogger(__name__)


class ServerError(RowcastServiceError):
    """The server can't start; the message says what to change."""


class StreamConfig(Config):
    """Hypercorn's configuration, and for how long a connection may take nothing of what it is sent.

    Hypercorn has no such limit: a stalled reader would block its stream, and hold its place, for ever. The kernel has
    one (TCP_USER_TIMEOUT, Linux); accepted connections inherit it from the socket that listens.
    """

    stuck_seconds = 30.0

    def create_sockets(self) -> Sockets:
        sockets = super().create_sockets()
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        for listening in (*sockets.secure_sockets, *sockets.insecure_sockets):
            if option is not None and listening.family in (socket.AF_INET, socket.AF_INET6):
                listening.setsockopt(socket.IPPROTO_TCP, option, round(self.stuck_seconds * 1000))
        return sockets


def configuration(file: Path | None, bind: str | None, stuck_seconds: float) -> StreamConfig:
    """Hypercorn's configuration from a TOML file, if there is one; ``bind`` ("host:port") wins over it.

    Raises :class:`ServerError` when the file is none, OSError when it can't be read.
    """
    try:
        config = cast("StreamConfig", StreamConfig.from_toml(file)) if file else StreamConfig()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ServerError(f"{file} is no TOML: {error}.") from None
    config.stuck_seconds = stuck_seconds
    config.alpn_protocols = ["http/1.1"]  # streams are refused over HTTP/2
    if bind is not None:
        config.bind = [bind]
    if config.errorlog == "-":
        # its own handler would say everything twice
        config.errorlog = logging.getLogger("hypercorn.error")
    return config


def main(app: Quart, config: Config) -> None:
    """:func:`run` on uvloop where there is one, which takes 10 KiB less for each connection than asyncio's own loop.

    Raises :class:`ServerError` when an address can't be bound.
    """
    if sys.platform == "win32":
        asyncio.run(run(app, config))
    else:
        uvloop.run(run(app, config))


async def run(app: Quart, config: Config) -> None:
    """Serves until SIGINT or SIGTERM; ends the process itself when a connection would keep it from ending.

    Raises :class:`ServerError` when an address can't be bound.
    """
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unhandled)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)

    async def stopping() -> None:
        await asked_to_stop.wait()
        loop.call_later(STOP_SECONDS, _end)
        # hypercorn's graceful_timeout waits for open streams but does not end them
        await drain(app)

    try:
        await serve(app, config, shutdown_trigger=stopping)
    except (OSError, OverflowError) as error:  # an OverflowError is a port above 65535
        addresses = ", ".join(config.bind)
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ServerError(f"Can't listen on {addresses} ({why}); choose another address with --bind.") from error
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # one more would only disturb the interpreter's own end
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


def _unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs what nobody has caught, but for the end of a connection that took nothing for stuck_seconds.

    The kernel ends it with a TimeoutError, where hypercorn (0.18) is prepared for resets alone.
    """
    if not (isinstance(context.get("exception"), TimeoutError) and "transport" in context):
        loop.default_exception_handler(context)


def _end() -> None:
    """Ends the process as it is.

    A connection whose other side takes nothing wants to send the rest for ever.
    Hypercorn waits for it, from Python 3.12 on even beyond its graceful_timeout, and so does asyncio.run.
    """
    logger.warning("not everything has ended in time, the rest is dropped")
    logging.shutdown()
    os._exit(0)
