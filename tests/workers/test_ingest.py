"""Ingestion on the real stack: a made-up folder with everything odd that folders have."""

import asyncio
import json
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import rowcast
from tests.workers.pdfs import encrypted, pdf
from workers.ingest import NothingToRead, ingest, work
from workers.payload import BadPayload


@pytest.fixture
def environment(stack, monkeypatch):
    monkeypatch.setenv("SUPABASE_URL", stack.supabase_url)
    monkeypatch.setenv("SUPABASE_SECRET_KEY", stack.secret_key)


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "docs"
    (root / "deep").mkdir(parents=True)
    (root / "guide.md").write_text("# Change log\n\n**Lease**: how long a job counts as alive.\n")
    (root / "deep" / "page.html").write_bytes("<h1>Größe</h1><p>Schöne Wörter.".encode("cp1252"))
    (root / "manual.rst").write_text("Heartbeats\n==========\n\nThey renew the lease.\n")
    (root / "notes.txt").write_text("Just a note about a lease.\n")
    (root / "empty.md").touch()
    (root / "huge.txt").write_text("x" * 20_001)
    (root / "binary.md").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00")
    (root / "mixed.txt").write_bytes("schöne Größe".encode() + b" \xe9")
    (root / "code.md").write_text("```\nonly code\n```\n")
    (root / ".hidden.md").write_text("hidden")
    (root / "picture.png").write_bytes(b"\x89PNG")
    (root / "paper.pdf").write_bytes(pdf([], [(20, 700, "Receipts"), (11, 670, "A receipt is a proof of payment.")]))
    (root / "secret.pdf").write_bytes(encrypted(pdf([(11, 700, "Hush.")]), "password"))
    (root / "loop").symlink_to(root)
    (root / "caf\udce9.txt").write_text("A name that is no UTF-8.\n")
    return root


async def test_every_file_has_its_outcome_and_the_rest_goes_on(environment, folder, project, database_connection):
    heard = []
    report = await ingest([folder], project, on_report=heard.append, size_limit=20_000)
    outcomes = {file.name.removeprefix("docs/"): (file.outcome, file.reason) for file in report.files}
    assert outcomes == {
        "guide.md": ("ingested", None), "deep/page.html": ("ingested", None), "manual.rst": ("ingested", None),
        "notes.txt": ("ingested", None), "caf\udce9.txt": ("ingested", None), "empty.md": ("failed", "empty"),
        "huge.txt": ("failed", "too_large"), "binary.md": ("failed", "binary"), "mixed.txt": ("failed", "encoding"),
        "code.md": ("failed", "no_text"),
        "paper.pdf": ("ingested", None), "secret.pdf": ("failed", "encrypted"), ".hidden.md": ("skipped", "hidden"),
        "picture.png": ("skipped", "unsupported"), "loop": ("skipped", "link"),
    }  # fmt: skip
    assert heard == list(report.files)
    assert (report.count("ingested"), report.count("failed"), report.count("skipped")) == (6, 6, 3)

    rows = database_connection.execute(
        "select source_name, source_type, status, error_message, id from ingestion_sources where project_id = %s",
        [project],
    ).fetchall()
    told = {file.source_id: file for file in report.files if file.source_id is not None}
    assert len(rows) == len(told) == 12
    for row in rows:
        file = told[row["id"]]
        assert (row["status"], row["error_message"]) == (
            ("completed", None) if file.outcome == "ingested" else ("failed", file.message)
        )
    assert "docs/caf?.txt" in {row["source_name"] for row in rows}


