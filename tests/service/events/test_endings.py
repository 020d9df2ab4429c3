"""How streams end, as pages read it."""

import pytest

from service.events.endings import Ending
from service.events.wire import encode


@pytest.mark.parametrize(
    ("ending", "reason", "reconnect"),
    [
        (Ending.COMPLETED, "completed", "false"),
        (Ending.TOKEN_EXPIRED, "token_expired", "true"),
        (Ending.ACCESS_REVOKED, "access_revoked", "false"),
        (Ending.SHUTDOWN, "shutdown", "true"),
        (Ending.TOO_SLOW, "too_slow", "true"),
        (Ending.ERROR, "error", "true"),
        (Ending("sold_out", reconnect=False), "sold_out", "false"),
    ],
)
def test_an_ending_is_a_reason_and_whether_to_come_back(ending: Ending, reason: str, reconnect: str) -> None:
    told = encode(ending.message).data
    assert told == f'{{"type":"stream_end","reason":"{reason}","reconnect":{reconnect}}}'.encode()


def test_who_may_no_longer_listen_is_told_nothing_more() -> None:
    others = (Ending.COMPLETED, Ending.SHUTDOWN, Ending.TOO_SLOW, Ending.ERROR, Ending("sold_out", reconnect=False))
    assert Ending.TOKEN_EXPIRED.denies
    assert Ending.ACCESS_REVOKED.denies
    assert not any(ending.denies for ending in others)
