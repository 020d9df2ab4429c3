from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from rowcast.config import Config
from rowcast.state import Delivered, Refused, Unreachable, Write
from rowcast.transport import Rest, read_answer, retry_after

WRITE = Write("rows", "POST", "jobs", {}, "[]", "the job", 10.0)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def answer(status, body=None, **headers):
    return read_answer(httpx.Response(status, json=body, headers=headers), WRITE)


def test_json_that_comes_back_is_the_answer():
    assert answer(201, [{"id": "1"}]) == Delivered([{"id": "1"}])
    assert read_answer(httpx.Response(200, content=b"null"), WRITE) == Delivered(None)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 522])
def test_what_may_get_better_is_tried_again(status):
    assert isinstance(answer(status, {"message": "busy"}), Unreachable)


def test_an_error_page_of_a_proxy_is_tried_again_too():
    outcome = read_answer(httpx.Response(502, text="<html>Bad Gateway</html>"), WRITE)
    assert outcome == Unreachable("HTTP 502 Bad Gateway", None)


@pytest.mark.parametrize("status", [400, 404, 405, 409, 413, 422, 301])
def test_what_the_caller_got_wrong_is_refused(status):
    outcome = answer(status, {"code": "23503", "message": "violates foreign key", "details": "no such project"})
    assert isinstance(outcome, Refused)
    assert (outcome.error.status, outcome.error.code) == (status, "23503")
    assert str(outcome.error) == f"the job was refused with HTTP {status}: violates foreign key (no such project)"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_so(status):
    assert "is this the secret key of this project?" in str(answer(status, {"message": "Invalid API key"}).error)


def test_a_missing_table_asks_for_the_migrations():
    outcome = answer(404, {"code": "PGRST205", "message": "Could not find the table"})
    assert "are rowcast's migrations applied" in str(outcome.error)


@pytest.mark.parametrize(
    "told",
    [
        'PostgresError: new row for relation "jobs" violates check constraint "jobs_priority_check"',
        "PostgresError: there is no job b1c7c8ab-5c0a-4a1e-9d3e-000000000001",
        "PostgresError: status: a stopped job can't become completed",
    ],
)
def test_some_answers_of_500_are_refusals_all_the_same(told):
    assert isinstance(answer(500, {"code": "SUP", "message": told}), Refused)


def test_a_web_page_where_json_was_asked_for_is_a_wrong_address():
    outcome = read_answer(httpx.Response(200, text="<html>Welcome</html>"), WRITE)
    assert isinstance(outcome, Refused)
    assert "is the address a Supabase project's?" in str(outcome.error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        (" 0 ", 0.0),
        ("86400", 20.0),
        ("Thu, 01 Jan 2026 00:00:07 GMT", 7.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("Thu, 99 Jan 2026 00:00:07 GMT", None),
        ("Thu, 01 Jan 2026 00:00:07", None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value, seconds):
    assert retry_after(value, NOW) == seconds


def test_a_busy_server_s_own_word_on_when_to_come_back_is_kept():
    assert answer(429, {"message": "slow down"}, **{"Retry-After": "2"}) == Unreachable("HTTP 429 slow down", 2.0)


def test_what_cannot_be_sent_is_refused_and_ends_no_others():
    rest = Rest(Config("http://127.0.0.1:1", "key"))
    for write in (replace(WRITE, body="\ud800"), replace(WRITE, path="rpc/\0")):
        outcome = rest.send(write)
        assert isinstance(outcome, Refused)
        assert "the job can't be sent: " in str(outcome.error)
    rest.close()