async def test_the_job_tells_its_stages_with_real_counts(environment, folder, project, database_connection):
    def wait_for_stage(stage):
        """Holds up the run, not the SDK's thread, until the row says so."""
        sql = "select progress_stage, progress_total from jobs where project_id = %s"
        ends = time.monotonic() + 20
        while (told := database_connection.execute(sql, [project]).fetchone())["progress_stage"] != stage:
            assert time.monotonic() < ends, told
        totals.append((stage, told["progress_total"]))

    def heard(file):
        if file.reason == "binary":
            wait_for_stage("parsing")
        elif file.outcome == "ingested" and len(totals) == 1:
            wait_for_stage("proposing")

    totals = []
    async with rowcast.connect(interval=0) as client:
        report = await ingest([folder], project, client=client, on_report=heard, size_limit=20_000)
    assert totals == [("parsing", 12), ("proposing", report.proposals)]
    job = database_connection.execute("select * from jobs where id = %s", [report.job_id]).fetchone()
    assert (job["kind"], job["title"], job["status"]) == ("ingestion", "Ingesting docs (12 files)", "completed")
    images = database_connection.execute(
        "select row from feed_changes where row_id = %s order by revision", [str(report.job_id)]
    ).fetchall()
    seen = list(dict.fromkeys((image["row"]["progress_stage"], image["row"]["progress_total"]) for image in images))
    order = ["parsing", "chunking", "extraction", "proposing", "complete"]
    stages = [stage for stage, _ in seen if stage is not None]
    assert stages == [stage for stage in order if stage in stages]
    assert seen[-1] == ("complete", report.proposals)
    told = job["pipeline"]
    chunks = sum(file.chunks for file in report.files)
    assert {name: (stage["status"], stage["processed"]) for name, stage in told["stages"].items()} == {
        "parsing": ("completed", 12), "chunking": ("completed", 6), "extraction": ("completed", chunks),
        "proposing": ("completed", report.proposals),
    }  # fmt: skip
    assert (told["metrics"]["entities_total"], told["worker_pool"]["max"]) == (report.proposals, 4)
    assert told["overall_progress_percent"] == 100
    assert told["timing"]["started_at"] <= job["started_at"].timestamp() <= job["finished_at"].timestamp()
    assert sorted(line["message"].split(":")[0] for line in told["log"]) == sorted(
        file.name for file in report.files if file.outcome == "failed"
    )
    percents = [image["row"]["pipeline"]["overall_progress_percent"] for image in images if image["row"]["pipeline"]]
    assert percents == sorted(percents)


async def test_proposals_say_what_was_found_and_where(environment, folder, project, database_connection):
    report = await ingest([folder], project, size_limit=20_000)
    rows = database_connection.execute(
        "select p.*, s.source_name from proposed_nodes p join ingestion_sources s on s.id = p.source_id"
        " where p.job_id = %s", [report.job_id],
    ).fetchall()  # fmt: skip
    assert len(rows) == report.proposals
    nodes = {row["title"]: row for row in rows}
    lease = nodes["Lease"]
    assert lease["source_name"] == "docs/guide.md"
    assert lease["body"] == (
        "how long a job counts as alive.\n\n"
        "Found as a definition in docs/guide.md, line 3, under \u201cChange log\u201d. Also in 2 other documents."
    )
    assert 0.6 < lease["confidence"] < 1
    assert {"Change log", "Größe", "Heartbeats"} <= nodes.keys()
    receipt = nodes["Receipts"]
    assert (receipt["source_name"], receipt["body"].split("\n\n")[1]) == (
        "docs/paper.pdf", "Found as a heading in docs/paper.pdf, page 2.",
    )  # fmt: skip


async def test_two_runs_propose_the_same(environment, folder, project, database_connection):
    reports = [await ingest([folder], project) for _ in range(2)]
    sql = "select title, body, confidence from proposed_nodes where job_id = %s order by title, body"
    first, second = (database_connection.execute(sql, [report.job_id]).fetchall() for report in reports)
    assert first == second
    assert first


async def test_nothing_to_read_makes_no_job(environment, tmp_path, project, database_connection):
    (tmp_path / "picture.png").touch()
    report = await ingest([tmp_path, tmp_path / "nowhere"], project)
    assert report.job_id is None
    assert [file.reason for file in report.files] == ["unsupported", "missing"]
    sql = "select count(*) as number from jobs where project_id = %s"
    assert database_connection.execute(sql, [project]).fetchone()["number"] == 0


async def test_an_unknown_project_is_refused(environment, folder):
    with pytest.raises(rowcast.RequestError, match="is not present in table"):
        await ingest([folder], uuid4())


async def test_a_run_that_is_cancelled_leaves_no_source_processing(environment, folder, project, database_connection):
    def heard(file):
        if file.outcome == "failed":
            failed.set()

    failed = asyncio.Event()
    running = asyncio.create_task(ingest([folder], project, on_report=heard))
    await failed.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    sql = "select status from {} where project_id = %s"
    statuses = {row["status"] for row in database_connection.execute(sql.format("ingestion_sources"), [project])}
    assert statuses == {"failed"}
    assert [row["status"] for row in database_connection.execute(sql.format("jobs"), [project])] == ["stopped"]


async def test_a_parser_that_trips_over_one_file_fails_that_one_alone(environment, folder, project, monkeypatch):
    from workers import ingest as module

    def trip(file, size_limit):
        if file.name == "docs/notes.txt":
            raise RecursionError("too deep")
        return read(file, size_limit)

    read = module.read
    monkeypatch.setattr(module, "read", trip)
    report = await ingest([folder], project)
    (failed,) = [file for file in report.files if file.reason == "error"]
    assert (failed.name, failed.message) == ("docs/notes.txt", "RecursionError: too deep")
    assert report.count("ingested") == 6


