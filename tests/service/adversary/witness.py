"""A viewer who has done nothing, and is to notice nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.service.conftest import Project
from tests.service.pages import Page, opened

ELSEWHERE = {"X-Forwarded-For": "203.0.113.77"}
"""Where the witness comes from, told by a proxy that the service trusts."""


@asynccontextmanager
async def undisturbed(service: str, project: Project) -> AsyncIterator[Page]:
    """A stream that is open the whole time, gets each change once and in order, and goes on afterwards.

    Another of the same user can be opened at the end.
    """
    address = f"{service}/api/projects/{project.id}/status"
    headers = {**project.headers, **ELSEWHERE}
    async with opened(address, headers) as page:
        await page.until("connected")
        first = project.proposal("before")
        yield page
        last = project.proposal("after")
        await page.until("new_proposal", proposalId=last)
        told = [message["proposalId"] for message in page.messages if message["type"] == "new_proposal"]
        assert (told[0], told[-1]) == (first, last)
        assert len(set(told)) == len(told)
        assert "stream_end" not in page.types
        assert page.ids == sorted(set(page.ids))
    async with opened(address, headers) as another:
        await another.until("connected")
