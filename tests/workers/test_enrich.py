"""The enrichment worker on the real stack, with providers that do what a test needs."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import rowcast
from tests.conftest import unused_port
from workers import enrich as module
from workers.catalogue import CsvCatalogue, Facts
from workers.enrich import enrich, look_up_batch, serve, upload, work

EXAMPLES = Path(__file__).parents[2] / "examples" / "boms"
SLOW_WORKER = Path(__file__).with_name("slow_worker.py")


class Fake:
    """A provider that knows every part. It remembers who was asked for and how many at once; ``gate`` holds it."""

    name = "the fake"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._at_once = 0

    async def find(self, part):
        self.asked.append(part.mpn)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(0)
        await self.gate.wait()
        self._at_once -= 1
        return Facts(description=part.mpn)

    async def until_asked(self, number: int) -> None:
        while len(self.asked) < number:
            await asyncio.sleep(0.01)


@pytest.fixture
def database(database_connection):
    """The queue is shared; what an earlier test left in it must not be ours."""
    database_connection.execute(
        "update jobs set status = 'stopped' where kind = 'bom_enrichment' and finished_at is null"
    )
    return database_connection


@pytest.fixture
def connect(stack, database):
    return lambda **options: rowcast.connect(stack.supabase_url, stack.secret_key, **options)


@pytest.fixture
def parts(tmp_path):
    def write(number: int) -> Path:
        path = tmp_path / "parts.csv"
        path.write_text("Ref,MPN\n" + "".join(f"U{n},P{n}\n" for n in range(1, number + 1)))
        return path

    return write


@pytest.fixture
def story(database):
    """What the rows say of a BOM: its status and counts, its job's, its items', its events'."""

    def read(bom_id: UUID) -> dict:
        bom = database.execute("select * from boms where id = %s", [bom_id]).fetchone()
        job = database.execute(
            "select * from jobs where bom_id = %s order by created_at desc limit 1", [bom_id]
        ).fetchone()
        items = database.execute(
            "select status, count(*) from bom_line_items where bom_id = %s group by 1 order by 1", [bom_id]
        ).fetchall()
        events = database.execute(
            "select event_type, state from enrichment_events where bom_id = %s order by created_at", [bom_id]
        ).fetchall()
        return {
            "bom": bom["status"],
            "job": job["status"],
            "attempt": job["attempt"],
            "done": (bom["enriched_items"], bom["not_found_items"], bom["failed_items"], bom["total_items"]),
            "progress": (job["progress_current"], job["progress_total"]),
            "counted": tuple(job["pipeline"]["metrics"].get(name, 0) for name in ("enriched", "not_found", "failed"))
            if job["pipeline"]
            else None,
            "items": {row["status"]: row["count"] for row in items},
            "events": [event["event_type"].removeprefix("enrichment.") for event in events],
            "percent": events[-1]["state"]["percent_complete"],
        }

    return read


@asynccontextmanager
async def begun(connect, project, path, **options):
    """A client, and a BOM whose enrichment is queued."""
    async with connect(**options) as client:
        bom_id = await upload(client, project, path)
        await client.call("start_enrichment", bom_id=bom_id)
        yield client, bom_id


async def test_the_hackrf_one_against_the_catalogue(connect, project, story, database):
    uploaded, began = [], time.monotonic()
    async with connect() as client:
        state = await enrich(
            EXAMPLES / "hackrf-one-bom.csv", project, CsvCatalogue(EXAMPLES / "parts.csv"), client=client,
            on_upload=uploaded.append,
        )  # fmt: skip
    (bom_id,) = uploaded
    seconds = time.monotonic() - began
    assert (state["status"], state["percent_complete"]) == ("completed", 100.0)
    assert story(bom_id) == {
        "bom": "completed", "job": "completed", "attempt": 1, "done": (56, 26, 75, 157), "progress": (157, 157),
        "counted": (56, 26, 75), "items": {"enriched": 56, "not_found": 26, "failed": 75},
        "events": ["started", *["progress"] * 16, "completed"], "percent": 100.0,
    }  # fmt: skip
    sql = "select distinct mpn, error_message from bom_line_items where bom_id = %s and status = 'failed'"
    failed = database.execute(sql, [bom_id]).fetchall()
    assert failed == [{"mpn": None, "error_message": "The line has no part number."}]
    sql = "select * from bom_line_items where bom_id = %s order by line_number"
    first = database.execute(sql, [bom_id]).fetchone()
    assert (first["reference"], first["quantity"], first["mpn"], first["status"]) == (
        "U17", 1, "MAX2837ETM+T", "not_found",
    )  # fmt: skip
    assert first["error_message"] == "parts does not know this part."
    told = database.execute("select pipeline from jobs where bom_id = %s", [bom_id]).fetchone()["pipeline"]
    stage = told["stages"]["enriching"]
    assert (stage["status"], stage["processed"], stage["total"]) == ("completed", 157, 157)
    assert (told["worker_pool"]["max"], told["overall_progress_percent"]) == (5, 100)
    assert told["timing"]["estimated_remaining_ms"] == 0
    sql = "select count(*) as number from feed_changes where table_name = 'jobs' and row ->> 'bom_id' = %s"
    # queued, claimed, a batch (its end with the last one) at a time; no more than two a second beside that
    assert 18 <= database.execute(sql, [str(bom_id)]).fetchone()["number"] <= 20 + 2 * seconds


