"""`rowcast serve` as a process: its start, its streams' farewell, its end."""

import asyncio
import ctypes
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from service.server import ServerError, _unhandled, configuration
from tests.conftest import ROOT, StackFacts, unused_port
from tests.service.conftest import Project, answers, service_environment
from tests.service.connections import Reader, address, stopped_reader
from tests.service.hidden import secrets_in
from tests.service.pages import Page, opened
from tests.service.proxy import faulty_proxy

STOP_SECONDS = 5
"""The contract's: a process that was told to end has ended by then, whatever its streams do."""


@contextmanager
def serving(
    stack: StackFacts, directory: Path, *arguments: str, **environment: str
) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    """A service on a free port, started in ``directory``: its address, process and log."""
    url = f"http://127.0.0.1:{unused_port()}"
    log = directory / "service.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [str(Path(sys.executable).parent / "rowcast"), "serve", "--bind", url.removeprefix("http://"), *arguments],
            env=service_environment(stack) | environment, stdout=output, stderr=output, cwd=directory,
        ) as process,
    ):  # fmt: skip
        try:
            while not answers(f"{url}/readyz"):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield url, process, log
        finally:
            process.kill()


def everything_left(connection: socket.socket) -> bytes:
    """What the kernel still has for a connection whose other end is gone."""
    data = bytearray()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    with suppress(ConnectionResetError):
        while chunk := connection.recv(1 << 16):
            data += chunk
    return bytes(data)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_streams_are_told_before_the_service_ends(
    stack: StackFacts, project: Project, tmp_path: Path, number: signal.Signals
) -> None:
    with serving(stack, tmp_path) as (url, process, log):
        address = f"{url}/api/projects/{project.id}/status"
        async with opened(address, project.headers) as first, opened(address, project.headers) as second:
            for page in (first, second):
                await page.until("connected")
            process.send_signal(number)
            for page in (first, second):
                end = await page.until("stream_end")
                assert end == {"type": "stream_end", "reason": "shutdown", "reconnect": True}
                with pytest.raises(StopAsyncIteration):
                    await page.next()
        assert await asyncio.to_thread(process.wait, STOP_SECONDS) == 0
        assert "Traceback" not in log.read_text()


async def test_a_second_signal_does_not_disturb_the_end(stack: StackFacts, project: Project, tmp_path: Path) -> None:
    with serving(stack, tmp_path) as (url, process, log):
        async with opened(f"{url}/api/projects/{project.id}/status", project.headers) as page:
            await page.until("connected")
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
            await page.until("stream_end", reason="shutdown")
        assert await asyncio.to_thread(process.wait, STOP_SECONDS) == 0
        assert "Traceback" not in log.read_text()


