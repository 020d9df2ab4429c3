"""HTTP/1.1 as hypercorn (0.18) speaks it, without two of its ways to be worn out.

- HTTP/2 without TLS is not spoken, whoever asks for it: hypercorn keeps all that a client does not take there in
  memory, without bound or time limit.
- A connection whose client sent further requests and left while the first was answered ends. Hypercorn would wait for
  ever for that answer to be over, with the connection's task and all that had been read.
"""

import h11
import hypercorn.protocol
from hypercorn.events import Closed, Event
from hypercorn.protocol.h11 import H11Protocol


class _Over:
    """What is left to read, and to write to, of a connection that is over; in the place of an ``h11.Connection``."""

    they_are_waiting_for_100_continue = False
    our_state = their_state = h11.CLOSED

    def receive_data(self, data: bytes) -> None:
        pass

    def next_event(self) -> type[h11.NEED_DATA]:
        return h11.NEED_DATA

    def send(self, _: h11.Event) -> bytes:
        return b""


class Http1(H11Protocol):
    """What every connection speaks."""

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if isinstance(event, Closed):
            self.connection = _Over()  # type: ignore[assignment] # all that is asked of it there
            await self.can_read.set()  # who waits for the next request finds none

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn's own would change to HTTP/2; a server may ignore that it is asked to."""


def install() -> None:
    """Has hypercorn speak it, in the whole process."""
    hypercorn.protocol.H11Protocol = Http1  # type: ignore[attr-defined] # it has no setting for that
