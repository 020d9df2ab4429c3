"""Serves the application with hypercorn and, when told to stop, lets every stream say goodbye first."""

import asyncio
import ctypes
import logging
import os
import signal
import socket
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from hypercorn.asyncio import serve
from hypercorn.config import Config, Sockets
from hypercorn.logging import Logger
from hypercorn.typing import ResponseSummary, WWWScope
from quart import Quart

from service import http1
from service.app import drain
from service.errors import RowcastServiceError
from service.logs import CONTROL, RedactingFormatter, fields
from service.redaction import redactor, shown_headers, shown_query
from service.tasks import spawn

if sys.platform != "win32":
    import resource

    import uvloop

STOP_SECONDS = 4.0
"""From the signal to the process's end, at most; orchestrators are promised five."""

SPARE_FILES = 1000
"""What is open beside streams: requests, connections to the database and to Realtime, those that are being refused."""

logger = logging.getLogger(__name__)


class ServerError(RowcastServiceError):
    """The server can't start; the message says what to change."""


class RedactingLogger(Logger):
    """Hypercorn's logs without what opens something, whatever format and file they are given."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        redact: Callable[[str], str] = getattr(config, "redact", str)
        self._redact_handlers(self.error_logger, redact)
        # One line a request: hypercorn writes a path decoded, line breaks and all.
        self._redact_handlers(self.access_logger, lambda line: redact(line.translate(CONTROL)))

    def _redact_handlers(self, own: logging.Logger | None, redact: Callable[[str], str]) -> None:
        for handler in own.handlers if own is not None else ():
            handler.setFormatter(RedactingFormatter(handler.formatter or logging.Formatter(), redact))

    def atoms(self, request: WWWScope, response: ResponseSummary | None, request_time: float) -> Mapping[str, str]:
        query, headers = shown_query(request["query_string"]), shown_headers(request["headers"])
        shown = cast("WWWScope", {**request, "query_string": query, "headers": headers})
        return super().atoms(shown, response, request_time)


class StreamConfig(Config):
    """Hypercorn's configuration with defaults that suit streams, and what it lacks.

    It has no limit to how long a connection may take nothing of what it is sent: a stalled reader would block its
    stream, and hold its place, for ever. The kernel has one (TCP_USER_TIMEOUT, Linux); accepted connections inherit it
    from the socket that listens.
    """

    stuck_seconds = 30.0
    redact: Callable[[str], str] = staticmethod(redactor(()))
    logger_class = RedactingLogger
    h11_max_incomplete_size = 32 * 1024
    keep_alive_timeout = 15.0
    include_server_header = False
    websocket_max_message_size = 64 * 1024
    websocket_ping_interval = 25.0

    def create_sockets(self) -> Sockets:
        sockets = super().create_sockets()
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        for listening in (*sockets.secure_sockets, *sockets.insecure_sockets):
            if option is not None and listening.family in (socket.AF_INET, socket.AF_INET6):
                listening.setsockopt(socket.IPPROTO_TCP, option, round(self.stuck_seconds * 1000))
        return sockets


def configuration(
    file: Path | None, bind: str | None, stuck_seconds: float, secrets: Iterable[str] = ()
) -> StreamConfig:
    """Hypercorn's configuration from a TOML file, if there is one; ``bind`` ("host:port") wins over it.

    ``secrets`` are kept out of its logs.

    Raises :class:`ServerError` when the file is none or says what can't be, OSError when it can't be read.
    """
    config = StreamConfig()
    if file is not None:
        try:
            said = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ServerError(f"{file} is no TOML: {error}.") from None
        for name, value in said.items():
            if (wanted := _wanted(config, name, value)) is not None:
                raise ServerError(f"{file}: {name} {wanted}.")
        config = cast("StreamConfig", StreamConfig.from_mapping(said))
    config.stuck_seconds = stuck_seconds
    config.redact = redactor(secrets)
    config.alpn_protocols = ["http/1.1"]
    if bind is not None:
        config.bind = [bind]
    if config.errorlog == "-":
        # its own handler would say everything twice
        config.errorlog = logging.getLogger("hypercorn.error")
    return config


def _wanted(default: StreamConfig, name: str, value: object) -> str | None:
    """What is to be said against a setting of hypercorn's, which would take anything; None where it may be."""
    there = getattr(default, name, default)
    if there is default or callable(there) or name.startswith("_"):
        return "is no setting of hypercorn's"
    if name == "workers" and value != 1:
        return "must be 1; further processes are further `rowcast serve`"
    if name.endswith("bind"):
        listed = value if isinstance(value, list) else [value]
        return (
            None if all(isinstance(one, str) for one in listed) else 'must be like "127.0.0.1:8000", or a list of such'
        )
    for kinds, wanted in ((bool, "true or false"), (int | float, "a number"), (str, "a text"), (list, "a list")):
        if isinstance(there, kinds):
            is_one = isinstance(value, kinds) and isinstance(value, bool) == isinstance(there, bool)
            return None if is_one else f"must be {wanted}"
    return None


def allow_files(streams: int) -> None:
    """Raises the number of files that may be open to what so many streams need, and says so where it can't be.

    A connection is a file, and systems mostly start a process with 1024, which would be the limit of all others.
    """
    if sys.platform == "win32":
        return
    wanted = (streams or SPARE_FILES * 64) + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):  # a system may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            soft = allowed
        if soft < wanted:
            logger.warning("fewer files may be open than streams need", extra=fields(files=soft, streams=streams))


async def give_memory_back(seconds: float = 60.0) -> None:
    """Has glibc, where this is glibc, return what is free to the system, for ever, once in so many seconds.

    By itself it returns little but from the heap's end: after some long answers of the database a process kept 111 MiB,
    of which 25 were in use. It takes a few ms, in a thread.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    while trim is not None:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(trim, 0)


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
    http1.install()
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

    giving_back = spawn(give_memory_back())
    try:
        await serve(app, config, shutdown_trigger=stopping)
    except (OSError, OverflowError) as error:  # an OverflowError is a port above 65535
        addresses = ", ".join(config.bind)
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ServerError(f"Can't listen on {addresses} ({why}); choose another address with --bind.") from error
    finally:
        giving_back.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):  # one more would only disturb the interpreter's own end
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


def _unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs what nobody has caught, but for two ends of a connection.

    The kernel ends one that took nothing for stuck_seconds with a TimeoutError, where hypercorn (0.18) is prepared for
    resets alone. One that hypercorn cancels while stopping makes asyncio's streams (Python 3.11) ask a cancelled task
    for its exception.
    """
    error = context.get("exception")
    if not (isinstance(error, asyncio.CancelledError) or (isinstance(error, TimeoutError) and "transport" in context)):
        loop.default_exception_handler(context)


def _end() -> None:
    """Ends the process as it is.

    A connection whose other side takes nothing wants to send the rest for ever.
    Hypercorn waits for it, from Python 3.12 on even beyond its graceful_timeout, and so does asyncio.run.
    """
    logger.warning("not everything has ended in time, the rest is dropped")
    logging.shutdown()
    os._exit(0)
