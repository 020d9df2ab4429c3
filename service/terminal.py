"""The two faces of ``rowcast watch``: live bars in a terminal, plain lines everywhere else.

Titles, names and messages come from documents and programs of anybody's: they are shown literally, and control
characters in them, which could steer a terminal, as spaces.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from service.watch import TERMINAL, State

SHOWN_JOBS = 8
SHOWN_SOURCES = 8
SHOWN_PROPOSALS = 5
COLOURS = {
    "completed": "green",
    "accepted": "green",
    "failed": "red",
    "rejected": "red",
    "stalled": "red",
    "running": "cyan",
    "processing": "cyan",
    "stopped": "yellow",
    "paused": "yellow",
}
CONTROL_CHARACTERS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")


def one_line(text: str) -> str:
    """``text`` without control characters."""
    return text.translate(CONTROL_CHARACTERS)


def describe(message: dict[str, Any], state: State) -> str | None:
    """One line for a message, None for one that a reader has no use for."""
    match message["type"]:
        case "connected":
            return f"connected at revision {message['revision']}" + ("" if message["live"] else " (not live yet)")
        case "snapshot" if message["last"]:
            return f"{len(state.sources)} sources, {len(state.jobs)} jobs, {len(state.proposals)} proposals"
        case "live":
            return f"{'live' if message['live'] else 'not live, changes come slower'}: {message['reason']}"
        case "reset":
            return f"reset: {message['reason']}"
        case "status_update":
            error = f": {message['errorMessage']}" if message["errorMessage"] else ""
            return f"source {message['sourceName']} {message['status']}{error}"
        case "progress_update":
            title = state.jobs.get(message["jobId"], {}).get("title", message["jobId"])
            return f"job {title}: {progress_text(message['progress'])}"
        case "job_update":
            error = f": {message['errorMessage']}" if message["errorMessage"] else ""
            return f"job {message['title']} {message['status']}{error}"
        case "new_proposal":
            confidence = message["confidence"]
            return f"proposal {message['title']}" + ("" if confidence is None else f" ({confidence:.0%})")
        case "proposal_update":
            return f"proposal {message['title']} {message['status']}"
        case "source_deleted":
            return f"source {message['sourceId']} deleted"
        case "job_deleted":
            return f"job {message['jobId']} deleted"
        case "proposal_deleted":
            return f"proposal {message['proposalId']} deleted"
        case "stream_end":
            return f"stream ended: {message['reason']}"
        case "error":
            return f"error {message['code']}: {message['message']}"
        case _:
            return None


def progress_text(progress: dict[str, Any]) -> str:
    parts = [
        progress["stage"] or "",
        f"{progress['current']}/{'?' if progress['total'] is None else progress['total']}",
        f"{progress['percent']:.0f} %" if progress["percent"] is not None else "",
        progress["message"] or "",
    ]
    return " ".join(part for part in parts if part)


class PlainView:
    """One line a message, as ``describe`` has it."""

    def __init__(
        self, write: Callable[[str], None], describe: Callable[[dict[str, Any], Any], str | None] = describe
    ) -> None:
        self._write = write
        self._describe = describe

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def message(self, message: dict[str, Any], state: Any) -> None:
        line = self._describe(message, state)
        if line:
            self._write(one_line(line))

    def note(self, text: str) -> None:
        self._write(one_line(text))


class LiveView:
    """Bars that move; the last picture stays when watching ends. This is a project's picture."""

    def __init__(self, console: Console, state: Any | None = None) -> None:
        self._state: Any = state or State()
        self._note = ""
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self._render)  # which renders at once

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def message(self, message: dict[str, Any], state: Any) -> None:
        self._state = state
        if message["type"] in ("connected", "live"):
            self._note = ""
        elif message["type"] in ("reset", "error", "stream_end"):
            self._note = describe(message, state) or ""

    def note(self, text: str) -> None:
        self._note = text

    def _render(self) -> Group:
        state = self._state
        told = f"{len(state.jobs)} jobs   {len(state.sources)} sources   {len(state.proposals)} proposals"
        return Group(self._header(told), Text(), self._jobs(), Text(), self._sources(), Text(), self._proposals())

    def _header(self, told: str) -> Text:
        live = self._state.live
        return Text.assemble(
            ("● live" if live else "○ not live", "green" if live else "yellow"),
            f"   {told}   ",
            (one_line(self._note), "yellow"),
        )

    def _jobs(self) -> Table:
        table = Table.grid(padding=(0, 2))
        running_last = sorted(self._state.jobs.values(), key=lambda job: job.get("status") not in TERMINAL)
        for job in running_last[-SHOWN_JOBS:]:
            progress = job.get("progress")
            percent = progress["percent"] if progress else None
            bar = ProgressBar(total=100 if percent is not None else None, completed=percent or 0, width=30)
            told = literal(progress_text(progress)) if progress else Text()
            table.add_row(literal(job.get("title", "")), coloured(job.get("status", "")), bar, told)
        return table

    def _sources(self) -> Table:
        table = Table.grid(padding=(0, 2))
        sources = sorted(self._state.sources.values(), key=lambda source: source["updatedAt"])
        hidden = len(sources) - SHOWN_SOURCES
        for source in sources[-SHOWN_SOURCES:]:
            table.add_row(
                coloured(source["status"]), literal(source["sourceName"]), literal(source["errorMessage"] or "")
            )
        if hidden > 0:
            table.add_row("", f"and {hidden} more sources")
        return table

    def _proposals(self) -> Table:
        table = Table.grid(padding=(0, 2))
        proposals = list(self._state.proposals.values())
        hidden = len(proposals) - SHOWN_PROPOSALS
        for proposal in proposals[-SHOWN_PROPOSALS:]:
            confidence = proposal["confidence"]
            table.add_row(
                "" if confidence is None else f"{confidence:.0%}",
                literal(proposal["title"]),
                coloured(proposal["status"]),
            )
        if hidden > 0:
            table.add_row("", f"and {hidden} more proposals")
        return table


def literal(text: str) -> Text:
    """Not a plain string, in which rich would see markup and emoji codes."""
    return Text(one_line(text))


def coloured(status: str) -> Text:
    return Text(status, style=COLOURS.get(status, ""))
