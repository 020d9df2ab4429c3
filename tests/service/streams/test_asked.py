"""What a request may ask for, and how it is told what was wrong."""

from uuid import UUID

import pytest
from werkzeug.datastructures import Headers

from service.access.gate import Credential
from service.errors import ApiError
from service.streams import asked

KNOWN = frozenset({"a_b", "c"})
PROJECT = "11111111-1111-4111-8111-111111111111"


def test_ids_come_in_their_canonical_form() -> None:
    assert asked.uuid("project_id", PROJECT.upper()) == PROJECT
    with pytest.raises(ApiError, match="project_id must be a UUID"):
        asked.uuid("project_id", PROJECT + "\n")


@pytest.mark.parametrize(
    "odd", ["1111111_" + PROJECT[8:], "\N{ARABIC-INDIC DIGIT ONE}" + PROJECT[1:], PROJECT.replace("-", "") + "----"]
)
def test_what_python_alone_takes_for_an_id_is_refused(odd: str) -> None:
    assert str(UUID(odd)) != odd
    with pytest.raises(ApiError, match="project_id must be a UUID"):
        asked.uuid("project_id", odd)


def test_the_header_beats_the_parameter() -> None:
    assert asked.stream_cursor(Headers({"Last-Event-ID": "7"}), {"since": "3"}) == 7
    assert asked.stream_cursor(Headers(), {"since": "3"}) == 3
    assert asked.stream_cursor(Headers({"Last-Event-ID": ""}), {"since": "3"}) == 3
    assert asked.stream_cursor(Headers(), {}) is None
    with pytest.raises(ApiError, match="since is wrong"):
        asked.stream_cursor(Headers({"Last-Event-ID": "7"}), {"since": "x"})


@pytest.mark.parametrize(("query", "flag"), [({}, False), ({"snapshot": "0"}, False), ({"snapshot": "1"}, True)])
def test_flags(query: dict[str, str], flag: bool) -> None:
    assert asked.flag(query, "snapshot") is flag


@pytest.mark.parametrize("value", ["", "true", "2", "11"])
def test_other_flags_are_refused(value: str) -> None:
    with pytest.raises(ApiError, match="snapshot must be 1 or 0"):
        asked.flag({"snapshot": value}, "snapshot")


def test_types() -> None:
    assert asked.types({}, KNOWN) is None
    assert asked.types({"types": "c,a_b,c"}, KNOWN) == KNOWN
    with pytest.raises(ApiError, match="types names x; it takes one or more of: a_b, c"):
        asked.types({"types": "c,x"}, KNOWN)
    with pytest.raises(ApiError, match="types names nothing"):
        asked.types({"types": ","}, KNOWN)


@pytest.mark.parametrize(
    ("headers", "query", "token"),
    [
        ({"Authorization": "Bearer a.b.c"}, {}, "a.b.c"),
        ({"Authorization": "bearer  a.b.c "}, {"token": "d"}, "a.b.c"),
        ({}, {"token": "d"}, "d"),
        ({"Authorization": "Bearer a"}, {"ticket": "t"}, "a"),
        ({}, {"ticket": "", "token": "d"}, "d"),
    ],
)
def test_the_first_place_with_a_token_decides(headers: dict[str, str], query: dict[str, str], token: str) -> None:
    assert asked.credential(Headers(headers), query, tickets=True) == Credential(token)


def test_a_ticket_counts_before_a_token_and_for_streams_alone() -> None:
    query = {"token": "d", "ticket": "t"}
    assert asked.credential(Headers(), query, tickets=True) == Credential("t", is_ticket=True)
    assert asked.credential(Headers(), query) == Credential("d")
    with pytest.raises(ApiError, match="Send a Supabase access token"):
        asked.credential(Headers(), {"ticket": "t"})


def test_a_credential_does_not_show_itself() -> None:
    assert "secret" not in repr(Credential("secret"))


@pytest.mark.parametrize(
    ("headers", "query", "code"),
    [
        ({}, {}, "missing_token"),
        ({}, {"token": ""}, "missing_token"),
        ({"Authorization": ""}, {"token": "d"}, "invalid_token"),
        ({"Authorization": "Bearer"}, {"token": "d"}, "invalid_token"),
        ({"Authorization": "Basic eDp5"}, {"token": "d"}, "invalid_token"),
    ],
)
def test_there_is_no_falling_through(headers: dict[str, str], query: dict[str, str], code: str) -> None:
    with pytest.raises(ApiError) as raised:
        asked.credential(Headers(headers), query, tickets=True)
    assert (raised.value.status, raised.value.code) == (401, code)