async def test_a_size_limit_that_allows_nothing_is_refused(project, folder):
    with pytest.raises(ValueError, match="size_limit must be at least 1 byte"):
        await ingest([folder], project, size_limit=0)


@pytest.fixture
def queued(project, database_connection):
    """Queues an ingestion with this payload and gives its id; what is in the queue already is another test's."""

    def queue(payload: object) -> UUID:
        sql = "insert into jobs (project_id, kind, title, payload) values (%s, 'ingestion', 'Queued', %s) returning id"
        return database_connection.execute(sql, [project, json.dumps(payload)]).fetchone()["id"]

    return queue


async def claimed(client, job_id):
    job = await client.claim("ingestion", job_id=job_id)
    assert job is not None
    return job


async def test_a_queued_ingestion_is_done_below_the_root(environment, folder, queued, database_connection):
    job_id = queued({"paths": ["guide.md", "deep"]})
    async with rowcast.connect() as client:
        report = await work(await claimed(client, job_id), folder)
    assert {file.name: file.outcome for file in report.files} == {"guide.md": "ingested", "deep/page.html": "ingested"}
    sql = "select status, progress_stage, attempt from jobs where id = %s"
    assert database_connection.execute(sql, [job_id]).fetchone() == {
        "status": "completed", "progress_stage": "complete", "attempt": 1,
    }  # fmt: skip


async def test_a_run_that_failed_is_tried_again_by_a_worker(
    environment, folder, project, database_connection, monkeypatch
):
    def trip(*_):
        raise MemoryError

    monkeypatch.chdir(folder)
    with monkeypatch.context() as tripping:
        tripping.setattr("workers.ingest.chunk", trip)
        with pytest.raises(MemoryError):
            await ingest([Path("guide.md"), Path("deep")], project)
    (job,) = database_connection.execute("select * from jobs where project_id = %s", [project]).fetchall()
    assert (job["status"], job["payload"]) == ("failed", {"paths": [f"{folder}/guide.md", f"{folder}/deep"]})
    database_connection.execute("select retry_job(%s)", [job["id"]])
    async with rowcast.connect() as client:
        report = await work(await claimed(client, job["id"]), folder)
    assert report.count("ingested") == 2
    sql = "select status, attempt, error_message from jobs where id = %s"
    assert database_connection.execute(sql, [job["id"]]).fetchone() == {
        "status": "completed", "attempt": 2, "error_message": None,
    }  # fmt: skip


async def test_another_attempt_goes_on_behind_the_last_file_that_was_done(
    environment, folder, queued, database_connection
):
    (folder / "other").mkdir()
    for name in ("guide.md", "notes.txt"):  # an earlier file's name
        (folder / "other" / name).write_bytes((folder / name).read_bytes())
    files = ["guide.md", "other/guide.md", "notes.txt", "other/notes.txt"]
    job_id = queued({"paths": files})
    done, last = ((folder / name).resolve().as_uri() for name in ("other/guide.md", "other/notes.txt"))
    sql = "update jobs set checkpoint = %s where id = %s"
    database_connection.execute(sql, [json.dumps(done), job_id])
    async with rowcast.connect() as client:
        report = await work(await claimed(client, job_id), folder)
    assert [file.path for file in report.files] == [(folder / name).resolve() for name in files[2:]]
    sql = "select status, checkpoint from jobs where id = %s"
    assert database_connection.execute(sql, [job_id]).fetchone() == {"status": "completed", "checkpoint": last}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (None, "BadPayload: payload must be like"),
        ({"paths": ["../x"]}, "BadPayload: paths[0] is outside the folder that this worker reads: '../x'"),
        ({"paths": ["nowhere"]}, "NothingToRead: nowhere: There is nothing at this path."),
        ({"paths": ["picture.png"]}, "NothingToRead: picture.png: Files of type .png can't be read"),
        ({"paths": ["nothing"]}, "NothingToRead: The folders are empty."),
    ],
)
async def test_a_job_that_can_not_be_done_fails_and_says_why(
    environment, folder, queued, database_connection, payload, message
):
    (folder / "nothing").mkdir()
    job_id = queued(payload)
    async with rowcast.connect() as client:
        with pytest.raises((BadPayload, NothingToRead)):
            await work(await claimed(client, job_id), folder)
    row = database_connection.execute("select status, error_message from jobs where id = %s", [job_id]).fetchone()
    assert row["status"] == "failed"
    assert row["error_message"].startswith(message)
