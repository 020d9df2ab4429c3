"""Bills of materials uploaded and commanded over a real socket."""

import asyncio
import json
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from service.streams import boms
from tests.conftest import StackFacts
from tests.service.conftest import ADMIN_TOKEN, Project, add_user

EXAMPLE = Path(__file__).parents[3] / "examples" / "boms" / "hackrf-one-bom.csv"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
SMALL = b"Ref,Qty,MPN\nC1,1,A\nC2,2,\n"


@pytest.fixture
def editor(project: Project) -> Project:
    project.role("editor")
    return project


async def post(url: str, headers: dict[str, str] | None = None, **content: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.post(url, headers=headers, **content)


async def upload(
    service: str, project: Project, data: bytes, name: str = "b.csv", headers: dict[str, str] | None = None, **form: str
) -> httpx.Response:
    url = f"{service}/api/projects/{project.id}/boms"
    return await post(url, headers or project.headers, files={"file": (name, data)}, data=form)


def error(answer: httpx.Response) -> tuple[int, str, str]:
    told = answer.json()
    assert set(told) == {"error", "message"}
    return answer.status_code, told["error"], told["message"]


async def test_a_bill_of_materials_is_uploaded_as_it_is(service: str, editor: Project) -> None:
    answer = await upload(service, editor, EXAMPLE.read_bytes(), EXAMPLE.name)
    assert answer.status_code == 201
    told = answer.json()
    assert told == {
        "bom_id": told["bom_id"], "total_items": 157,
        "columns": {"reference": "Reference", "quantity": "Quantity", "mpn": "MPN", "manufacturer": "Manufacturer",
                    "description": "Description"},
    }  # fmt: skip
    row = editor.database.execute(
        "select b.filename, b.source, b.status, count(i.id), count(i.mpn), sum(i.quantity) from boms b "
        "join bom_line_items i on i.bom_id = b.id where b.id = %s group by b.id", [told["bom_id"]],
    ).fetchone()  # fmt: skip
    assert row is not None
    assert row[:5] == ("hackrf-one-bom.csv", "customer", "idle", 157, 82)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "b.csv: The file is empty."),
        (b"hello\nworld\n", "b.csv: This is no table of parts"),
        (b'Ref,MPN\nC1,A\nC2,"B\n', "b.csv: line 3: A quotation mark is opened here and never closed."),
        (b"Ref,MPN\nC1,A,,x\n", "b.csv: line 2: It has 4 cells, the header 2"),
        (b"PK\x03\x04...", "b.csv: This is an Excel"),
    ],
)
async def test_what_is_none_is_refused_whole_with_line_and_reason(
    service: str, editor: Project, data: bytes, message: str
) -> None:
    status, code, said = error(await upload(service, editor, data))
    assert (status, code) == (400, "bad_request")
    assert said.startswith(message)
    row = editor.database.execute("select count(*) from boms where project_id = %s", [editor.id]).fetchone()
    assert row == (0,)


def announced(service: str, project: Project, size: int) -> tuple[int, str, str]:
    """The answer to an upload of which only the size is known yet."""
    connection = HTTPConnection(service.removeprefix("http://"))
    connection.putrequest("POST", f"/api/projects/{project.id}/boms")
    headers = {**project.headers, "Content-Length": str(size), "Content-Type": "multipart/form-data; boundary=x"}
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    return answer.status, told["error"], told["message"]


async def test_what_is_over_the_limit_is_refused(service: str, editor: Project) -> None:
    too_large = (413, "bad_request", "The file is over the limit of 10 MiB.")
    big = b"Ref,MPN\n".ljust(boms.UPLOAD_BYTES + 1, b"x")
    assert error(await upload(service, editor, big)) == too_large
    assert await asyncio.to_thread(announced, service, editor, 2 * boms.UPLOAD_BYTES) == too_large
    lines = b"Ref,MPN\n" + b"C1,A\n" * 20_001
    status, code, said = error(await upload(service, editor, lines))
    assert (status, code) == (400, "bad_request")
    assert "line 20002: A bill of materials may have 20,000 lines" in said


async def test_twenty_thousand_lines_are_taken(service: str, editor: Project) -> None:
    lines = b"Ref,MPN,Description\n" + b"C1,GRM155R71C104KA88D,Capacitor of some sort\n" * 20_000
    answer = await upload(service, editor, lines)
    assert (answer.status_code, answer.json()["total_items"]) == (201, 20_000)


async def test_other_requests_may_not_be_that_long(service: str, editor: Project) -> None:
    url = f"{service}/api/boms/{uuid4()}/enrichment/start"
    assert (await post(url, editor.headers, content=b" " * 100_000)).status_code in (404, 413)
    url = f"{service}/api/boms/{editor.bom('a')}/enrichment/start"
    assert (await post(url, editor.headers, content=b" " * 100_000)).status_code == 413


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"json": {}},
        {"data": {"file": "no file"}},
        {"files": [("a", ("a.csv", SMALL)), ("b", ("b.csv", SMALL))]},
        {"files": [("file", ("a.csv", SMALL)), ("file", ("b.csv", SMALL))]},
    ],
)
async def test_an_upload_is_one_file(service: str, editor: Project, content: dict[str, Any]) -> None:
    answer = await post(f"{service}/api/projects/{editor.id}/boms", editor.headers, **content)
    assert error(answer) == (400, "bad_request", "Send one file, as multipart/form-data.")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("C:\\\\boards\\\\rev 2.csv", "rev 2.csv"),
        ("../../x.csv", "x.csv"),
        ("x" * 300, "x" * 200),
        ("Größe.csv", "Größe.csv"),
    ],
)
async def test_a_file_keeps_its_name_and_loses_its_path(service: str, editor: Project, sent: str, kept: str) -> None:
    answer = await upload(service, editor, SMALL, sent.replace("\\\\", "\\"))
    row = editor.database.execute("select filename from boms where id = %s", [answer.json()["bom_id"]]).fetchone()
    assert row == (kept,)


