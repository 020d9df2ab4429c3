"""``rowcast watch --bom``: the enrichment of one bill of materials in a terminal."""

from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from service import terminal
from service.terminal import LiveView, coloured, literal
from service.watch import State, Stream, View

SHOWN_COMPONENTS = 10


@dataclass
class BomState:
    """The BOM's state as last told, and the components last worked on, newest first."""

    state: dict[str, Any] = field(default_factory=dict)
    components: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=SHOWN_COMPONENTS))
    live: bool = True

    def apply(self, message: dict[str, Any]) -> None:
        """Takes one message of the enrichment feed in; a type it does not know changes nothing."""
        self.state = message.get("state", self.state)
        if message["type"] == "live":
            self.live = message["live"]
        elif message["type"] == "snapshot":
            self.components = deque(message["components"][:SHOWN_COMPONENTS], maxlen=SHOWN_COMPONENTS)
        elif "component" in message:
            self.components.appendleft(message["component"])


def describe(message: dict[str, Any], bom: BomState) -> str | None:
    """One line for a message, None for one that a reader has no use for."""
    match message["type"]:
        case "connected":
            return progress_text(bom.state)
        case "snapshot":
            return None
        case "enrichment.started":
            state = message["state"]
            return f"started: {state['total_items']} lines, {state['total_batches']} batches to do"
        case "enrichment.component.completed" | "enrichment.component.failed":
            return component_text(message["component"])
        case "enrichment.progress" | "enrichment.completed":
            return progress_text(message["state"])
        case "enrichment.failed":
            return f"{progress_text(message['state'])}: {message['state']['error_message']}"
        case _:
            return terminal.describe(message, State())


def progress_text(state: dict[str, Any]) -> str:
    done = state["total_items"] - state["pending_items"]
    batch = f", batch {state['current_batch']} of {state['total_batches']}" if state["current_batch"] else ""
    counts = ", ".join(f"{state[f'{name}_items']} {name}" for name in ("enriched", "not_found", "failed"))
    return f"{state['status']}: {done} of {state['total_items']}, {state['percent_complete']:.1f} % ({counts}{batch})"


def component_text(component: dict[str, Any]) -> str:
    data = component["enrichment_data"] or {}
    why = component["error_message"] or data.get("description") or ""
    return " ".join(part for part in (component["status"], component["mpn"] or "(no part number)", why) if part)


class BomView(LiveView):
    """A bar that moves, and the components last worked on."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, BomState())

    def _render(self) -> Group:
        bom: BomState = self._state
        if not bom.state:
            return Group(self._header(""))
        bar = ProgressBar(total=100, completed=bom.state["percent_complete"], width=60)
        components = Table.grid(padding=(0, 2))
        for component in bom.components:
            told = component_text(component).removeprefix(component["status"])
            components.add_row(coloured(component["status"]), literal(told.strip()))
        return Group(self._header(progress_text(bom.state)), Text(), bar, Text(), components)


async def watch(stream: Stream, view: View, *, until_done: bool) -> BomState:
    """Shows the stream until the enrichment has ended; with ``until_done`` also until it is stopped.

    Raises what :meth:`Stream.messages` raises.
    """
    bom = BomState()
    async with aclosing(stream.messages()) as messages:
        async for message in messages:
            bom.apply(message)
            view.message(message, bom)
            if until_done and bom.state.get("status") == "stopped":
                break
    return bom
