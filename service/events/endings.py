"""How a stream ends when the server ends it: a reason, and whether the page may come back."""

from dataclasses import dataclass
from typing import ClassVar

from service.events.model import StreamEnd


@dataclass(frozen=True, slots=True)
class Ending:
    """The named ones end streams of any feed; a feed may have reasons of its own.

    ``cursor`` is where a page whose stream had none is to go on, and the id of the message.
    """

    reason: str
    reconnect: bool
    cursor: int | None = None

    COMPLETED: ClassVar["Ending"]
    TOKEN_EXPIRED: ClassVar["Ending"]
    ACCESS_REVOKED: ClassVar["Ending"]
    SHUTDOWN: ClassVar["Ending"]
    TOO_SLOW: ClassVar["Ending"]
    ERROR: ClassVar["Ending"]

    @property
    def denies(self) -> bool:
        """Whether the right to listen is over: then nothing more is told, not even what waits."""
        return self in (Ending.TOKEN_EXPIRED, Ending.ACCESS_REVOKED)

    @property
    def message(self) -> StreamEnd:
        return StreamEnd(reason=self.reason, reconnect=self.reconnect)


Ending.COMPLETED = Ending("completed", reconnect=False)
Ending.TOKEN_EXPIRED = Ending("token_expired", reconnect=True)
Ending.ACCESS_REVOKED = Ending("access_revoked", reconnect=False)
Ending.SHUTDOWN = Ending("shutdown", reconnect=True)
Ending.TOO_SLOW = Ending("too_slow", reconnect=True)
Ending.ERROR = Ending("error", reconnect=True)
