"""Log lines: one an event, readable or JSON, and never a storm.

A line is a constant message and named fields: ``logger.info("stream ended", extra=fields(stream=id, key=key))``. What
goes on being so, as a database that is down, is logged where it changes, by who knows it; for the rest, and for what
nobody thought of, :class:`Limit` holds repeated lines back. No field ever holds a token, a key or a query string; where
one comes to stand in a line after all, ``redaction`` hides it.
"""

import json
import logging
import time
from collections.abc import Callable
from typing import Literal

NOISY = ("httpx", "httpcore", "hpack", "realtime", "websockets")
"""Libraries that at INFO tell every request, with its address."""
TOLD = "realtime"
"""A library that tells each attempt to connect as two errors: what it has to say ends a generation, which is told."""

LIMIT_LINES = 10
LIMIT_SECONDS = 60.0

CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}
"""What could end a line or steer a terminal, as it is written instead: some of what is logged comes from outside."""

Format = Literal["text", "json"]


def fields(**named: object) -> dict[str, dict[str, object]]:
    """Named values for a line, as the argument ``extra`` of a logging call."""
    return {"fields": named}


def configure(level: str, format_: Format = "text", redact: Callable[[str], str] = str) -> None:
    """Sends every logger's lines to stderr, from ``level`` up, each as ``redact`` leaves it."""
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter(JsonFormatter() if format_ == "json" else TextFormatter(), redact))
    handler.addFilter(Limit(time.monotonic))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))
    if logging.root.level > logging.DEBUG:
        logging.getLogger(TOLD).setLevel(logging.CRITICAL)


class RedactingFormatter(logging.Formatter):
    """Another's lines, as ``redact`` leaves them."""

    def __init__(self, formatter: logging.Formatter, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._formatter = formatter
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(self._formatter.format(record))


class TextFormatter(logging.Formatter):
    """``time LEVEL logger: message name=value …``; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [f"{_time(record)} {record.levelname} {record.name}: {record.getMessage().translate(CONTROL)}"]
        parts += [f"{name}={_text(value)}" for name, value in _fields(record).items() if value is not None]
        lines = self.formatException(record.exc_info).split("\n") if record.exc_info else []
        return "\n".join([" ".join(parts), *(line.translate(CONTROL) for line in lines)])


class JsonFormatter(logging.Formatter):
    """An object a line: time, level, logger, message, the line's fields, and ``exception``, a traceback, if any."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class Limit(logging.Filter):
    """Lets ``lines`` lines of a kind pass in ``seconds``; the last says so, and the next to pass how many did not.

    Of a kind are the lines that one place in the code writes. What each stream says once at INFO passes, as does DEBUG.
    """

    def __init__(self, clock: Callable[[], float], lines: int = LIMIT_LINES, seconds: float = LIMIT_SECONDS) -> None:
        super().__init__()
        self._clock = clock
        self._lines = lines
        self._seconds = seconds
        self._kinds: dict[tuple[str, int], tuple[float, int]] = {}  # when its time began, and its lines since

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG or (record.levelno <= logging.INFO and "stream" in _fields(record)):
            return True
        kind = record.pathname, record.lineno
        now = self._clock()
        began, lines = self._kinds.get(kind, (now, 0))
        if now - began >= self._seconds:
            if lines > self._lines:
                _add(record, held_back=lines - self._lines)
            began, lines = now, 0
        self._kinds[kind] = began, lines + 1
        if lines + 1 == self._lines:
            _add(record, more_held_back_for_seconds=round(began + self._seconds - now))
        return lines < self._lines


def _fields(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = getattr(record, "fields", {})
    return found


def _add(record: logging.LogRecord, **named: object) -> None:
    record.fields = _fields(record) | named


def _time(record: logging.LogRecord) -> str:
    """RFC 3339, UTC, milliseconds."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _text(value: object) -> str:
    """A value that ends where the next space is, or in quotes."""
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    if text and text.isprintable() and not any(character in text for character in ' "='):
        return text
    return json.dumps(text, ensure_ascii=False).translate(CONTROL)
