"""Who comes in where row level security alone says who may read what."""

import time

import httpx
import pytest

from service.access.readers import Readers
from service.access.rest import Rest
from service.access.tokens import Principal
from service.errors import ApiError, DatabaseUnavailable, Refused
from service.tables import mapped

PROJECT = "11111111-1111-4111-8111-111111111111"
ANNE = Principal("anne", time.time() + 60, "a-token")
TABLES = mapped({"jobs": {"table": "tasks", "columns": {"id": "task_id"}}})


class Asked:
    """A database that gives every table the same answer."""

    def __init__(self, status: int = 200, code: str = "") -> None:
        self.urls: list[str] = []
        self._status, self._code = status, code

    def readers(self) -> Readers:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        return Readers(Rest(client, "http://db", "sb_publishable_x"), time.monotonic, TABLES)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == f"Bearer {ANNE.token}"
        self.urls.append(f"{request.url.path}?{request.url.query.decode()}")
        return httpx.Response(self._status, json=[] if self._status == 200 else {"code": self._code, "message": "no"})


async def test_whoever_the_database_lets_read_comes_in_and_is_in_no_organization() -> None:
    asked = Asked()
    membership = await asked.readers().require(ANNE, PROJECT)
    assert (membership.project_id, membership.organization_id) == (PROJECT, None)
    assert sorted(asked.urls) == [
        "/rest/v1/ingestion_sources?select=id&limit=0",
        "/rest/v1/proposed_nodes?select=id&limit=0",
        "/rest/v1/tasks?select=task_id&limit=0",
    ]


async def test_nobody_has_a_role() -> None:
    assert await Asked().readers().role(ANNE, PROJECT) is None


@pytest.mark.parametrize(
    ("status", "code", "error", "told"),
    [
        (401, "PGRST301", ApiError, "does not accept the access token"),
        (403, "42501", ApiError, "does not let this user read"),
        (404, "PGRST205", Refused, "HTTP 404"),
        (503, "", DatabaseUnavailable, "HTTP 503"),
    ],
)
async def test_what_the_database_says_instead(status: int, code: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told) as raised:
        await Asked(status, code).readers().require(ANNE, PROJECT)
    if isinstance(raised.value, ApiError):
        assert raised.value.status == status