async def test_who_still_waits_to_get_in_is_told_to_come_back(
    stack: StackFacts, project: Project, tmp_path: Path
) -> None:
    """Its question to the database has no answer yet."""
    async with faulty_proxy(stack.supabase_url) as proxy, AsyncExitStack() as stack_:
        starting = serving(stack, tmp_path, SUPABASE_URL=proxy.url)
        url, process, _ = await asyncio.to_thread(starting.__enter__)
        stack_.push_async_callback(asyncio.to_thread, starting.__exit__, None, None, None)
        proxy.flowing.clear()
        async with httpx.AsyncClient(timeout=30) as client:
            path = f"{url}/api/projects/{project.id}/status"
            asking = asyncio.ensure_future(client.get(path, headers=project.headers))
            await asyncio.sleep(0)
            assert (await client.get(f"{url}/livez")).status_code == 200  # which came after it
            process.terminate()
            answer = await asking
        assert (answer.status_code, answer.json()["error"]) == (503, "upstream_unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert await asyncio.to_thread(process.wait, STOP_SECONDS) == 0


async def fill(project: Project, page: Page) -> None:
    """Writes more than the buffers of a connection take, one by one, as ``page``, which reads, shows."""
    for number in range(16):
        project.proposal(f"{number} " + "x" * 800_000)
        await page.until("new_proposal")


async def test_a_reader_that_takes_nothing_does_not_keep_the_service(
    stack: StackFacts, project: Project, tmp_path: Path
) -> None:
    path = f"/api/projects/{project.id}/status"
    with serving(stack, tmp_path) as (url, process, log), stopped_reader(url, path, project.token) as stopped:
        assert await asyncio.to_thread(stopped.recv, 1) == b"H"
        async with opened(f"{url}{path}", project.headers) as page:
            await page.until("connected")
            await fill(project, page)
        process.terminate()
        assert await asyncio.to_thread(process.wait, STOP_SECONDS) == 0
        assert b"stream_end" not in await asyncio.to_thread(everything_left, stopped)
        assert "streams did not end in time streams=1" in log.read_text()
        assert "not everything has ended in time" in log.read_text()
        assert "Traceback" not in log.read_text()


async def test_five_hundred_streams_are_told_and_the_process_ends_in_time(
    stack: StackFacts, project: Project, tmp_path: Path
) -> None:
    """Some read, some have stopped reading and are stuck; those that read are told, and come back spread."""
    (tmp_path / "hypercorn.toml").write_text((ROOT / "hypercorn.toml").read_text())
    loud = project.another()
    with serving(stack, tmp_path) as (url, process, log), ExitStack() as connections:
        path = f"/api/projects/{project.id}/status"
        reading = await asyncio.gather(*(Reader.connected(url, path, project.token) for _ in range(479)))
        for _ in range(20):
            connections.enter_context(stopped_reader(url, f"/api/projects/{loud.id}/status", project.token))
        async with opened(f"{url}/api/projects/{loud.id}/status", project.headers) as page:
            await page.until("connected")
            await fill(loud, page)
            process.terminate()
            assert await asyncio.to_thread(process.wait, STOP_SECONDS) == 0
            await page.until("stream_end", reason="shutdown")
        for rest in await asyncio.gather(*(one.rest() for one in reading)):
            assert '{"type":"stream_end","reason":"shutdown","reconnect":true}' in rest
        waits = {int(line[6:]) for one in reading for line in one.begun.splitlines() if line.startswith("retry:")}
        assert len(waits) > 300
        assert 1000 <= min(waits) < 1200
        assert 2800 < max(waits) <= 3000
        text = log.read_text()
        assert "the service stops streams=500" in text
        assert text.count(" reason=shutdown ") >= 480
        assert "streams did not end in time streams=20" in text
        assert "Traceback" not in text


async def test_a_reader_that_takes_nothing_loses_its_place(stack: StackFacts, project: Project, tmp_path: Path) -> None:
    with serving(stack, tmp_path, ROWCAST_STUCK_SECONDS="1") as (url, _, log):
        reader = stopped_reader(url, f"/api/projects/{project.id}/status", project.token)
        async with (
            opened(f"{url}/api/projects/{project.id}/status", project.headers) as page,
            httpx.AsyncClient() as client,
        ):

            async def streams() -> int:
                text = (await client.get(f"{url}/metrics")).text
                return int(text.partition('rowcast_streams_open{feed="project"} ')[2].partition(".")[0])

            await page.until("connected")
            while await streams() < 2:
                await asyncio.sleep(0.01)
            for number in range(200):
                project.execute(
                    "insert into ingestion_sources (project_id, source_name, source_type) values (%s, %s, 'x')",
                    project.id, f"{number} " + "x" * 50_000,
                )  # fmt: skip
                await page.next()
            while await streams() > 1:
                await asyncio.sleep(0.05)
            project.source("the others go on")
            await page.until("status_update", sourceName="the others go on")
            assert "Traceback" not in log.read_text()
        reader.close()


def test_a_service_without_streams_ends_at_once(stack: StackFacts, tmp_path: Path) -> None:
    with serving(stack, tmp_path) as (url, process, log):
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0
        text = log.read_text()
        assert text.count(f"Running on {url}") == 1
        assert "Traceback" not in text


def test_the_projects_own_configuration_serves(stack: StackFacts, tmp_path: Path) -> None:
    """hypercorn.toml, found in the directory where the service is started, with --bind above it."""
    (tmp_path / "hypercorn.toml").write_text((ROOT / "hypercorn.toml").read_text())
    with serving(stack, tmp_path) as (url, process, log):
        assert httpx.get(f"{url}/livez").status_code == httpx.codes.OK
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0
        assert log.read_text().count("Running on") == 1


ATOMS = "hrRsmUqHbaTfS"
EVERYTHING = " ".join(
    [f"{name}=%({name})s" for name in (*ATOMS, "Uq", "{authorization}i", "{cookie}i", "{supabase_secret_key}e")]
)


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_nothing_that_opens_anything_reaches_a_log(
    stack: StackFacts, project: Project, tmp_path: Path, log_format: str
) -> None:
    """At DEBUG, with an access log that writes all there is, for everything a page may send and get wrong."""
    (tmp_path / "access.toml").write_text(f'accesslog = "-"\nerrorlog = "-"\naccess_log_format = "{EVERYTHING}"\n')
    variables = {
        "ROWCAST_LOG_LEVEL": "debug", "ROWCAST_LOG_FORMAT": log_format, "ROWCAST_ADMIN_TOKEN": "an-operators-" * 4,
    }  # fmt: skip
    with serving(stack, tmp_path, "--config", str(tmp_path / "access.toml"), **variables) as (url, process, log):
        address = f"{url}/api/projects/{project.id}/status"
        async with httpx.AsyncClient() as client:
            issued = await client.post(f"{url}/api/projects/{project.id}/stream-tickets", headers=project.headers)
            ticket = issued.json()["ticket"]
            async with (
                opened(address, token=project.token, since="0") as first,
                opened(address, ticket=ticket) as second,
                opened(address, {**project.headers, "Cookie": "session=a-cookie"}) as third,
            ):
                for page in (first, second, third):
                    await page.until("connected")
            altered = project.token[:-2]
            queries = (f"token={altered}", f"%74oken={altered}", f"ticket={ticket}", f"{altered}=x", "token=a-word")
            for query in queries:
                assert (await client.get(f"{address}?{query}")).is_client_error
            for header in (
                f"Bearer {altered}",
                f"Basic {altered}",
                altered,
                stack.secret_key,
                variables["ROWCAST_ADMIN_TOKEN"],
            ):
                assert (await client.get(address, headers={"Authorization": header})).status_code == 401
            assert (await client.get(f"{url}/{altered}")).status_code == 404
            assert (await client.get(f"{url}/%0d%0aforged%20line%1b[31m")).status_code == 404
            await client.get(f"{url}/api/projects/{project.id}/snapshot?token={project.token}&since=5")
        process.terminate()
        assert await asyncio.to_thread(process.wait, STOP_SECONDS) == 0
    text = log.read_text()
    assert secrets_in(text, service_environment(stack) | variables) == []
    for part in (ticket, *project.token.split(".")[1:], altered, "a-cookie", "a-word"):
        assert part not in text
    assert "\nforged line" not in text
    assert "\x1b" not in text
    assert "q=token=[redacted]&since=5" in text
    assert text.count(f"U=/api/projects/{project.id}/status") >= 10


async def test_an_error_log_of_its_own_is_redacted_too(tmp_path: Path) -> None:
    config = configuration(None, None, 30, ["a-literal-secret"])
    config.errorlog = str(tmp_path / "errors.log")
    config.accesslog = str(tmp_path / "access.log")
    try:
        raise RuntimeError("GET /?token=secret-one 'Authorization': 'Bearer secret-two' a-literal-secret")
    except RuntimeError:
        await config.log.exception("Error in ASGI Framework")
    for own in (config.log.access_logger, config.log.error_logger):
        assert own is not None
        for handler in own.handlers:
            handler.close()
        own.handlers.clear()
    text = (tmp_path / "errors.log").read_text()
    assert "RuntimeError: GET /?token=[redacted]" in text
    assert "secret-" not in text
    assert "literal" not in text.replace('"a-literal-secret"', "")


async def test_who_sends_a_request_too_slowly_is_cut_off_and_a_stream_is_not(
    stack: StackFacts, project: Project, tmp_path: Path
) -> None:
    (tmp_path / "fast.toml").write_text("keep_alive_timeout = 1\n")
    with serving(stack, tmp_path, "--config", str(tmp_path / "fast.toml")) as (url, _, _):
        async with opened(f"{url}/api/projects/{project.id}/status", project.headers) as page:
            await page.until("connected")
            for first in (b"", b"GET /livez HTT", b"GET /livez HTTP/1.1\r\nX-Slow: "):
                reader, writer = await asyncio.open_connection(*address(url))
                writer.write(first)
                with suppress(ConnectionError):
                    while True:
                        writer.write(b"x" if first else b"")  # a byte at a time, which is not silence
                        if await answered(reader):
                            break
                assert await reader.read() in (b"", b"\r\n")
                writer.close()
            project.proposal("the stream is older than any of them")
            await page.until("new_proposal")


async def answered(reader: asyncio.StreamReader) -> bool:
    """Whether the other side has said anything, or closed, in a tenth of a second."""
    with suppress(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
        return True
    return False


def files_of(limits: str, streams: str) -> tuple[str, str]:
    """How many files a process that was started under ``limits`` may open, and what it has logged about that."""
    program = (
        "import logging, resource; from service.server import allow_files; logging.basicConfig(format='%(message)s'); "
        f"allow_files({streams}); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run(
        ["/bin/sh", "-c", f"{limits}; exec '{sys.executable}' -c \"{program}\""],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize(
    ("limits", "streams", "allowed", "told"),
    [
        ("ulimit -Sn 256", "2000", "3000", ""),
        ("ulimit -Sn 5000", "2000", "5000", ""),
        ("ulimit -Sn 256; ulimit -Hn 1500", "2000", "1500", "fewer files may be open than streams need"),
    ],
)
def test_as_many_files_may_be_open_as_streams_need(limits: str, streams: str, allowed: str, told: str) -> None:
    assert files_of(limits, streams) == (allowed, told)


def test_a_configuration_is_read_and_bind_wins(tmp_path: Path) -> None:
    file = tmp_path / "hypercorn.toml"
    file.write_text('bind = ["127.0.0.1:1"]\nbacklog = 4096\n')
    assert configuration(file, None, 30).bind == ["127.0.0.1:1"]
    config = configuration(file, "127.0.0.1:2", 30)
    assert (config.bind, config.backlog) == (["127.0.0.1:2"], 4096)
    assert configuration(None, None, 30).bind == ["127.0.0.1:8000"]
    assert configuration(None, None, 30).alpn_protocols == ["http/1.1"]


def test_lines_to_stderr_go_through_our_logging_and_files_stay_files(tmp_path: Path) -> None:
    assert configuration(None, None, 30).errorlog is logging.getLogger("hypercorn.error")
    file = tmp_path / "hypercorn.toml"
    file.write_text('errorlog = "errors.log"\n')
    assert configuration(file, None, 30).errorlog == "errors.log"


@pytest.mark.parametrize("content", [b"bind = [", b"\xff\xfe", b"just words"])
def test_a_broken_configuration_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "hypercorn.toml"
    file.write_bytes(content)
    with pytest.raises(ServerError, match=r"hypercorn\.toml is no TOML: "):
        configuration(file, None, 30)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("bind = 5", 'bind must be like "127.0.0.1:8000", or a list of such'),
        ("bind = [5]", 'bind must be like "127.0.0.1:8000", or a list of such'),
        ('keep_alive_timeout = "x"', "keep_alive_timeout must be a number"),
        ("backlog = true", "backlog must be a number"),
        ("use_reloader = 1", "use_reloader must be true or false"),
        ("accesslogs = '-'", "accesslogs is no setting of hypercorn's"),
        ("create_sockets = 1", "create_sockets is no setting of hypercorn's"),
        ("workers = 3", "workers must be 1; further processes are further `rowcast serve`"),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "hypercorn.toml"
    file.write_text(f"{line}\n")
    with pytest.raises(ServerError, match=re.escape(f"hypercorn.toml: {told}.")):
        configuration(file, None, 30)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_configuration_that_may_not_be_read_is_an_oserror(tmp_path: Path) -> None:
    file = tmp_path / "hypercorn.toml"
    file.touch(mode=0)
    with pytest.raises(PermissionError):
        configuration(file, None, 30)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc keeps it, and gives it back")
@pytest.mark.parametrize(("seconds", "kept"), [(3600, True), (0.01, False)])
def test_what_long_answers_took_is_given_back(seconds: float, kept: bool) -> None:
    """By itself glibc keeps 63 MiB that stand before a block that is in use: the control."""
    program = f"""
import asyncio
from service.server import give_memory_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

async def main():
    giving_back = asyncio.create_task(give_memory_back({seconds}))
    before = resident()
    long = b"x" * (30 << 20)
    del long
    blocks = [b"x" * (1 << 20) for _ in range(64)]
    last = blocks.pop()
    del blocks
    for _ in range(200):
        await asyncio.sleep(0.01)
        if resident() - before < 32 << 20:
            return False
    return True

print(asyncio.run(main()))
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout == f"{kept}\n"


@pytest.mark.parametrize(
    ("context", "told"),
    [
        ({"exception": asyncio.CancelledError()}, False),
        ({"exception": TimeoutError(), "transport": object()}, False),
        ({"exception": TimeoutError()}, True),
        ({"exception": RuntimeError("a bug")}, True),
        ({}, True),
    ],
)
async def test_what_nobody_has_caught_is_logged_but_for_the_ends_of_connections(
    context: dict[str, object], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    _unhandled(asyncio.get_running_loop(), {"message": "unheard of", **context})
    assert [record.message.partition("\n")[0] for record in caplog.records] == ["unheard of"] * told
