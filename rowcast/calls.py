"""One call of a function of the database: due until it is answered. Pure, as state.py.

What did not arrive is sent again, after growing, jittered pauses, for as long as somebody waits: so a call may be
carried out twice, and the function must bear it.
"""

from collections.abc import Callable, Mapping
from uuid import UUID

from rowcast import rows
from rowcast.state import Delivered, Outcome, Refused, Unreachable, Write, pause_after, promise

PATIENCE = 30.0  # seconds for one attempt; a big BOM takes some


class CallState:
    """Not thread-safe: the writer's lock guards it. ``answer`` is what the function returned."""

    def __init__(self, function: str, arguments: Mapping[str, object], chance: Callable[[], float]) -> None:
        values = {
            name: str(value) if isinstance(value, UUID) else rows.storable(value) for name, value in arguments.items()
        }
        self._write = Write("call", "POST", f"rpc/{function}", {}, rows.encode(values), function, PATIENCE)
        self._chance = chance
        self._due = 0.0
        self._failures = 0
        self.answer = promise()
        self.closed = False

    def due(self) -> float:
        return self._due

    def take(self, now: float) -> Write | None:
        return self._write if self._due <= now else None

    def settle(self, write: Write, outcome: Outcome, now: float) -> None:  # noqa: ARG002 - as of a job's, which has many
        match outcome:
            case Delivered(answer):
                self.closed = True
                self.answer.set_result(answer)
            case Refused(error):
                self.close(error)
            case Unreachable(_, retry_after):
                self._due = now + max(pause_after(self._failures, self._chance()), retry_after or 0.0)
                self._failures += 1

    def close(self, error: BaseException) -> None:
        """Gives the call up; whoever waits for it gets ``error``."""
        if not self.closed:
            self.closed = True
            self.answer.set_exception(error)
