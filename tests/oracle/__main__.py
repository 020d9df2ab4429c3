"""``python -m tests.oracle --seconds 1800 --seed 7``: a run and its verdict; status 1 when it is bad."""

import argparse
import asyncio
import logging
import random
import sys
import tempfile
from pathlib import Path

from tests.oracle.run import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description="Looks for what the service loses.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long things go wrong")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="decides everything but time")
    parser.add_argument("--directory", type=Path, help="where logs stay; a new temporary directory by default")
    arguments = parser.parse_args()
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="rowcast-oracle-"))
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)  # PostgreSQL may run as another user
    logging.basicConfig(
        filename=directory / "oracle.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    sys.stderr.write(f"seed {arguments.seed}, logs in {directory}\n")
    warm_up = min(30.0, 4 + arguments.seconds / 10)
    verdict = asyncio.run(run(arguments.seed, arguments.seconds, warm_up, directory))
    sys.stderr.write("".join(f"{line}\n" for line in verdict.details))
    sys.stdout.write(f"{verdict}\n")
    sys.exit(0 if verdict.is_good else 1)


if __name__ == "__main__":
    main()
