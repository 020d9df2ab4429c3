"""What a connection's jobs are at, drawn on the terminal by rich (the extra `rowcast[bar]`).

It looks at the jobs a few times a second; reporting costs no more for it. Where standard error is no terminal it draws
nothing.
"""

from typing import TYPE_CHECKING, Any, Protocol

from rowcast.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

REFRESHES = 4  # a second


class Watched(Protocol):
    def look(self) -> dict[str, Any]: ...


class Bars:
    """One line for each job under way. Raises ConfigError without rich. ``console`` is standard error's unless told."""

    def __init__(self, console: "Console | None" = None) -> None:
        try:
            from rich.console import Console
            from rich.live import Live
        except ImportError as error:
            raise ConfigError("bar=True needs the library rich: pip install 'rowcast[bar]'") from error
        self._console = console or Console(stderr=True)
        self._jobs: list[tuple[str, Watched]] = []
        self._live = Live(
            console=self._console, get_renderable=self.render, refresh_per_second=REFRESHES, transient=True
        )

    def add(self, title: str, job: Watched) -> None:
        self._jobs.append((title, job))
        if len(self._jobs) == 1 and self._console.is_terminal:
            self._live.start()

    def remove(self, job: Watched, status: str) -> None:
        """Says how it ended, above the others."""
        for title, each in self._jobs:
            if each is job and self._console.is_terminal:
                self._console.print(f"{title}: {status}", highlight=False, markup=False)
        self._jobs = [(title, each) for title, each in self._jobs if each is not job]
        if not self._jobs:
            self._live.stop()

    def render(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        for title, job in list(self._jobs):
            told = job.look()
            columns, percent = told["columns"], told["pipeline"]["overall_progress_percent"]
            total = "" if columns["progress_total"] is None else f"/{columns['progress_total']:,}"
            known = percent > 0 or columns["progress_total"] is not None
            table.add_row(
                Text(title, overflow="ellipsis", no_wrap=True),
                ProgressBar(total=100 if known else None, completed=percent, width=30),
                f"{percent:.0f} %" if known else "",
                Text(f"{columns['progress_stage'] or ''} {columns['progress_current']:,}{total}".strip(), no_wrap=True),
                duration(told["pipeline"]["timing"]["estimated_remaining_ms"]),
                Text(columns["progress_message"] or "", overflow="ellipsis", no_wrap=True),
            )
        return table


def duration(milliseconds: int | None) -> str:
    """How long is left, as people say it; nothing when that is not known."""
    if milliseconds is None:
        return ""
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min left"
    return f"{minutes} min {seconds:02} s left" if minutes else f"{seconds} s left"
