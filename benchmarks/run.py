"""What all benchmarks share: how large they are, the load client, and the command line of each alone."""

import argparse
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import many_files
from benchmarks.table import Row, print_table
from benchmarks.viewers import NoCompiler, compiled


@dataclass(frozen=True)
class Bench:
    """``program`` is the load client. ``repeat`` is how often each figure is taken; the median is told."""

    program: Path
    viewers: int = 1000
    idle_viewers: int = 5000
    projects: int = 500
    seconds: float = 5.0
    repeat: int = 3

    @property
    def crowd(self) -> str:
        return f"{self.viewers:,} viewers"


Benchmark = Callable[[Bench], Iterable[Row]]


def main(description: str, *benchmarks: Benchmark) -> None:
    """Runs them one after the other. One that fails is a row that says so, and the process's status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small and short: to see that it runs, not to quote")
    quick = parser.parse_args().quick
    many_files()
    failed: list[Benchmark] = []

    def rows(bench: Bench) -> Iterator[Row]:
        for benchmark in benchmarks:
            try:
                yield from benchmark(bench)
            except Exception as error:  # noqa: BLE001 - what the others measure is worth having
                failed.append(benchmark)
                traceback.print_exc()
                yield Row(benchmark.__module__, f"failed: {error}")

    try:
        with compiled() as program:
            print_table(rows(Bench(program, 50, 200, 20, 1.0, 1) if quick else Bench(program)))
    except NoCompiler as error:
        sys.exit(str(error))
    sys.exit(1 if failed else 0)
