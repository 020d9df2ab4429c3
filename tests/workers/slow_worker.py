"""A worker in a process of its own, that a test can kill: it works for whoever starts an enrichment.

`python slow_worker.py LOG BLOCK`: each part asked for becomes a line of LOG; a part called BLOCK is never answered.
"""

import asyncio
import sys
from pathlib import Path

import rowcast
from workers.catalogue import Facts, Part
from workers.enrich import serve

LEASE = 3


class Logged:
    name = "logged"

    def __init__(self, log: Path, block: str) -> None:
        self._log = log
        self._block = block

    async def find(self, part: Part) -> Facts:
        with self._log.open("a") as log:
            log.write(f"{part.mpn}\n")
        if part.mpn == self._block:
            await asyncio.Event().wait()
        return Facts(description=part.mpn)


async def main(log: Path, block: str) -> None:
    async with rowcast.connect(lease=LEASE) as client:
        await serve(Logged(log, block), client=client)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
