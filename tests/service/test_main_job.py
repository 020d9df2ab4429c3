"""The main job, end to end: a worker ingests somebody's documents, and pages that watch see all of it."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from service.watch import State
from tests.conftest import StackFacts
from tests.service.conftest import Project
from tests.service.pages import Page, opened

ROOT = Path(__file__).parents[2]
TYPES = {"connected", "status_update", "progress_update", "job_update", "new_proposal"}


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of other people: what the Node packages of the tests say about themselves, and one broken file."""
    folder = tmp_path_factory.mktemp("documents")
    for number, readme in enumerate(sorted((ROOT / "devstack/node_modules").rglob("README.md"))[:12]):
        (folder / f"{number}.md").write_bytes(readme.read_bytes())
    (folder / "broken.md").write_bytes(b"\x00\x01\x02" * 100)
    return folder


async def ingest(documents: Path, project: Project, stack: StackFacts) -> asyncio.subprocess.Process:
    """`rowcast ingest` in a process of its own, as a user runs it."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.cli", "ingest", str(documents), "--project", project.id,
        env={"PATH": os.environ["PATH"], "SUPABASE_URL": stack.supabase_url, "SUPABASE_SECRET_KEY": stack.secret_key},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def ended(process: asyncio.subprocess.Process) -> str:
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


def rows(project: Project, table: str, columns: str) -> set[Any]:
    return set(project.database.execute(f"select {columns} from {table} where project_id = %s", [project.id]))  # type: ignore[arg-type]


def agrees(state: State, project: Project) -> bool:
    """The reduced state equals the tables."""
    return (
        {(row["sourceId"], row["status"], row["errorMessage"]) for row in state.sources.values()}
        == rows(project, "ingestion_sources", "id::text, status, error_message")
        and {(row["jobId"], row["status"], row["progress"]["current"]) for row in state.jobs.values()}
        == rows(project, "jobs", "id::text, status, progress_current")
        and {(row["proposalId"], row["title"], row["confidence"]) for row in state.proposals.values()}
        == rows(project, "proposed_nodes", "id::text, title, confidence")
    )


async def test_a_page_sees_the_whole_of_an_ingestion(
    service: str, project: Project, stack: StackFacts, documents: Path
) -> None:
    state = State()
    async with opened(f"{service}/api/projects/{project.id}/status", project.headers) as page:
        await page.until("connected")
        worker = await ingest(documents, project, stack)
        await page.until("job_update", status="completed")
        assert "12 ingested, 1 failed" in await ended(worker)
        for message in page.messages:
            state.apply(message)
        assert set(page.types) == TYPES
        assert page.ids == sorted(set(page.ids))
        assert agrees(state, project)
        assert [source["status"] for source in state.sources.values()].count("failed") == 1
        [job] = state.jobs.values()
        assert job["progress"]["stage"] == "complete"
        assert job["progress"]["percent"] == 100.0


async def test_a_page_cut_again_and_again_misses_nothing(
    service: str, project: Project, stack: StackFacts, documents: Path
) -> None:
    """It reads a few messages, breaks the connection, and comes back with its last id until the job is done."""
    state = State()
    url = f"{service}/api/projects/{project.id}/status"
    async with opened(url, project.headers) as page:
        await page.until("connected")
    ids = list(page.ids)
    worker = await ingest(documents, project, stack)
    done = False
    while not done:
        async with opened(url, {**project.headers, "Last-Event-ID": str(ids[-1])}) as page:
            done = await read_some(page, state)
        new = [id_ for id_ in page.ids if id_ != ids[-1]]
        assert new == sorted(set(new))
        assert all(id_ > ids[-1] for id_ in new)
        ids += new
    await ended(worker)
    assert agrees(state, project)


async def read_some(page: Page, state: State, messages: int = 7) -> bool:
    """Applies up to so many messages; True once the job has ended."""
    for _ in range(messages):
        message = await page.next()
        state.apply(message)
        if message["type"] == "job_update" and message["status"] == "completed":
            return True
    return False
