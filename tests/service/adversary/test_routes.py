"""Every route there is, asked for other people's things. A new route needs a decision here."""

from collections import Counter
from uuid import uuid4

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from tests.conftest import StackFacts
from tests.service.adversary.witness import undisturbed
from tests.service.conftest import ADMIN_TOKEN, Project, add_user, service_environment

OPEN = {
    ("GET", "/livez"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/api/enrichment/health"),
    ("GET", "/openapi.json"), ("GET", "/asyncapi.json"), ("GET", "/docs"),
}  # fmt: skip
"""Whoever asks gets an answer. Nothing of any project is in it."""

OF_A_PROJECT = {
    ("GET", "/api/projects/<project_id>/status"),
    ("GET", "/api/projects/<project_id>/snapshot"),
    ("POST", "/api/projects/<project_id>/stream-tickets"),
    ("POST", "/api/projects/<project_id>/boms"),
    ("GET", "/api/status?projects=<project_id>"),
    ("POST", "/api/stream-tickets?projects=<project_id>"),
}
OF_A_BOM = {
    ("GET", "/api/enrichment/stream/<bom_id>"),
    ("GET", "/api/enrichment/stream?boms=<bom_id>"),
    ("GET", "/api/enrichment/state/<bom_id>"),
    ("GET", "/api/enrichment/events/<bom_id>"),
    ("POST", "/api/boms/<bom_id>/enrichment/start"),
    ("POST", "/api/boms/<bom_id>/enrichment/<any(pause, resume, stop):command>"),
}
CLOSED = OF_A_PROJECT | OF_A_BOM
ELSEWHERE = {
    ("GET", "/api/v1/admin/ingestion/jobs/<job_id>/progress"),
    ("GET", "/api/v1/admin/ingestion/jobs/progress"),
    ("POST", "/api/jobs/<job_id>/<any(cancel, retry):command>"),
    ("PATCH", "/api/proposals/<proposal_id>"),
}
"""Closed too; their own tests ask them for what is others': they refuse in words of their own, or name other rows."""
FOR_OPERATORS = OF_A_BOM | {("POST", "/api/projects/<project_id>/boms")}
"""What the operator's token opens too: what is about bills of materials."""


def test_every_route_is_decided_upon(stack: StackFacts) -> None:
    app = create_app(Settings.from_environment(service_environment(stack)))
    there = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or ()) - {"HEAD", "OPTIONS"}
    }
    assert there == {(method, path.partition("?")[0]) for method, path in OPEN | CLOSED | ELSEWHERE}


def address(service: str, path: str, key: str, query: str = "") -> str:
    if "?" in path:
        query = query.replace("?", "&")
    for name in ("<project_id>", "<bom_id>"):
        path = path.replace(name, key)
    return service + path.replace("<any(pause, resume, stop):command>", "stop") + query


