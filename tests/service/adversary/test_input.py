"""What data, headers and parameters may try: to become part of the protocol, or of the answer."""

import asyncio
import json
from contextlib import suppress
from urllib.parse import quote

import httpx
import pytest

from tests.service.adversary.witness import undisturbed
from tests.service.conftest import Project
from tests.service.connections import Reader, address
from tests.service.pages import opened

INJECTIONS = [
    "\n", "\r", "\r\n", "\n\n", "\r\n\r\n", '\n\ndata: {"type":"stream_end"}\n\n', "\nid: 1\n", "\nevent: error\n",
    "\nretry: 1\n", "\r\nX-Injected: 1\r\n\r\n", ": comment\n", "data: data: ", "\u2028\u2029\x85", "\ufeff", "\x1b[2J",
    "</script><script>alert(1)</script>", '"}]}\n\n', "\\n\\n", "\ud7ff\ue000\U0010ffff", "\x7f\x01\x08",
]  # fmt: skip


@pytest.mark.parametrize(
    "query", [{}, {"events": "named"}, {"types": "job_update,status_update,new_proposal,progress_update"}]
)
async def test_text_from_the_database_stays_text(service: str, project: Project, query: dict[str, str]) -> None:
    """In every field that a worker or a user may fill, live, in a snapshot, and replayed."""
    address = f"{service}/api/projects/{project.id}/status"
    fields = {"title": "job_update", "kind": "job_update", "error_message": "job_update",
              "progress_stage": "progress_update", "progress_message": "progress_update"}  # fmt: skip
    sent = [f"x{text}y" for text in INJECTIONS]
    async with opened(address, project.headers, **query) as page:
        await page.until("connected")
        for text in sent:
            project.job(text, **{name: text for name in fields if name not in ("title", "kind")})
            project.source(text)
            project.proposal(text)
            told = [await page.next() for _ in range(4)]
            assert sorted(each["type"] for each in told) == [
                "job_update", "new_proposal", "progress_update", "status_update",
            ]  # fmt: skip
            by_type = {each["type"]: each for each in told}
            assert by_type["job_update"]["title"] == by_type["job_update"]["errorMessage"] == text
            assert by_type["progress_update"]["progress"]["stage"] == text
            assert by_type["progress_update"]["progress"]["message"] == text
            assert by_type["status_update"]["sourceName"] == by_type["new_proposal"]["title"] == text
        assert set(page.names) <= {"message", *page.types}
    first = str(page.ids[0])
    async with opened(address, {**project.headers, "Last-Event-ID": first}, **query) as again:
        while sum(message["type"] == "new_proposal" for message in again.messages) < len(sent):
            await again.next()
        assert [each["title"] for each in again.messages if each["type"] == "new_proposal"] == sent
    async with opened(address, project.headers, snapshot="1", **query) as anew:
        snapshot = await anew.until("snapshot")
        assert sorted(row["title"] for row in snapshot["jobs"]) == sorted(sent)
        assert sorted(row["sourceName"] for row in snapshot["sources"]) == sorted(sent)


SMUGGLED = [
    b"Last-Event-ID: 5\nX-Injected: 1", b"Last-Event-ID: 5\rX-Injected: 1", b"Last-Event-ID: 5\x00",
    b"Last-Event-ID : 5", b"Last Event ID: 5", b": 5", b"Last-Event-ID",
    b"Origin: http://localhost:3000\r\n X-Injected: 1",
    b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: -1", b"Content-Length: 5x",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"Transfer-Encoding: gzip", b"Host: y", b"\xff\xfe: 1",
]  # fmt: skip


