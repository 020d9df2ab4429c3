"""The feed of one's own that docs/feeds.md shows, as it stands there, on a stack of its own."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import ROOT, StackFacts, running_devstack, unused_port
from tests.service.conftest import Project, add_user, answers, service_environment
from tests.service.pages import opened

DOCUMENT = (ROOT / "docs" / "feeds.md").read_text()
TABLE = """
    create table public.comments (
        id uuid primary key default gen_random_uuid(), project_id uuid not null references public.projects,
        author text not null, body text not null, created_at timestamptz not null default now());
"""
SERVICE = """
import sys
sys.path.insert(0, {folder!r})
from comments import CommentsFeed
from service import cli, pipeline
from service.streams import opening
from service.streams.sse import ROUTES, Route
pipeline.FEEDS["comments"] = CommentsFeed()
ROUTES.append({route})
cli.main()
"""


def code(language: str, start: str) -> str:
    """The one block that begins like this."""
    (block,) = (each for each in re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL) if each.startswith(start))
    return str(block)


SQL, FEED, ROUTE = code("sql", "select rowcast.track"), code("python", "from service"), code("python", "Route(")


def test_it_takes_at_most_forty_lines() -> None:
    lines = [line for line in (SQL + FEED + ROUTE).splitlines() if line.strip()]
    assert len(lines) <= 40


@pytest.fixture
def stack(scratch: Path) -> Iterator[StackFacts]:
    """A devstack whose migrations end with the documented one."""
    project = scratch / "own-feed"
    shutil.copytree(ROOT / "supabase", project / "supabase")
    migration = project / "supabase" / "migrations" / "20990101000000_comments.sql"
    migration.write_text(TABLE + SQL)
    with running_devstack(scratch / "own-feed-data", f"--project={project}") as facts:
        yield facts


@pytest.fixture
def service(stack: StackFacts, tmp_path: Path) -> Iterator[str]:
    (tmp_path / "comments.py").write_text(FEED)
    program = SERVICE.format(folder=str(tmp_path), route=ROUTE.strip())
    url = f"http://127.0.0.1:{unused_port()}"
    arguments = [sys.executable, "-c", program, "serve", "--bind", url.removeprefix("http://")]
    environment = {**service_environment(stack), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(arguments, env=environment, stderr=log) as process:
        try:
            while not answers(f"{url}/readyz"):
                log.seek(0)
                assert process.poll() is None, log.read()
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()


@pytest.fixture
def project(stack: StackFacts) -> Iterator[Project]:
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        user_id, token = add_user(database, stack)
        row = database.execute("select id::text from projects").fetchone()
        assert row is not None
        database.execute("insert into project_members (project_id, user_id) values (%s, %s)", [row[0], user_id])
        yield Project(str(row[0]), token, user_id, database)


async def test_a_feed_of_one_s_own_has_all_that_feeds_have(service: str, project: Project) -> None:
    url = f"{service}/api/projects/{project.id}/comments"
    insert = "insert into comments (project_id, author, body) values (%s, 'Ada', %s) returning id::text"

    def write(body: str) -> str:
        row = project.database.execute(insert, [project.id, body]).fetchone()
        assert row is not None
        return str(row[0])

    old = write("before")
    async with opened(url, project.headers, snapshot="1") as page:
        assert (await page.next())["key"] == project.id
        snapshot = await page.next()
        assert [comment["body"] for comment in snapshot["comments"]] == ["before"]
        new = write("now")
        told = await page.next()
        assert told == {"type": "comment", "id": new, "author": "Ada", "body": "now", "createdAt": told["createdAt"]}
    project.execute("delete from comments where id = %s", old)
    project.execute("update comments set body = 'then' where id = %s", new)
    async with opened(url, {**project.headers, "Last-Event-ID": str(page.ids[-1])}) as again:
        assert (await again.next())["resumed"] is True
        assert await again.next() == {"type": "comment_deleted", "id": old}
        assert (await again.next())["body"] == "then"
