"""A real ingest run, watched on the pipeline stream: what it tells agrees with the rows."""

import asyncio
import json
from pathlib import Path
from uuid import UUID

import httpx
import httpx_sse

import rowcast
from tests.conftest import StackFacts
from tests.service.conftest import Project
from workers.ingest import ingest


async def test_the_stream_of_a_run_agrees_with_the_rows(
    service: str, project: Project, stack: StackFacts, tmp_path: Path
) -> None:
    for number in range(6):
        (tmp_path / f"{number}.md").write_text(f"# Chapter {number}\n\n**Lease {number}**: how long a job is alive.\n")
    (tmp_path / "broken.md").write_bytes(b"\x00\x01\x02" * 100)
    told = []

    async def run() -> UUID:
        async with rowcast.connect(stack.supabase_url, stack.secret_key, interval=0.05) as client:
            report = await ingest([tmp_path], UUID(project.id), client=client)
        assert report.job_id is not None
        return report.job_id

    async with (
        httpx.AsyncClient(timeout=30) as client,
        httpx_sse.aconnect_sse(
            client, "GET", f"{service}/api/v1/admin/ingestion/jobs/progress", headers=project.headers,
            params={"project_id": project.id},
        ) as source,
        asyncio.TaskGroup() as group,
    ):  # fmt: skip
        running = group.create_task(run())
        async for event in source.aiter_sse():
            if event.event == "complete":
                break
            if event.data:
                told.append(json.loads(event.data))
    last = told[-1]
    assert last["job_id"] == str(running.result())
    assert last["overall_progress_percent"] == 100.0
    percents = [each["overall_progress_percent"] for each in told]
    assert percents == sorted(percents)

    (files, failed, nodes), row = (
        project.database.execute(
            "select (select count(*) from ingestion_sources where project_id = %(id)s),"
            " (select count(*) from ingestion_sources where project_id = %(id)s and status = 'failed'),"
            " (select count(*) from proposed_nodes where project_id = %(id)s)",
            {"id": project.id},
        ).fetchone(),
        project.database.execute("select pipeline, started_at, finished_at from jobs where project_id = %s",
                                 [project.id]).fetchone(),
    )  # fmt: skip
    pipeline, started_at, finished_at = row
    stages = {name: (stage["processed"], stage["total"], stage["status"]) for name, stage in last["stages"].items()}
    assert (files, failed) == (7, 1)
    assert stages["parsing"] == (files, files, "completed")
    assert stages["chunking"] == (files - failed, files - failed, "completed")
    assert stages["proposing"] == (nodes, nodes, "completed")
    assert last["metrics"]["entities_total"] == nodes
    assert last["worker_pool"] == pipeline["worker_pool"]
    assert (last["worker_pool"]["max"], len(last["worker_pool"]["workers"])) == (4, 4)
    timing = last["timing"]
    assert timing["estimated_remaining_ms"] == 0
    assert timing["started_at"] <= started_at.timestamp()
    assert timing["elapsed_ms"] / 1000 <= finished_at.timestamp() - timing["started_at"] + 0.01  # it was told before
    assert [line["message"].split(":")[0] for line in last["log"]] == [f"{tmp_path.name}/broken.md"]
