"""What can go wrong with the devstack, told in one message that says what to do about it."""

import shlex
from pathlib import Path

DEFAULT_DIRECTORY = Path(".rowcast")


class DevstackError(Exception):
    """The devstack can't start or go on; the message is for the person who started it."""


def way_out(option: str, directory: Path) -> str:
    """The command to tell somebody to give: one about another data directory would do harm there."""
    place = () if directory.resolve() == DEFAULT_DIRECTORY.resolve() else ("--data-dir", str(directory.resolve()))
    return f"`{shlex.join(['rowcast', 'dev', *place, option])}`"
