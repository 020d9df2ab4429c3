"""The programs that docs/workers.md shows, as they stand there, against a real server."""

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest

import rowcast

PROJECT = "b1c7c8ab-5c0a-4a1e-9d3e-000000000001"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()


def shown(heading: str) -> str:
    """The first program below a heading."""
    below = DOCUMENT[DOCUMENT.index(f"## {heading}\n") :]
    return re.search(r"```python\n(.*?)```", below, re.DOTALL).group(1)


@pytest.fixture(autouse=True)
def environment(server, monkeypatch):
    monkeypatch.setenv("SUPABASE_URL", server.url)
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_test")


def only_job(server):
    (row,) = server.tables["jobs"].values()
    return row


def test_the_plain_script(server):
    names = {
        "__name__": "__main__", "upload": len,
        "arguments": [PROJECT, [{"figures": [1, 2]}, {"figures": [3]}], ["abc", "de"]],
    }  # fmt: skip
    exec(shown("In a plain script"), names)
    row = only_job(server)
    stages = row["pipeline"]["stages"]
    assert (row["status"], row["pipeline"]["metrics"]["bytes_uploaded"]) == ("completed", 5)
    assert {name: stage["processed"] for name, stage in stages.items()} == {
        "rendering": 2,
        "uploading": 2,
        "figures": 3,
    }
    assert stages["figures"]["parent"] == "rendering"


async def test_the_async_program(server):
    async def read(document):
        return document, [("Lease", "how long a job counts as alive")]

    code = shown("In async code").replace("asyncio.run(main(project_id, documents))", "")
    names = {"read": read}
    exec(code, names)
    await names["main"](PROJECT, [SimpleNamespace(name="a.md", url="https://example.com/a.md")])
    assert only_job(server)["status"] == "completed"
    (source,) = server.tables["ingestion_sources"].values()
    assert (source["source_name"], source["status"]) == ("a.md", "completed")
    (node,) = server.tables["proposed_nodes"].values()
    assert (node["title"], node["source_id"]) == ("Lease", source["id"])


def test_the_celery_task_goes_on_where_an_earlier_attempt_was(server):
    rendered = []
    names = {"render_page": rendered.append, "__name__": "reports"}
    exec(shown("In a Celery task"), names)
    names["app"].conf.task_always_eager = True
    job_id = str(uuid4())
    row = {
        "id": job_id, "project_id": PROJECT, "kind": "report", "title": "Yearly report", "status": "running",
        "payload": {"pages": 5}, "attempt": 2, "checkpoint": 3, "pipeline": None, "source_id": None,
    }  # fmt: skip
    server.tables["jobs"] = {job_id: dict(row)}
    server.always["rpc/claim_job"] = (200, {"claim": str(uuid4()), "job": row})
    server.always["rpc/end_job"] = lambda: ended.append(True) or (200, {"status": "completed"})
    ended = []
    assert names["report"].delay(job_id).get() is None
    assert (rendered, ended) == ([3, 4], [True])
    told = only_job(server)
    assert (told["checkpoint"], told["progress_current"], told["progress_total"]) == (5, 5, 5)
    server.always["rpc/claim_job"] = (200, None)
    names["report"].delay(job_id).get()
    assert rendered == [3, 4]


def test_what_the_tables_name_is_there():
    methods = set(re.findall(r"`job\.(\w+)", DOCUMENT))
    names = set(re.findall(r"`rowcast\.(\w+)\(", DOCUMENT))
    assert len(methods) > 15
    assert not {name for name in methods if not hasattr(rowcast.Job, name)} - {"id", "row"}
    assert not {name for name in names if not hasattr(rowcast, name)}
    assert inspect.iscoroutinefunction(rowcast.AsyncJob.flush)