async def ask(client: httpx.AsyncClient, method: str, url: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    """The answer, of a stream the head alone."""
    async with client.stream(method, url, headers=headers) as answer:
        if answer.headers["Content-Type"].startswith("text/event-stream"):
            return answer.status_code, {}
        await answer.aread()
        return answer.status_code, answer.json()


@pytest.mark.parametrize(("method", "path"), sorted(CLOSED))
async def test_what_is_anothers_looks_like_what_is_not_there(
    service: str, stack: StackFacts, project: Project, method: str, path: str
) -> None:
    """Staff's too, for a member; and the ids of one kind in the place of another."""
    _, stranger = add_user(project.database, stack)
    of_bom = (method, path) in OF_A_BOM
    key = project.bom("a") if of_bom else project.id
    foreign = [key, project.id if of_bom else project.bom("b")]
    headers = {"Authorization": f"Bearer {stranger}"}
    async with httpx.AsyncClient(timeout=30) as client, undisturbed(service, project):
        nowhere = await ask(client, method, address(service, path, str(uuid4())), headers)
        assert nowhere[0] == 404
        for each in foreign:
            assert await ask(client, method, address(service, path, each), headers) == nowhere
            assert await ask(client, method, address(service, path, each.upper()), headers) == nowhere
        if of_bom:
            staff = project.bom("c", source="staff")
            assert await ask(client, method, address(service, path, staff), project.headers) == nowhere
        for nobody in ({}, {"Authorization": "Bearer x.y.z"}):
            assert (await ask(client, method, address(service, path, key), nobody))[0] == 401


ODD_IDS = [
    "x", "1", "-1", "0" * 36, "null", "undefined", "%00", "%0d%0aX-Injected:%201", "*", "{id}%00", "{id}%20", "{id}%0a",
    "%20{id}", "{id},{id}", "{id}%2c{id}", "eq.{id}", "{id}&or=(id.neq.x)", "{id})", "%7b{id}%7d", "urn:uuid:{id}",
    "{id}'--", "..%2f{id}", "%2e%2e", "{short}", "{id}0", "\u0661" * 36, "x" * 8000,
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), sorted(CLOSED))
async def test_an_odd_id_is_refused(service: str, project: Project, method: str, path: str) -> None:
    counts: Counter[int] = Counter()
    async with httpx.AsyncClient(timeout=30) as client, undisturbed(service, project):
        for odd in ODD_IDS:
            if "?" in path and "&" in odd:
                continue  # the end of the id, there
            text = odd.format(id=project.id, short=project.id.replace("-", ""))
            status, body = await ask(client, method, address(service, path, text), project.headers)
            assert (status, body["error"]) in {(400, "bad_request"), (404, "not_found")}, odd
            assert "Injected" not in str(body)
            counts[status] += 1
    assert counts[400] >= 20


@pytest.mark.parametrize(("method", "path"), sorted(CLOSED))
async def test_the_operators_token_opens_what_is_for_operators(
    service: str, project: Project, method: str, path: str
) -> None:
    key = project.bom("a") if (method, path) in OF_A_BOM else project.id
    async with httpx.AsyncClient(timeout=30) as client:
        for headers, query in (({"Authorization": f"Bearer {ADMIN_TOKEN}"}, ""), ({}, f"?token={ADMIN_TOKEN}")):
            status, _ = await ask(client, method, address(service, path, key, query), headers)
            assert (status == 401) == ((method, path) not in FOR_OPERATORS)
        for wrong in (ADMIN_TOKEN[:-1], ADMIN_TOKEN + "x", ADMIN_TOKEN.upper()):
            status, _ = await ask(client, method, address(service, path, key), {"Authorization": f"Bearer {wrong}"})
            assert status == 401


@pytest.mark.parametrize(("method", "path"), sorted(OPEN))
async def test_what_is_open_tells_nothing_of_any_project(
    service: str, project: Project, method: str, path: str
) -> None:
    async with httpx.AsyncClient() as client, undisturbed(service, project):
        answer = await client.request(method, service + path)
    assert answer.status_code == 200
    for secret in (project.id, project.user_id, project.token, stack_secret(project)):
        assert secret not in answer.text


def stack_secret(project: Project) -> str:
    """The name of the organization, which is in no answer at all."""
    found = project.database.execute("select organization_id::text from projects where id = %s", [project.id])
    return str(found.fetchall()[0][0])


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "FOO", "get"])
async def test_other_methods_are_refused(service: str, project: Project, method: str) -> None:
    path = f"/api/projects/{project.id}/{'stream-tickets' if method == 'get' else 'status'}"
    async with httpx.AsyncClient() as client:
        answer = await client.request(method, service + path, headers=project.headers)
    assert (answer.status_code, answer.json()["error"]) == (405, "bad_request")


async def test_a_websocket_from_elsewhere_is_refused(service: str, project: Project) -> None:
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": "http://evil.example",
    }  # fmt: skip
    async with undisturbed(service, project):
        for path in (f"/api/projects/{project.id}/status", "/livez", "/api/ws/", "/api/ws"):
            async with httpx.AsyncClient() as client:
                answer = await client.get(service + path, headers={**project.headers, **upgrade})
            refusal = (403, "forbidden") if path == "/api/ws" else (400, "bad_request")
            assert (answer.status_code, answer.json()["error"]) == refusal
