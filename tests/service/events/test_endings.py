"""How streams end, as pages read it."""

import pytest

from service.events.endings import Ending
from service.events.wire import encode


@pytest.mark.parametrize("ending", list(Ending))
def test_an_ending_is_a_reason_and_whether_to_come_back(ending: Ending) -> None:
    reason, reconnect = ending.value
    told = encode(ending.message).data
    assert told == f'{{"type":"stream_end","reason":"{reason}","reconnect":{str(reconnect).lower()}}}'.encode()


def test_only_what_is_over_for_good_tells_pages_to_stay_away() -> None:
    assert {ending for ending in Ending if not ending.message.reconnect} == {Ending.COMPLETED, Ending.ACCESS_REVOKED}
