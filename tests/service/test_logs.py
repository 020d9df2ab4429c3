"""What reaches stderr, seen in a process of its own: logging is one per process."""

import subprocess
import sys

import pytest


def stderr_of(level: str, *lines: str) -> list[str]:
    """What a program that configures logging and then runs ``lines`` writes to stderr."""
    program = "\n".join(["import logging", "from service.logs import configure", f"configure({level!r})", *lines])
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


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11", "realtime._async.client", "websockets.client", "hpack"])
@pytest.mark.parametrize("level", ["debug", "info"])
def test_libraries_do_not_tell_addresses(name: str, level: str) -> None:
    told = stderr_of(
        level, f"logging.getLogger({name!r}).info('GET /?token=x')", f"logging.getLogger({name!r}).warning('w')"
    )
    assert len(told) == 1
    assert told[0].endswith(f"WARNING {name}: w")


def test_a_library_that_may_speak_less_still_speaks_less() -> None:
    assert stderr_of("error", "logging.getLogger('httpx').warning('w')") == []
