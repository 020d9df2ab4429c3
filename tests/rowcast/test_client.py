import asyncio
import threading

import pytest

import rowcast
from rowcast.errors import ConfigError, NotRunningError

PROJECT = "b1c7c8ab-5c0a-4a1e-9d3e-000000000001"
KEY = "sb_secret_test"


def writer_threads():
    return [thread for thread in threading.enumerate() if thread.name == "rowcast-writer"]


def test_connect_reads_the_environment(server, monkeypatch):
    monkeypatch.setenv("SUPABASE_URL", server.url)
    monkeypatch.setenv("SUPABASE_SECRET_KEY", KEY)
    with rowcast.connect() as client, client.job(PROJECT, kind="test", title="A test") as job:
        pass
    assert server.row("jobs", job.id)["status"] == "completed"


def test_connect_says_what_is_missing(monkeypatch):
    for name in ("SUPABASE_URL", "SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="SUPABASE_URL"):
        rowcast.connect()


@pytest.mark.parametrize("option", [{"interval": -1}, {"lease": 1}, {"lease": 2.5}, {"deadline": 0}])
def test_an_option_out_of_range_is_refused_by_name(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        rowcast.connect("http://127.0.0.1:1", KEY, **option)


def test_a_connection_makes_no_request_by_itself_and_leaves_no_thread(server, connect):
    with connect():
        assert writer_threads()
    assert not writer_threads()
    assert server.requests == 0


async def test_so_does_an_async_one(server, connect):
    async with connect():
        assert writer_threads()
    assert not writer_threads()


def test_a_connection_is_used_once(connect):
    connection = connect()
    with connection:
        pass
    with pytest.raises(NotRunningError, match="a connection is used once"), connection:
        pass


def test_a_call_is_made_until_it_is_answered(server, connect):
    server.faults.extend([503, "drop", "drop after"])
    with connect() as client:
        assert client.call("job_heartbeat", job_id="nobody") is None
    assert server.requests == 4


async def test_a_call_that_is_refused_says_so(server, connect):
    server.always["rpc/claim_job"] = (400, {"code": "22023", "message": "kinds: must name at least one kind of job"})
    async with connect() as client:
        with pytest.raises(rowcast.RequestError, match="kinds: must name"):
            await client.claim("ingestion")


async def test_a_call_that_nobody_waits_for_any_more_is_given_up(server, connect):
    server.always["rpc/claim_job"] = 503
    async with connect() as client:
        waiting = asyncio.create_task(client.claim("ingestion"))
        await asyncio.to_thread(server.wait, lambda: server.requests > 0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        del server.always["rpc/claim_job"]
        assert await client.call("job_heartbeat", job_id="nobody") is None
    assert [path for _, path, _ in server.writes] == ["rpc/job_heartbeat"]


def test_a_kind_without_a_name_is_refused_before_any_request(server, connect):
    with connect() as client, pytest.raises(ValueError, match="kind must not be empty"):
        client.claim(" ")
    assert server.requests == 0


def test_a_job_left_open_is_given_up_with_its_connection(connect):
    with connect() as client:
        job = client.job(PROJECT, kind="test", title="A test")
        job.__enter__()
    with pytest.raises(NotRunningError, match="the connection was closed before"):
        job.advance()
    with pytest.raises(NotRunningError, match="the connection was closed before"):
        job.__exit__(None, None, None)


def test_a_bad_project_is_refused_before_any_request(connect):
    with connect() as client, pytest.raises(ValueError, match="project_id must be a UUID"):
        client.job("my project", kind="test", title="A test")
