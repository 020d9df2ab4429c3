"""What doctor says of a database without a change log, where the real one of tests/service/test_mode.py is well."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from aiohttp import web

from service.doctor_direct import examine_direct
from service.findings import Finding, Level
from service.settings import Settings


@asynccontextmanager
async def supabase(columns: set[str], *, shows: bool) -> AsyncIterator[str]:
    """A REST interface whose tables have these columns, and show a row to anybody or not; there is no Realtime."""

    async def table(request: web.Request) -> web.Response:
        asked = request.query.get("select", "id").split(",")
        if missing := [name for name in asked if name not in columns]:
            return web.json_response({"code": "42703", "message": f"column {missing[0]} does not exist"}, status=400)
        return web.json_response([{"id": 1}] if shows and "select" not in request.query else [])

    app = web.Application()
    app.router.add_get("/rest/v1/{table}", table)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def found(url: str) -> dict[str, Finding]:
    keys = {"SUPABASE_SECRET_KEY": "sb_secret_x", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x"}
    settings = Settings.from_environment({"SUPABASE_URL": url, **keys})
    async with httpx.AsyncClient() as client:
        return {finding.about: finding async for finding in examine_direct(client, settings)}


LEAST = {"id", "project_id", "created_at", "title", "status", "source_name"}


async def test_tables_that_anybody_reads_and_a_realtime_that_is_not_there_are_warned_of() -> None:
    async with supabase(LEAST, shows=True) as url:
        findings = await found(url)
    assert {about: finding.level for about, finding in findings.items()} == {
        "change log": Level.WARN, "tables": Level.OK, "row level security": Level.WARN, "Realtime": Level.WARN,
    }  # fmt: skip
    assert findings["row level security"].seen.endswith("reads: ingestion_sources, jobs, proposed_nodes")
    assert "can't connect" in findings["Realtime"].seen
    assert "up to 30 s late" in findings["Realtime"].advice


async def test_a_column_that_is_missing_ends_the_examination() -> None:
    async with supabase(LEAST - {"source_name"}, shows=False) as url:
        findings = await found(url)
    assert list(findings) == ["change log", "tables"]
    assert findings["tables"].level is Level.FAIL
    assert "has no column source_name" in findings["tables"].seen
    assert "supabase db push" in findings["tables"].advice