async def batch(connect, project, catalogue, items):
    async with (
        connect() as client,
        client.job(project, kind="test", title="A batch") as job,
        job.pool(5, parts=True) as pool,
    ):
        return await look_up_batch(catalogue, items, pool)


async def test_a_provider_that_fails_fails_its_lines_and_never_the_bom(connect, project, parts, story, monkeypatch):
    class Broken(Fake):
        async def find(self, part):
            if part.mpn == "P2":
                raise OSError("no route to host")
            if part.mpn == "P3":
                await asyncio.Event().wait()
            if part.mpn == "P4":
                return Facts(description="\0 \ud800")
            if part.mpn == "P5":
                return Facts(price=float("nan"))
            return await super().find(part)

    monkeypatch.setattr(module, "LOOK_UP_SECONDS", 0.05)
    async with connect() as client:
        state = await enrich(parts(12), project, Broken(), client=client)
        assert (state["status"], state["enriched_items"], state["failed_items"]) == ("completed", 9, 3)
    items = [{"id": n, "mpn": f"P{n}", "manufacturer": None} for n in (2, 3, 5)]
    results = await batch(connect, project, Broken(), items)
    assert [result["error_message"] for result in results] == [
        "the fake could not be asked: OSError: no route to host",
        "the fake could not be asked: no answer within 0.05 s",
        "the fake could not be asked: ValueError: Out of range float values are not JSON compliant",
    ]


async def test_parts_of_a_batch_are_looked_up_together_and_each_once(connect, project):
    fake = Fake()
    mpns = [*(f"P{n}" for n in range(7)), "p 3", "P3", None, ""]
    items = [{"id": n, "mpn": mpn, "manufacturer": None} for n, mpn in enumerate(mpns)]
    results = await batch(connect, project, fake, items)
    assert sorted(fake.asked) == [f"P{n}" for n in range(7)]
    assert fake.most_at_once == 5
    assert [result["id"] for result in results] == list(range(11))
    assert [result["status"] for result in results] == ["enriched"] * 9 + ["failed"] * 2


async def test_a_pause_lets_the_batch_finish_and_outlasts_the_worker(connect, project, parts, story):
    fake = Fake()
    async with begun(connect, project, parts(30)) as (client, bom_id):
        fake.gate.clear()
        working = asyncio.create_task(work(client, fake))
        await fake.until_asked(5)
        await client.call("control_enrichment", bom_id=bom_id, command="pause")
        fake.gate.set()
        assert await working
        assert len(fake.asked) == 10
        assert not await work(client, fake), "there is nothing to do while it is paused"
    told = story(bom_id)
    assert (told["bom"], told["job"], told["done"], told["progress"]) == ("paused", "paused", (10, 0, 0, 30), (10, 30))

    async with connect() as client:  # another process, another day
        await client.call("control_enrichment", bom_id=bom_id, command="resume")
        assert await work(client, fake)
    assert sorted(fake.asked) == sorted(f"P{n}" for n in range(1, 31)), "each part once"
    told = story(bom_id)
    assert (told["bom"], told["job"], told["attempt"], told["done"]) == ("completed", "completed", 1, (30, 0, 0, 30))
    assert told["counted"] == (30, 0, 0)


@pytest.mark.parametrize("how", ["stop", "cancel"])
async def test_a_stop_takes_effect_between_batches(connect, project, parts, story, database, how):
    fake = Fake()
    async with begun(connect, project, parts(30)) as (client, bom_id):
        fake.gate.clear()
        working = asyncio.create_task(work(client, fake))
        await fake.until_asked(5)
        if how == "stop":
            await client.call("control_enrichment", bom_id=bom_id, command="stop")
        else:
            database.execute("update jobs set cancel_requested_at = now() where bom_id = %s", [bom_id])
        fake.gate.set()
        assert await working
        assert len(fake.asked) == 10
        assert not await work(client, fake)
    told = story(bom_id)
    assert (told["bom"], told["job"]) == ("stopped", "stopped")
    assert told["done"] == ((0, 0, 0, 30) if how == "stop" else (10, 0, 0, 30))


