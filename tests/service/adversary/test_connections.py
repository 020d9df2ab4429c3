"""Ten thousand connections from one address, clients that never read, clients that hardly send: all are contained."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import StackFacts
from tests.service.adversary.witness import undisturbed
from tests.service.conftest import Project, served_beside, service_environment
from tests.service.connections import address, request, stopped_reader
from tests.service.test_metrics import samples
from tests.service.test_server import serving

CONNECTS = 10_000
AT_ONCE = 250
PER_ADDRESS = 100
PER_MINUTE = 6000


@asynccontextmanager
async def limited(stack: StackFacts) -> AsyncIterator[str]:
    environment = service_environment(stack) | {
        "ROWCAST_STREAMS_PER_ADDRESS": str(PER_ADDRESS), "ROWCAST_TRUSTED_PROXIES": "127.0.0.1",
        "ROWCAST_REQUESTS_PER_MINUTE": str(PER_MINUTE),
    }  # fmt: skip
    async with served_beside(environment) as url:
        yield url


async def metrics(url: str) -> dict[str, float]:
    async with httpx.AsyncClient() as client:
        return samples((await client.get(f"{url}/metrics")).text)


@pytest.mark.timeout(400)
async def test_ten_thousand_connects_from_one_address(stack: StackFacts, project: Project) -> None:
    """As many streams as the address may have open, and for the rest a 429 that says when to come back."""
    answers: Counter[tuple[int, str]] = Counter()
    async with limited(stack) as url, undisturbed(url, project), AsyncExitStack() as open_streams:
        places = asyncio.Semaphore(AT_ONCE)

        async def connect() -> None:
            async with places:
                reader, writer = await asyncio.open_connection(*address(url))
                writer.write(request(f"/api/projects/{project.id}/status", project.token))
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                status = int(head[9:12])
                if status == 200:
                    open_streams.callback(writer.close)
                    answers[status, ""] += 1
                    return
                assert "retry-after: " in head.lower()
                length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
                answers[status, json.loads(await reader.readexactly(length))["error"]] += 1
                writer.close()

        await asyncio.gather(*(connect() for _ in range(CONNECTS)))
        counted = await metrics(url)
        assert answers.keys() <= {(200, ""), (429, "too_many_streams"), (429, "rate_limited")}
        assert answers[200, ""] == PER_ADDRESS
        assert answers.total() == CONNECTS
        assert counted['rowcast_streams_open{feed="project"}'] == PER_ADDRESS + 1
        assert counted['rowcast_limits_reached_total{limit="address"}'] == answers[429, "too_many_streams"]
        assert counted.get('rowcast_limits_reached_total{limit="requests"}', 0) == answers[429, "rate_limited"]


async def test_thousands_who_connect_and_say_nothing(stack: StackFacts, project: Project, tmp_path: Path) -> None:
    """They are cut off after a while, and meanwhile a stream runs and another opens."""
    (tmp_path / "fast.toml").write_text("keep_alive_timeout = 2\nbacklog = 4096\n")
    variables = {"ROWCAST_TRUSTED_PROXIES": "127.0.0.1"}
    with serving(stack, tmp_path, "--config", str(tmp_path / "fast.toml"), **variables) as (url, _, _):
        async with undisturbed(url, project), AsyncExitStack() as silent:
            readers = []
            for _ in range(3000):
                reader, writer = await asyncio.open_connection(*address(url))
                silent.callback(writer.close)
                readers.append(reader)
            project.proposal("while they are silent")
            assert set(await asyncio.gather(*(ended(reader) for reader in readers))) == {b""}


async def ended(reader: asyncio.StreamReader) -> bytes:
    with suppress(ConnectionError):
        return await reader.read()
    return b""


async def test_clients_that_never_read(stack: StackFacts, project: Project, tmp_path: Path) -> None:
    """Twenty of them, of the same project: each loses its place, and the witness gets every one of large changes."""
    variables = {"ROWCAST_TRUSTED_PROXIES": "127.0.0.1", "ROWCAST_STUCK_SECONDS": "1"}
    with serving(stack, tmp_path, **variables) as (url, _, log):
        async with undisturbed(url, project) as page, AsyncExitStack() as stuck:
            for _ in range(20):
                stuck.callback(stopped_reader(url, f"/api/projects/{project.id}/status", project.token).close)
            while (await metrics(url))['rowcast_streams_open{feed="project"}'] < 21:
                await asyncio.sleep(0.02)
            for number in range(150):
                proposal = project.proposal(f"{number} " + "x" * 100_000)
                await page.until("new_proposal", proposalId=proposal)
            while (await metrics(url))['rowcast_streams_open{feed="project"}'] > 1:
                await asyncio.sleep(0.05)
        assert "Traceback" not in log.read_text()


async def test_clients_that_send_a_byte_at_a_time(stack: StackFacts, project: Project, tmp_path: Path) -> None:
    """A hundred of each kind: none is let go on, none has a place, and nobody else notices."""
    (tmp_path / "fast.toml").write_text("keep_alive_timeout = 2\n")

    def post(length: str) -> bytes:
        return request(f"/api/projects/{project.id}/stream-tickets", "x.y.z", length).replace(b"GET", b"POST", 1)

    beginnings = [
        b"GET /livez HTTP/1.1\r\nX-Slow: ",
        b"GET /api/projects/",
        post("Content-Length: 1000"),
        post("Transfer-Encoding: chunked") + b"fff\r\n",
    ]
    variables = {"ROWCAST_TRUSTED_PROXIES": "127.0.0.1"}
    with serving(stack, tmp_path, "--config", str(tmp_path / "fast.toml"), **variables) as (url, _, _):

        async def drip(begun: bytes) -> bytes:
            reader, writer = await asyncio.open_connection(*address(url))
            answer = asyncio.ensure_future(ended(reader))
            writer.write(begun)
            while not answer.done():
                writer.write(b"x")
                await asyncio.wait([answer], timeout=0.25)
            writer.close()
            return answer.result()

        async with undisturbed(url, project):
            answers = await asyncio.gather(*(drip(begun) for begun in beginnings * 100))
            assert {answer[:12] for answer in answers} <= {b"", b"HTTP/1.1 401", b"HTTP/1.1 400"}
            assert (await metrics(url))['rowcast_streams_open{feed="project"}'] == 1


async def test_a_body_without_end_is_not_kept(service: str, project: Project) -> None:
    """Fifty megabytes to each door, of which none wants any."""
    async with undisturbed(service, project):
        before = (await metrics(service))["process_resident_memory_bytes"]
        for path in ("status", "stream-tickets", "boms", "nothing"):
            reader, writer = await asyncio.open_connection(*address(service))
            head = request(
                f"/api/projects/{project.id}/{path}", "x.y.z", "Transfer-Encoding: chunked", "Connection: close"
            )
            writer.write(head.replace(b"GET", b"POST", 1))
            chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
            with suppress(ConnectionError):
                for _ in range(800):
                    writer.write(chunk)
                    await writer.drain()
                writer.write(b"0\r\n\r\n")
            answer = await ended(reader)
            writer.close()
            assert answer[:12] in (b"", b"HTTP/1.1 401", b"HTTP/1.1 404", b"HTTP/1.1 405", b"HTTP/1.1 413")
            assert (await metrics(service))["process_resident_memory_bytes"] < before + (40 << 20)
