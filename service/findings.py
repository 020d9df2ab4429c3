"""What somebody who looks at a project has found: told by `rowcast doctor` and `rowcast init`."""

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """``WARN`` works, but not as it should; ``FAIL`` does not."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was seen, and what to do about it when it is not well."""

    level: Level
    about: str
    seen: str
    advice: str = ""


def ok(about: str, seen: str) -> Finding:
    return Finding(Level.OK, about, seen)


def warn(about: str, seen: str, advice: str) -> Finding:
    return Finding(Level.WARN, about, seen, advice)


def fail(about: str, seen: str, advice: str) -> Finding:
    return Finding(Level.FAIL, about, seen, advice)
