"""How a stream ends when the server ends it: a reason, and whether the page may come back."""

from enum import Enum

from service.events.model import StreamEnd


class Ending(Enum):
    """The value is the reason on the wire and whether to reconnect."""

    COMPLETED = ("completed", False)
    TOKEN_EXPIRED = ("token_expired", True)
    ACCESS_REVOKED = ("access_revoked", False)
    SHUTDOWN = ("shutdown", True)
    TOO_SLOW = ("too_slow", True)
    ERROR = ("error", True)

    @property
    def message(self) -> StreamEnd:
        reason, reconnect = self.value
        return StreamEnd(reason=reason, reconnect=reconnect)