async def test_only_editors_and_owners_upload_and_command(service: str, project: Project, stack: StackFacts) -> None:
    bom = project.bom("a")
    urls = [f"{service}/api/boms/{bom}/enrichment/{what}" for what in ("start", "pause", "resume", "stop")]

    async def statuses(headers: dict[str, str] | None) -> list[int]:
        uploaded = await post(f"{service}/api/projects/{project.id}/boms", headers, files={"file": ("b.csv", SMALL)})
        return [uploaded.status_code, *[(await post(url, headers)).status_code for url in urls]]

    stranger = {"Authorization": f"Bearer {add_user(project.database, stack)[1]}"}
    assert await statuses(None) == [401] * 5
    assert await statuses(stranger) == [404] * 5
    assert await statuses(project.headers) == [403] * 5
    assert error(await post(urls[0], project.headers)) == (
        403, "forbidden", "This takes the role editor or owner in the project; yours is viewer.",
    )  # fmt: skip
    project.role("editor")
    assert await statuses(project.headers) == [201, 202, 200, 200, 200]
    project.role("owner")
    assert await statuses(project.headers) == [201, 202, 200, 200, 200]
    assert await statuses(ADMIN) == [201, 202, 200, 200, 200]


async def test_a_staff_bom_is_an_operator_s(service: str, editor: Project) -> None:
    status, code, _ = error(await upload(service, editor, SMALL, source="staff"))
    assert (status, code) == (403, "forbidden")
    assert error(await upload(service, editor, SMALL, source="mine"))[2] == "source must be customer or staff."
    answer = await upload(service, editor, SMALL, headers=ADMIN, source="staff")
    assert answer.status_code == 201
    bom = answer.json()["bom_id"]
    assert (await post(f"{service}/api/boms/{bom}/enrichment/start", editor.headers)).status_code == 404
    assert (await post(f"{service}/api/boms/{bom}/enrichment/start", ADMIN)).status_code == 202


async def test_an_upload_into_no_project_is_not_found(service: str, editor: Project) -> None:
    for headers in (editor.headers, ADMIN):
        answer = await post(f"{service}/api/projects/{uuid4()}/boms", headers, files={"file": ("b.csv", SMALL)})
        assert error(answer)[:2] == (404, "not_found")


async def test_a_run_is_started_paused_resumed_and_stopped(service: str, editor: Project) -> None:
    bom = (await upload(service, editor, SMALL)).json()["bom_id"]
    row = editor.database.execute("select organization_id from projects where id = %s", [editor.id]).fetchone()
    assert row is not None
    body = {"organization_id": str(row[0]), "project_id": editor.id, "priority": 7}
    url = f"{service}/api/boms/{bom}/enrichment"
    answer = await post(f"{url}/start", editor.headers, json=body)
    assert answer.status_code == 202
    told = answer.json()
    assert told == {
        "success": True, "bom_id": bom, "workflow_id": f"bom-enrichment-{bom}", "run_id": told["run_id"],
        "status": "enriching",
    }  # fmt: skip
    job = editor.database.execute("select priority, created_by::text, status from jobs where id = %s", [told["run_id"]])
    assert job.fetchone() == (7, editor.user_id, "queued")
    again = await post(f"{url}/start", editor.headers, json=body)
    assert error(again) == (409, "conflict", "An enrichment of this BOM is under way already.")
    for command, status in (("pause", "paused"), ("pause", "paused"), ("resume", "enriching"), ("stop", "stopped")):
        done = await post(f"{url}/{command}", editor.headers)
        assert done.json() == {"success": True, "bom_id": bom, "status": status}
    for command in ("pause", "resume"):
        assert error(await post(f"{url}/{command}", editor.headers)) == (
            409, "conflict", f"There is nothing to {command}: the enrichment is stopped.",
        )  # fmt: skip
    assert (await post(f"{url}/start", editor.headers)).status_code == 202, "and again"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "The body must be a JSON object {organization_id, project_id, priority}."),
        ({"priority": 0}, "priority must be a whole number from 1 to 9."),
        ({"priority": 10}, "priority must be"),
        ({"priority": "5"}, "priority must be"),
        ({"priority": True}, "priority must be"),
        ({"project_id": "7"}, "project_id must be a UUID"),
        ({"project_id": str(uuid4())}, "project_id is not the BOM's."),
        ({"organization_id": str(uuid4())}, "organization_id is not the BOM's."),
        ([], "The body must be a JSON object"),
    ],
)
async def test_a_start_that_can_not_be_meant_is_refused(
    service: str, editor: Project, body: object, message: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await post(f"{service}/api/boms/{editor.bom('a')}/enrichment/start", editor.headers, content=content)
    status, code, said = error(answer)
    assert (status, code) == (400, "bad_request")
    assert said.startswith(message)


@pytest.mark.parametrize("what", ["launch", "start/now"])
async def test_there_are_no_other_commands(service: str, editor: Project, what: str) -> None:
    answer = await post(f"{service}/api/boms/{editor.bom('a')}/enrichment/{what}", editor.headers)
    assert error(answer)[:2] == (404, "not_found")
