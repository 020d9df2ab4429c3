"""What reaches stderr: its two forms, its levels, and that nothing can flood it."""

import json
import logging
import re
import subprocess
import sys
from typing import Any

import pytest

from service.logs import JsonFormatter, Limit, TextFormatter, fields


def stderr_of(level: str, *lines: str, format_: str = "text") -> list[str]:
    """What a program of its own that configures logging, one per process, and runs ``lines`` writes to stderr."""
    program = "\n".join(
        ["import logging", "from service.logs import configure, fields", f"configure({level!r}, {format_!r})", *lines]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_decides_what_is_heard(level: str, heard: list[str]) -> None:
    lines = [
        f"logging.getLogger('service.x').{name}('it was %s', {name!r})"
        for name in ("debug", "info", "warning", "error")
    ]
    told = stderr_of(level, *lines)
    assert [line.split(" it was ")[1] for line in told] == heard
    assert all(f" {name.upper()} service.x: " in line for name, line in zip(heard, told, strict=True))


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11", "websockets.client", "hpack"])
@pytest.mark.parametrize("level", ["debug", "info"])
def test_libraries_do_not_tell_addresses(name: str, level: str) -> None:
    told = stderr_of(
        level, f"logging.getLogger({name!r}).info('GET /?token=x')", f"logging.getLogger({name!r}).warning('w')"
    )
    assert len(told) == 1
    assert told[0].endswith(f"WARNING {name}: w")


def test_what_the_service_tells_of_realtime_its_library_tells_to_who_looks_closely() -> None:
    line = "logging.getLogger('realtime._async.client').error('Connection failed permanently')"
    assert stderr_of("info", line) == []
    assert len(stderr_of("debug", line)) == 1


def test_a_library_that_may_speak_less_still_speaks_less() -> None:
    assert stderr_of("error", "logging.getLogger('httpx').warning('w')") == []


def test_both_forms_reach_stderr() -> None:
    line = "logging.getLogger('x').warning('%s ended', 'it', extra=fields(stream='1f', seconds=0.5))"
    (text,) = stderr_of("info", line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING x: it ended stream=1f seconds=0\.500", text)
    (told,) = stderr_of("info", line, format_="json")
    assert json.loads(told) | {"time": ""} == {
        "time": "", "level": "warning", "logger": "x", "message": "it ended", "stream": "1f", "seconds": 0.5,
    }  # fmt: skip


def test_repeated_lines_reach_stderr_but_so_often() -> None:
    told = stderr_of("info", "for number in range(100): logging.getLogger('x').warning('again %d', number)")
    assert [line.split(" again ")[1].split()[0] for line in told] == [str(number) for number in range(10)]


# The forms


def record(message: str, level: int = logging.INFO, line: int = 1, **named: object) -> logging.LogRecord:
    made = logging.LogRecord("service.x", level, "x.py", line, message, (), None)
    made.created, made.msecs = 1_800_000_000.25, 250.0
    if named:
        made.fields = named
    return made


NASTY = 'a "b" = c\nd\r\x1b[31m\x85\u2028ü'


def test_text_is_one_line_whatever_a_value_holds() -> None:
    line = TextFormatter().format(record(NASTY, key="k", empty="", nothing=None, nasty=NASTY, number=7, ratio=0.12345))
    assert line == (
        r'2027-01-15T08:00:00.250Z INFO service.x: a "b" = c\nd\r\x1b[31m\x85\x2028ü '
        r'key=k empty="" nasty="a \"b\" = c\nd\r\u001b[31m\x85\x2028ü" number=7 ratio=0.123'
    )


def test_json_is_one_line_and_gives_the_values_back() -> None:
    line = JsonFormatter().format(record(NASTY, nasty=NASTY, number=7, nothing=None, error=ValueError("odd")))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250Z", "level": "info", "logger": "service.x", "message": NASTY,
        "nasty": NASTY, "number": 7, "nothing": None, "error": "odd",
    }  # fmt: skip


def failed() -> logging.LogRecord:
    made = record("it failed", logging.ERROR, key="k")
    try:
        raise ValueError("odd\x1b[31m")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_a_traceback_follows_in_text_and_is_a_member_in_json() -> None:
    first, second, *_, last = TextFormatter().format(failed()).split("\n")
    assert first.endswith(" ERROR service.x: it failed key=k")
    assert second == "Traceback (most recent call last):"
    assert last == r"ValueError: odd\x1b[31m"
    told = json.loads(JsonFormatter().format(failed()))
    assert told["message"] == "it failed"
    assert told["exception"].endswith("ValueError: odd\x1b[31m")


def test_fields_are_what_extra_takes(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("x").warning("w", extra=fields(key="k"))
    (made,) = caplog.records
    assert TextFormatter().format(made).endswith(" WARNING x: w key=k")


# The limit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def passed(limit: Limit, **asked: Any) -> dict[str, object] | None:
    """The fields of a line that passes, else None."""
    made = record("again", **{"level": logging.WARNING, **asked})
    return getattr(made, "fields", {}) if limit.filter(made) else None


def test_of_a_kind_so_many_pass_and_what_was_held_back_is_told() -> None:
    clock = Clock()
    limit = Limit(clock, lines=3, seconds=60)
    clock.now = 7.0
    assert [passed(limit) for _ in range(2)] == [{}, {}]
    clock.now = 17.0
    assert passed(limit, key="k") == {"key": "k", "more_held_back_for_seconds": 50}
    assert [passed(limit) for _ in range(5)] == [None] * 5
    clock.now = 67.0
    assert [passed(limit) for _ in range(2)] == [{"held_back": 5}, {}]
    clock.now = 127.0
    assert passed(limit) == {}


def test_kinds_do_not_disturb_each_other() -> None:
    limit = Limit(Clock(), lines=2)
    for line in (1, 2):
        assert passed(limit, line=line) == {}
        assert passed(limit, line=line) is not None
        assert passed(limit, line=line) is None


def test_only_debug_and_a_streams_own_lines_are_not_limited() -> None:
    limit = Limit(Clock(), lines=1)
    for _ in range(3):
        assert passed(limit, line=1, level=logging.DEBUG) == {}
        assert passed(limit, line=2, level=logging.INFO, stream="1f") == {"stream": "1f"}
    for line, level, named in ((3, logging.INFO, {}), (4, logging.WARNING, {"stream": "1f"}), (5, logging.ERROR, {})):
        assert passed(limit, line=line, level=level, **named) is not None
        assert passed(limit, line=line, level=level, **named) is None
