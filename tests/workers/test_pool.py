"""The pool over the real queue: how many at once, what becomes of the jobs, and how it ends."""

import asyncio
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

import rowcast
from workers import pool as module
from workers.pool import serve


class Bench:
    """A queue of its own kind, and a handler that does what a job's title says, held by ``gate``."""

    def __init__(self, database, project):
        self.kind = f"pool {uuid4()}"
        self.database = database
        self.project = project
        self.began: list[str] = []
        self.ended: list[tuple[str, str, str | None]] = []
        self.at_once = self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def queue(self, title: str) -> UUID:
        sql = "insert into jobs (project_id, kind, title) values (%s, %s, %s) returning id"
        return self.database.execute(sql, [self.project, self.kind, title]).fetchone()["id"]

    def row(self, job: UUID) -> tuple[str, int, str | None]:
        row = self.database.execute("select * from jobs where id = %s", [job]).fetchone()
        return row["status"], row["attempt"], row["error_message"]

    async def handle(self, client, job):
        async with job:
            self.began.append(job.row["title"])
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                await self.gate.wait()
                if job.row["title"] == "waits for what is cancelled":
                    asyncio.get_running_loop().call_soon((other := asyncio.Future()).cancel)
                    await other
                if job.row["title"] == "broken":
                    raise KeyError("oops")
                while job.row["title"] in ("cancelled", "lost") and not (job.cancelled or job.lost):
                    await asyncio.sleep(0.01)
                async for _ in job.track(range(1)):
                    pass
            finally:
                self.at_once -= 1

    def told(self, end):
        self.ended.append((end.job.row["title"], end.outcome, end.error))

    async def until(self, condition):
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def serving(self, client, concurrency=1, **options):
        """A running pool, which is cancelled at the end of the block unless it has ended."""
        handlers = {self.kind: self.handle}
        running = asyncio.create_task(serve(handlers, concurrency, client=client, on_end=self.told, **options))
        yield running
        running.cancel()
        await asyncio.wait([running])


@pytest.fixture
def bench(database_connection, project, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    return Bench(database_connection, project)


@pytest.fixture
async def client(stack):
    async with rowcast.connect(stack.supabase_url, stack.secret_key, lease=3) as client:
        yield client


async def test_so_many_jobs_are_done_at_once_and_the_rest_after_them(bench, client):
    jobs = [bench.queue(f"job {number}") for number in range(5)]
    bench.gate.clear()
    async with bench.serving(client, 2):
        await bench.until(lambda: len(bench.began) == 2)
        bench.gate.set()
        await bench.until(lambda: len(bench.ended) == 5)
        jobs.append(bench.queue("a late one"))
        await bench.until(lambda: len(bench.ended) == 6)
    assert bench.most_at_once == 2
    assert {bench.row(job) for job in jobs} == {("completed", 1, None)}
    assert {outcome for _, outcome, _ in bench.ended} == {"done"}


async def test_a_job_that_fails_fails_alone(bench, client):
    broken, fine = bench.queue("broken"), bench.queue("fine")
    async with bench.serving(client):
        await bench.until(lambda: len(bench.ended) == 2)
    assert bench.ended == [("broken", "failed", "KeyError: 'oops'"), ("fine", "done", None)]
    assert bench.row(broken) == ("failed", 1, "KeyError: 'oops'")
    assert bench.row(fine) == ("completed", 1, None)


async def test_what_is_cancelled_beside_it_fails_a_job_and_ends_no_worker(bench, client):
    waits, fine = bench.queue("waits for what is cancelled"), bench.queue("fine")
    async with bench.serving(client):
        await bench.until(lambda: len(bench.ended) == 2)
    why = "what it waited for was cancelled"
    assert bench.ended == [("waits for what is cancelled", "failed", why), ("fine", "done", None)]
    assert bench.row(waits) == ("failed", 1, f"RuntimeError: {why}")
    assert bench.row(fine) == ("completed", 1, None)


async def test_a_pool_that_is_stopped_ends_what_it_has_begun_and_begins_nothing(bench, client):
    first, second = bench.queue("first"), bench.queue("second")
    bench.gate.clear()
    async with bench.serving(client) as running:
        await bench.until(lambda: bench.began)
        running.cancel()
        await asyncio.sleep(0)
        bench.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert bench.row(first) == ("completed", 1, None)
    assert bench.row(second) == ("queued", 1, None)


async def test_what_does_not_end_in_time_goes_back_to_the_queue(bench, client):
    job = bench.queue("long")
    bench.gate.clear()
    async with bench.serving(client, grace=0) as running:
        await bench.until(lambda: bench.began)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert bench.ended == [("long", "given back", None)]
    assert bench.row(job) == ("queued", 1, None)
    bench.gate.set()
    async with bench.serving(client):
        await bench.until(lambda: bench.row(job)[0] == "completed")
    assert bench.row(job) == ("completed", 1, None)


async def test_stopped_twice_it_waits_no_longer(bench, client):
    job = bench.queue("long")
    bench.gate.clear()
    async with bench.serving(client, grace=3600) as running:
        await bench.until(lambda: bench.began)
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert bench.row(job) == ("queued", 1, None)


async def test_a_job_that_is_cancelled_and_one_that_is_lost_are_told_so(bench, client):
    async with bench.serving(client, 2):
        jobs = [bench.queue("cancelled"), bench.queue("lost")]
        await bench.until(lambda: len(bench.began) == 2)
        bench.database.execute("select cancel_job(%s)", [jobs[0]])
        with bench.database.transaction():
            bench.database.execute("update jobs set status = 'stalled' where id = %s", [jobs[1]])
            bench.database.execute("select retry_job(%s)", [jobs[1]])
            bench.database.execute(
                "update jobs set status = 'paused' where id = %s", [jobs[1]]
            )  # nobody takes it again
        await bench.until(lambda: len(bench.ended) == 2)
    assert {(title, outcome) for title, outcome, _ in bench.ended} == {("cancelled", "cancelled"), ("lost", "lost")}
    assert [bench.row(job)[0] for job in jobs] == ["stopped", "paused"]


async def test_a_job_that_is_handed_out_while_the_pool_stops_goes_back_untouched(bench, client):
    class Slow:
        """Its answers take until somebody asks for them."""

        answered, asked = asyncio.Event(), asyncio.Event()
        call = client.call

        async def claim(self, *kinds):
            job = await client.claim(*kinds)
            self.asked.set()
            await self.answered.wait()
            return job

    job, slow = bench.queue("late"), Slow()
    async with bench.serving(slow) as running:
        await slow.asked.wait()
        assert bench.row(job)[0] == "running"
        running.cancel()
        await asyncio.sleep(0)
        slow.answered.set()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert (bench.row(job), bench.began) == (("queued", 1, None), [])


async def test_a_queue_that_is_refused_ends_the_pool(bench, stack):
    async with rowcast.connect(stack.supabase_url, "sb_secret_of_another_project") as client:
        with pytest.raises(rowcast.RequestError, match="is this the secret key of this project"):
            await serve({bench.kind: bench.handle}, 3, client=client)


async def test_an_idle_pool_of_any_size_asks_one_question_at_a_time(bench, monkeypatch):
    class Queue:
        asking = most = asked = 0

        async def claim(self, *kinds):
            self.asking += 1
            self.asked += 1
            self.most = max(self.most, self.asking)
            await asyncio.sleep(0)
            self.asking -= 1

    queue = Queue()
    async with bench.serving(queue, 20):
        await bench.until(lambda: queue.asked >= 5)
    assert queue.most == 1