async def test_a_worker_that_is_stopped_gives_the_run_to_the_next(connect, project, parts, story):
    fake = Fake()
    async with begun(connect, project, parts(30)) as (client, bom_id):
        fake.gate.clear()
        working = asyncio.create_task(serve(fake, client=client))
        await fake.until_asked(5)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert story(bom_id)["job"] == "queued"
        fake.gate.set()
        assert await work(client, fake)
    assert (story(bom_id)["job"], story(bom_id)["attempt"]) == ("completed", 1)


async def test_a_bug_in_the_worker_fails_the_bom_with_its_words(connect, project, parts, story, database, monkeypatch):
    async def trip(*_):
        raise KeyError("oops")

    monkeypatch.setattr(module, "look_up_batch", trip)
    async with begun(connect, project, parts(3)) as (client, bom_id):
        with pytest.raises(KeyError):
            await work(client, Fake())
    told = story(bom_id)
    assert (told["bom"], told["job"], told["events"]) == ("failed", "failed", ["started", "failed"])
    sql = "select error_message from boms where id = %s"
    assert database.execute(sql, [bom_id]).fetchone()["error_message"] == "KeyError: 'oops'"


async def test_a_run_of_somebody_else_is_waited_for(connect, project, parts, monkeypatch):
    """The queue is shared: whoever uploads may find that another worker was quicker."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    uploaded = asyncio.Event()

    class Quick(Fake):
        async def find(self, part):
            uploaded.set()
            return await super().find(part)

    quick, mine = Quick(), Fake()
    async with connect() as client:
        other = asyncio.create_task(serve(quick, client=client))
        # `work` of `enrich` comes too late: its claim is only made once the other has begun
        real = module.work

        async def late(client, catalogue, run=None):
            if catalogue is mine:
                await uploaded.wait()
            return await real(client, catalogue, run)

        monkeypatch.setattr(module, "work", late)
        state = await enrich(parts(15), project, mine, client=client)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
    assert (state["status"], state["enriched_items"]) == ("completed", 15)
    assert mine.asked == []


async def test_two_workers_and_one_killed_in_the_middle_of_a_batch(stack, connect, project, parts, story, tmp_path):
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    environment = {**os.environ, "SUPABASE_URL": stack.supabase_url, "SUPABASE_SECRET_KEY": stack.secret_key}

    def asked(log: Path) -> list[str]:
        return log.read_text().split() if log.exists() else []

    def worker(log: Path, block: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, SLOW_WORKER, log, block], env=environment)

    async def until(condition) -> None:
        while not condition():
            await asyncio.sleep(0.02)

    async with begun(connect, project, parts(40)) as (_, bom_id):
        with worker(logs[0], "P14") as first:
            await until(lambda: "P14" in asked(logs[0]))  # in the middle of the second batch
            with worker(logs[1], "none") as second:
                first.send_signal(signal.SIGKILL)
                await until(lambda: story(bom_id)["job"] == "completed")
                second.terminate()
    told = story(bom_id)
    assert told["attempt"] == 2
    assert (told["bom"], told["done"], told["percent"]) == ("completed", (40, 0, 0, 40), 100.0)
    assert told["counted"] == (40, 0, 0), "with what the attempt before has done"
    assert told["events"] == ["started", *["progress"] * 4, "completed"], "each batch is told once"
    assert sorted(asked(logs[1])) == sorted(f"P{n}" for n in range(11, 41)), "what was finished is not done again"


async def test_what_can_not_be_uploaded_is_refused(connect, tmp_path, project):
    path = tmp_path / "b.csv"
    path.write_text("Ref,MPN\nU1,A\n")
    async with connect() as client:
        with pytest.raises(rowcast.RequestError, match="there is no project"):
            await enrich(path, uuid4(), Fake(), client=client)
        path.write_text("nothing\n")
        with pytest.raises(ValueError, match="This is no table of parts"):
            await enrich(path, project, Fake(), client=client)


async def test_an_upload_that_nobody_answers_is_given_up(parts, monkeypatch):
    monkeypatch.setattr(module, "UPLOAD_SECONDS", 0.2)
    async with rowcast.connect(f"http://127.0.0.1:{unused_port()}", "sb_secret_nobody") as client:
        with pytest.raises(rowcast.DeliveryError, match=r"^parts\.csv may not have arrived: .* within 0\.2 s\.$"):
            await upload(client, uuid4(), parts(1))