@pytest.mark.parametrize("line", SMUGGLED)
async def test_a_head_that_is_none_is_refused_or_means_nothing(service: str, project: Project, line: bytes) -> None:
    async with undisturbed(service, project):
        reader, writer = await asyncio.open_connection(*address(service))
        writer.write(
            b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n12345GET /injected HTTP/1.1\r\n\r\n"
            % line
        )
        answer = b""
        with suppress(ConnectionResetError):
            answer = await reader.read()
        writer.close()
        assert answer.count(b"HTTP/1.1 ") <= 1
        assert b"njected" not in answer
        assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 501", b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000\r\nX-Injected: 1", "http://localhost:3000%0d%0aX-Injected: 1"]
)
async def test_what_a_request_says_does_not_come_back_as_a_header(service: str, project: Project, origin: str) -> None:
    reader, writer = await asyncio.open_connection(*address(service))
    path = f"/api/projects/{project.id}/status?types=%0d%0aX-Injected:%201&since=%0d%0aX-Injected:%201"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n".encode())
    head = (await reader.read()).partition(b"\r\n\r\n")[0]
    writer.close()
    assert b"HTTP/1.1 400" in head
    assert b"njected" not in head


CURSORS = [
    " ", "x", "-1", "+1", "1 ", " 1", "1\t", "0x10", "1e5", "1.0", "1,0", "1_000", "1'000", "--1", "-0", "\u0661\u0662",
    "\uff11", "\u00b2", "NaN", "Infinity", "null", "true", "[]", "{}", "1;2", "1.2", "1/2", "1%00", "\0", "1\n",
    "9" * 16, "9" * 17, "9" * 5000, str(2**53), str(2**53 + 1), str(2**63), str(2**64), "1" + "0" * 308, "eq.1", "$1",
    "1) or (1=1", "%31", "00000000-0000-4000-8000-000000000002", "latest", "-9223372036854775808", "0" * 17,
]  # fmt: skip
"""No cursors."""
RESETS = ["0", "1", "0000000000000005", "007", str(2**53 - 1), "9007199254740990"]
"""Cursors, but none that this database has given."""


@pytest.mark.parametrize("path", ["status", "snapshot"])
async def test_what_is_no_cursor_is_refused(service: str, project: Project, path: str) -> None:
    url = f"{service}/api/projects/{project.id}/{path}"
    async with httpx.AsyncClient(timeout=30) as client, undisturbed(service, project):
        for text in CURSORS:
            answers = [await client.get(f"{url}?since={quote(text)}", headers=project.headers)]
            if path == "status" and text.strip() == text and text.isprintable():
                headers = {**project.headers, "Last-Event-ID": text.encode()}
                answers.append(await client.get(url, headers=headers))
                answers.append(await client.get(f"{url}?since=5", headers=headers))  # the header decides
            for answer in answers:
                assert (answer.status_code, answer.json()["error"]) == (400, "bad_request"), text
                assert len(answer.text) < 300


@pytest.mark.parametrize("text", RESETS)
async def test_a_cursor_of_elsewhere_is_a_reset(service: str, project: Project, text: str) -> None:
    async with undisturbed(service, project):
        reader = await Reader.connected(
            service, f"/api/projects/{project.id}/status", project.token, f"Last-Event-ID: {text}"
        )
        told = ""
        while '"type":"snapshot"' not in told:
            told += (await reader.reader.readuntil(b"\n")).decode()
        reader.close()
        types = [json.loads(line[6:])["type"] for line in told.splitlines() if line.startswith("data: ")]
        assert types == ["reset", "snapshot"]


PARAMETERS = [
    "snapshot=2", "snapshot=", "snapshot=true", "events=", "events=all", "events=NAMED", "types=",
    "types=,", "types=x", "types=job_update;x", "types=connected", "types=__class__", "types=" + "x," * 5000,
    "types=" + "job_update," * 1000 + "x", "types=%00", "types[]=job_update&types=",
]  # fmt: skip


async def test_what_is_no_parameter_is_refused_and_told_in_short(service: str, project: Project) -> None:
    url = f"{service}/api/projects/{project.id}/status"
    async with httpx.AsyncClient(timeout=30) as client, undisturbed(service, project):
        for query in PARAMETERS:
            answer = await client.get(f"{url}?{query}", headers=project.headers)
            assert (answer.status_code, answer.json()["error"]) == (400, "bad_request"), query
            assert len(answer.text) < 500
