"""A PDF read in a process of its own, with limits to its time and memory: what is in it was made by anybody.

The process gets the bytes on its standard input and none of our environment, where keys are, and answers with JSON.
"""

import json
import logging
import os
import resource
import subprocess
import sys
from dataclasses import asdict

from workers.formats.blocks import Block, Unfit

SECONDS = 60.0
MEMORY = 1 << 30
"""Bytes. A PDF of 10 MiB takes some 200 MiB."""
KEPT = ("LD_LIBRARY_PATH", "PATH")
"""What a Python may need to start."""


def read_pdf(data: bytes, seconds: float = SECONDS, memory: int = MEMORY) -> list[Block]:
    """The blocks of a PDF. Raises :class:`Unfit`, after ``seconds`` at the latest."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "workers.apart", str(memory)],
            input=data,
            capture_output=True,
            timeout=seconds,
            check=False,
            env={name: os.environ[name] for name in KEPT if name in os.environ},
        )
    except subprocess.TimeoutExpired as error:
        raise Unfit("too_slow", f"It could not be read within {seconds:g} s.") from error
    try:
        told = json.loads(done.stdout)
    except ValueError as error:
        raise Unfit("damaged", f"Its reader broke off (status {done.returncode}); the PDF is damaged.") from error
    if "reason" in told:
        raise Unfit(told["reason"], told["message"])
    return [Block(**block) for block in told["blocks"]]


def main() -> None:
    """The process: reads standard input, answers {blocks} or {reason, message}."""
    from workers.formats.pdf import parse

    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    logging.disable()  # pypdf tells what it puts up with
    try:
        told: dict[str, object] = {"blocks": [asdict(block) for block in parse(sys.stdin.buffer.read())]}
    except MemoryError:
        told = {"reason": "too_large", "message": f"It takes more than {memory >> 20} MiB of memory to read."}
    except Unfit as error:
        told = {"reason": error.reason, "message": str(error)}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
