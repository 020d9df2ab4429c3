"""HTTP/1.1 as hypercorn (0.18) speaks it, without two of its ways to be worn out.

- HTTP/2 without TLS is not spoken, whoever asks for it: hypercorn keeps all that a client does not take there in
  memory, without bound or time limit.
- A connection whose client sent further requests and left while the first was answered ends. Hypercorn would wait for
  ever for that answer to be over, with the connection's task and all that had been read.
"""

from typing import Any

import h11
import hypercorn.protocol
from hypercorn.events import Closed, Event
from hypercorn.protocol.h11 import H11Protocol


class _Turn:
    """When the next request may be read; see ``H11Protocol.can_read``. Once the connection is over, none may."""

    def __init__(self, event: Any) -> None:
        self._event = event
        self._is_over = False

    async def clear(self) -> None:
        if self._is_over:
            raise ConnectionResetError("the client has gone")  # which ends the connection's task
        await self._event.clear()

    async def wait(self) -> None:
        await self._event.wait()

    async def set(self) -> None:
        await self._event.set()

    async def end(self) -> None:
        self._is_over = True
        await self._event.set()


class Http1(H11Protocol):
    """What every connection speaks."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._turn = _Turn(self.can_read)
        self.can_read = self._turn  # type: ignore[assignment] # all that is asked of it there

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if isinstance(event, Closed):
            await self._turn.end()

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn's own would change to HTTP/2; a server may ignore that it is asked to."""


def install() -> None:
    """Has hypercorn speak it, in the whole process."""
    hypercorn.protocol.H11Protocol = Http1  # type: ignore[attr-defined] # it has no setting for that
