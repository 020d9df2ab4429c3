"""The table that every benchmark's figures go into, as Markdown, printed as they come."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

HEAD = ("figure", "rowcast on hypercorn", "rowcast on granian", "beside it, in the same run", "target", "met")


@dataclass(frozen=True)
class Row:
    """One figure. ``here`` is rowcast's own, or that of the part measured; ``met`` is None where there is no target."""

    figure: str
    here: str
    granian: str = ""
    beside: str = ""
    target: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        verdict = {None: "", True: "yes", False: "**no**"}[self.met]
        return (self.figure, self.here, self.granian, self.beside, self.target, verdict)


def print_table(rows: Iterable[Row], say: Callable[[str], None] = lambda line: print(line, flush=True)) -> None:
    say(_line(HEAD))
    say("|" + "---|" * len(HEAD))
    for row in rows:
        say(_line(row.cells()))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def beside(figures: dict[str, str]) -> str:
    """``name figure``, by commas."""
    return ", ".join(f"{name} {figure}" for name, figure in figures.items())
