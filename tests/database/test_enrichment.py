"""The enrichment of a BOM: its job rules it, and job, BOM, line items and events tell the same story."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import errors

from .conftest import Connection, acting_as, new_project, new_user, one


@dataclass
class Bom:
    """A BOM in the database, and a worker's calls for it."""

    db: Connection
    id: UUID
    held: Any = None

    def start(self, **arguments: object) -> Any:
        names = ", ".join(f"{name} => %s" for name in ("bom_id", *arguments))
        return one(self.db, f"select start_enrichment({names})", self.id, *arguments.values())

    def control(self, command: str) -> Any:
        return one(self.db, "select control_enrichment(bom_id => %s, command => %s)", self.id, command)

    def claim(self) -> Any:
        self.held = one(self.db, "select claim_job(array['bom_enrichment'])")
        return self.held

    def write(self, results: list[dict[str, Any]] | None = None) -> Any:
        return one(
            self.db, "select write_batch(job_id => %s, claim => %s, results => %s)",
            self.held["job"]["id"], self.held["claim"], json.dumps(results or []),
        )  # fmt: skip

    def work(self, until: int | None = None) -> Any:
        """Writes batches until the run ends, or ``until`` items are done."""
        told = self.write()
        while told["items"] and (until is None or self.state["percent_complete"] * self.size / 100 < until - 0.01):
            told = self.write([outcome(item) for item in told["items"]])
        return told

    @property
    def size(self) -> int:
        return int(self.state["total_items"])

    @property
    def state(self) -> Any:
        return one(self.db, "select enrichment_snapshot(%s)", self.id)["rows"]["boms"][0]  # type: ignore[index]

    @property
    def events(self) -> list[tuple[str, str, float]]:
        """What is told: type, the state's status and percent, oldest first."""
        return [
            (event["event_type"].removeprefix("enrichment."), event["state"]["status"],
             event["state"]["percent_complete"])
            for event in self.history()
        ]  # fmt: skip

    def history(self) -> list[Any]:
        return one(self.db, "select enrichment_history(%s, size => 1001)", self.id)  # type: ignore[return-value]

    @property
    def job(self) -> tuple[Any, ...]:
        row = self.db.execute(
            "select status, progress_stage, progress_current, progress_total from jobs where bom_id = %s "
            "order by created_at desc limit 1", [self.id],
        ).fetchone()  # fmt: skip
        assert row is not None
        return row


def outcome(item: dict[str, Any]) -> dict[str, Any]:
    """Parts called known are known; a line without a part fails."""
    if item["mpn"] is None:
        return {"id": item["id"], "status": "failed", "error_message": "no part number"}
    if item["mpn"].startswith("known"):
        return {"id": item["id"], "status": "enriched", "enrichment_data": {"supplier": "S"}}
    return {"id": item["id"], "status": "not_found"}


@pytest.fixture
def upload(db: Connection, project: UUID) -> Callable[..., Bom]:
    def upload(known: int = 0, unknown: int = 0, nameless: int = 0, source: str = "customer") -> Bom:
        parts = [*(f"known-{n}" for n in range(known)), *(f"x-{n}" for n in range(unknown)), *[None] * nameless]
        items = [{"line_number": n, "mpn": part, "quantity": 2.5} for n, part in enumerate(parts, start=1)]
        told = one(db, "select create_bom(%s, 'b.csv', %s, %s)", project, json.dumps(items), source)
        assert isinstance(told, dict)
        assert told["total_items"] == len(parts)
        return Bom(db, UUID(told["bom_id"]))

    return upload


def test_a_run_tells_one_story_in_all_its_rows(upload: Callable[..., Bom], db: Connection) -> None:
    bom = upload(known=12, unknown=7, nameless=6)
    begun = bom.start(priority=7)
    assert begun == {"started": True, "run_id": begun["run_id"], "status": "enriching"}
    assert bom.state | {"status": "enriching", "total_items": 25, "percent_complete": 0.0} == bom.state
    bom.claim()
    assert (bom.held["job"]["id"], bom.held["job"]["priority"]) == (begun["run_id"], 7)
    first = bom.write()
    assert ([item["line_number"] for item in first["items"]], first["max_parallel"]) == (list(range(1, 11)), 5)
    bom.work()
    assert bom.events == [
        ("started", "enriching", 0.0), ("progress", "enriching", 40.0), ("progress", "enriching", 80.0),
        ("progress", "enriching", 100.0), ("completed", "completed", 100.0),
    ]  # fmt: skip
    state = bom.state
    counts = {"enriched_items": 12, "not_found_items": 7, "failed_items": 6, "pending_items": 0}
    assert state | counts | {"current_batch": 3, "total_batches": 3, "current_stage": "complete"} == state
    assert state["completed_at"] >= state["started_at"]
    assert bom.history()[-1]["state"] == state
    assert bom.job == ("completed", "complete", 25, 25)
    told = db.execute("select status, count(*) from bom_line_items group by 1 order by 1").fetchall()
    assert told == [("enriched", 12), ("failed", 6), ("not_found", 7)]


def test_an_event_names_where_it_belongs_and_carries_its_batch(upload: Callable[..., Bom], project: UUID) -> None:
    bom = upload(known=1, nameless=1)
    user = new_user(bom.db, project)
    run = bom.start(user_id=user)["run_id"]
    bom.claim()
    bom.work()
    event = bom.history()[1]
    assert event | {
        "event_type": "enrichment.progress", "routing_key": "customer.enrichment.progress", "bom_id": str(bom.id),
        "project_id": str(project), "user_id": str(user), "source": "customer",
        "workflow_id": f"bom-enrichment-{bom.id}", "workflow_run_id": run,
    } == event  # fmt: skip
    assert event["payload"]["batch"] == {"batch_number": 1, "batch_size": 2, "completed": 2}
    enriched, failed = event["payload"]["components"]
    assert (enriched["status"], enriched["enrichment_data"]) == ("enriched", {"supplier": "S"})
    assert (failed["status"], failed["mpn"], failed["error_message"]) == ("failed", None, "no part number")


def test_the_log_tells_of_a_batch_once(upload: Callable[..., Bom], db: Connection) -> None:
    bom = upload(known=25)
    bom.start()
    bom.claim()
    bom.write()
    before = one(db, "select max(revision) from feed_changes")
    bom.work(until=10)
    told = db.execute("select feed, table_name, op::text from feed_changes where revision > %s order by 1", [before])
    assert told.fetchall() == [("enrichment", "enrichment_events", "I"), ("project", "jobs", "U")]


def test_history_is_in_the_order_of_the_log_even_if_the_clock_goes_back(upload: Callable[..., Bom]) -> None:
    bom = upload(known=15)
    bom.start()
    bom.db.execute("alter table enrichment_events disable trigger append_only")
    bom.db.execute("update enrichment_events set created_at = now() + interval '1 hour'")
    bom.claim()
    bom.work()
    logged = bom.db.execute(
        "select row_id from feed_changes where table_name = 'enrichment_events' and op = 'I' order by revision"
    )
    assert [event["event_id"] for event in bom.history()] == [row_id for (row_id,) in logged]


def test_a_batch_written_keeps_the_job_for_as_long_as_it_was_claimed(upload: Callable[..., Bom]) -> None:
    bom = upload(known=25)
    bom.start()
    bom.held = one(bom.db, "select claim_job(array['bom_enrichment'], lease_seconds => 7)")
    claimed = one(bom.db, "select lease_until from jobs")
    bom.work(until=10)
    assert one(bom.db, "select lease_until > %s and lease_until - heartbeat_at = interval '7 s' from jobs", claimed)


def test_a_batch_written_again_changes_nothing(upload: Callable[..., Bom]) -> None:
    bom = upload(known=12)
    bom.start()
    bom.claim()
    results = [outcome(item) for item in bom.write()["items"]]
    first = bom.write(results)
    events = bom.events
    assert bom.write(results) == first
    assert bom.write([{**result, "status": "failed"} for result in results]) == first
    assert bom.events == events


def test_items_of_another_bom_are_not_touched(upload: Callable[..., Bom]) -> None:
    mine, other = upload(known=1), upload(known=1)
    other_item = one(mine.db, "select id from bom_line_items where bom_id = %s", other.id)
    mine.start()
    mine.claim()
    mine.write([{"id": str(other_item), "status": "enriched"}])
    assert one(mine.db, "select status from bom_line_items where id = %s", other_item) == "pending"
    assert mine.state["enriched_items"] == 0


def test_a_worker_that_lost_its_job_writes_nothing_and_its_items_are_not_done_twice(upload: Callable[..., Bom]) -> None:
    bom = upload(known=25)
    bom.start()
    old = bom.claim()
    late = [outcome(item) for item in bom.work(until=10)["items"]]
    bom.db.execute("update jobs set lease_until = now() - interval '1 s'")
    new = bom.claim()
    bom.held = old
    assert bom.write(late) == {"status": "lost", "items": []}
    bom.held = new
    assert [item["line_number"] for item in bom.write()["items"]] == list(range(11, 21))
    bom.work()
    assert [status for _, status, _ in bom.events].count("completed") == 1
    assert bom.state["enriched_items"] == 25


def test_a_bom_whose_job_loses_every_worker_fails_with_it(upload: Callable[..., Bom]) -> None:
    bom = upload(known=25)
    bom.start()
    for _ in range(3):
        bom.claim()
        bom.db.execute("update jobs set lease_until = now() - interval '1 s'")
    assert bom.claim() is None
    assert bom.events[-1] == ("failed", "failed", 0.0)
    assert bom.history()[-1]["payload"] == {"error": "Its worker was lost, at attempt 3 of 3."}
    state = bom.state
    assert (state["status"], state["error_message"]) == ("failed", "Its worker was lost, at attempt 3 of 3.")
    assert state["failed_at"] is not None


def test_a_batch_is_written_with_the_job_s_pipeline_in_one_change(upload: Callable[..., Bom]) -> None:
    bom = upload(known=25)
    bom.start()
    held = bom.claim()
    under_way = [outcome(item) for item in bom.write()["items"]]
    sql = "select count(*) from feed_changes where table_name = 'jobs'"
    before = one(bom.db, sql)
    one(
        bom.db, "select write_batch(%s, %s, %s, %s)",
        held["job"]["id"], held["claim"], json.dumps(under_way), '{"overall_progress_percent": 40}',
    )  # fmt: skip
    assert one(bom.db, "select pipeline from jobs") == {"overall_progress_percent": 40}
    assert one(bom.db, sql) == before + 1


def test_a_pause_takes_the_batch_under_way_and_a_resume_goes_on(upload: Callable[..., Bom]) -> None:
    bom = upload(known=25)
    bom.start()
    bom.claim()
    under_way = [outcome(item) for item in bom.write()["items"]]
    assert bom.control("pause")["status"] == "paused"
    assert bom.job[0] == "paused"
    assert bom.write(under_way) == {
        "status": "paused", "items": [], "max_parallel": 5, "total": 25, "done": 10, "message": "Batch 1 of 3",
        "counts": {"enriched": 10, "failed": 0, "not_found": 0},
    }  # fmt: skip
    assert bom.write() == {"status": "lost", "items": []}, "it has let go"
    assert bom.claim() is None
    assert bom.control("resume")["status"] == "enriching"
    assert bom.job == ("queued", "enriching", 10, 25)
    assert bom.claim()["job"]["attempt"] == 1
    bom.work()
    assert bom.events == [
        ("started", "enriching", 0.0), ("progress", "paused", 0.0), ("progress", "paused", 40.0),
        ("progress", "enriching", 40.0), ("progress", "enriching", 80.0), ("progress", "enriching", 100.0),
        ("completed", "completed", 100.0),
    ]  # fmt: skip


def test_a_worker_that_never_noticed_a_pause_just_goes_on(upload: Callable[..., Bom]) -> None:
    bom = upload(known=15)
    bom.start()
    bom.claim()
    items = bom.write()["items"]
    bom.control("pause")
    bom.control("resume")
    assert bom.job[0] == "running"
    assert len(bom.write([outcome(item) for item in items])["items"]) == 5


def test_a_pause_during_the_last_batch_completes(upload: Callable[..., Bom]) -> None:
    bom = upload(known=3)
    bom.start()
    bom.claim()
    items = bom.write()["items"]
    bom.control("pause")
    assert bom.write([outcome(item) for item in items])["status"] == "completed"
    assert [status for _, status, _ in bom.events] == ["enriching", "paused", "paused", "completed"]


def test_a_stop_is_final_and_what_was_under_way_is_left(upload: Callable[..., Bom]) -> None:
    bom = upload(known=25)
    bom.start()
    bom.claim()
    items = bom.work(until=10)["items"]
    assert bom.control("stop")["status"] == "stopped"
    events = bom.events
    assert events[-1] == ("progress", "stopped", 40.0)
    assert bom.write([outcome(item) for item in items]) == {"status": "stopped", "items": []}
    assert bom.events == events
    assert bom.claim() is None


def test_a_cancelled_job_stops_after_its_batch(upload: Callable[..., Bom]) -> None:
    bom = upload(known=25)
    bom.start()
    bom.claim()
    items = bom.write()["items"]
    bom.db.execute("update jobs set cancel_requested_at = now()")
    assert bom.write([outcome(item) for item in items])["status"] == "stopped"
    assert bom.events[-1] == ("progress", "stopped", 40.0)
    assert bom.job == ("stopped", "enriching", 10, 25)


def test_a_new_run_keeps_what_is_enriched_and_tries_the_rest_again(upload: Callable[..., Bom]) -> None:
    bom = upload(known=12, unknown=2, nameless=1)
    bom.start()
    bom.claim()
    bom.work()
    assert bom.start()["started"] is True
    state = bom.state
    assert state | {"enriched_items": 12, "not_found_items": 0, "failed_items": 0, "total_batches": 1} == state
    assert (state["percent_complete"], state["completed_at"]) == (80.0, None)
    bom.claim()
    assert [item["line_number"] for item in bom.write()["items"]] == [13, 14, 15]


@pytest.mark.parametrize("ended", ["failed", "stopped"])
def test_a_retry_by_anyone_begins_a_run(upload: Callable[..., Bom], ended: str) -> None:
    bom = upload(known=25)
    bom.start()
    bom.claim()
    bom.work(until=10)
    bom.db.execute("update jobs set status = %s, error_message = 'out of paper'", [ended])
    assert bom.state["status"] == ended
    bom.db.execute("update jobs set status = 'queued', attempt = attempt + 1")
    assert bom.events[-1] == ("started", "enriching", 40.0)
    assert bom.state["error_message"] is None
    bom.claim()
    bom.work()
    assert bom.state["enriched_items"] == 25


@pytest.mark.parametrize("under_way", ["queued", "running", "paused", "stalled"])
def test_a_run_under_way_is_not_started_again(upload: Callable[..., Bom], under_way: str) -> None:
    bom = upload(known=1)
    run = bom.start()["run_id"]
    for status in ("running", under_way):
        bom.db.execute("update jobs set status = %s", [status])
    events = bom.events
    status = "paused" if under_way == "paused" else "enriching"
    assert bom.start() == {"started": False, "run_id": run, "status": status}
    assert bom.events == events


def test_of_many_who_start_at_once_one_does(upload: Callable[..., Bom], connect: Callable[[], Connection]) -> None:
    bom = upload(known=1)

    def start(db: Connection) -> Any:
        told = Bom(db, bom.id).start()
        db.commit()
        return told

    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(start, [connect() for _ in range(8)]))
    assert sum(each["started"] for each in told) == 1
    assert len({each["run_id"] for each in told}) == 1
    assert bom.events == [("started", "enriching", 0.0)]


@pytest.mark.parametrize(
    ("status", "command", "becomes"),
    [
        ("idle", "pause", "idle"), ("idle", "resume", "idle"), ("idle", "stop", "idle"),
        ("enriching", "resume", "enriching"), ("paused", "pause", "paused"), ("paused", "stop", "stopped"),
        ("completed", "pause", "completed"), ("completed", "stop", "completed"), ("stopped", "resume", "stopped"),
    ],
)  # fmt: skip
def test_a_command_out_of_place_changes_nothing(
    upload: Callable[..., Bom], status: str, command: str, becomes: str
) -> None:
    bom = upload(known=1)
    if status != "idle":
        bom.start()
    if status == "completed":
        bom.claim()
        bom.work()
    elif status in ("paused", "stopped"):
        bom.control({"paused": "pause", "stopped": "stop"}[status])
    before = bom.events
    assert bom.state["status"] == status
    assert bom.control(command)["status"] == becomes
    assert len(bom.events) == len(before) + (status != becomes)


def test_an_empty_bom_completes_at_once(db: Connection, project: UUID, upload: Callable[..., Bom]) -> None:
    bom = upload(known=1)
    db.execute("delete from bom_line_items")
    bom.start()
    bom.claim()
    assert bom.write()["status"] == "completed"
    assert (bom.state["status"], bom.state["percent_complete"]) == ("completed", 100.0)


def test_a_run_whose_bom_is_deleted_stops(upload: Callable[..., Bom]) -> None:
    bom = upload(known=25)
    bom.start()
    bom.claim()
    bom.db.execute("delete from boms")
    assert bom.write() == {"status": "stopped", "items": []}
    assert one(bom.db, "select error_message from jobs") == "Its BOM was deleted."


def test_a_project_goes_with_a_run_under_way(upload: Callable[..., Bom]) -> None:
    bom = upload(known=25)
    bom.start()
    bom.claim()
    bom.work(until=10)
    bom.db.execute("delete from projects")
    assert one(bom.db, "select count(*) from enrichment_events") == 0


def test_an_organization_has_its_own_batches(upload: Callable[..., Bom], db: Connection) -> None:
    db.execute("insert into enrichment_config (organization_id, batch_size, max_parallel) "
               "select id, 4, 2 from organizations")  # fmt: skip
    bom = upload(known=9)
    bom.start()
    assert bom.state["total_batches"] == 3
    bom.claim()
    told = bom.write()
    assert (len(told["items"]), told["max_parallel"]) == (4, 2)
    db.execute("update enrichment_config set batch_size = 1 where organization_id is not null")
    bom.write([outcome(item) for item in told["items"]])
    assert (bom.state["current_batch"], bom.state["total_batches"]) == (1, 6)


def test_what_is_staffs_is_staffs_all_through(upload: Callable[..., Bom], project: UUID) -> None:
    bom = upload(known=1, source="staff")
    bom.start()
    bom.claim()
    bom.work()
    assert {event["routing_key"].split(".")[0] for event in bom.history()} == {"staff"}
    with acting_as(bom.db, "authenticated", new_user(bom.db, project, "owner")):
        for table in ("boms", "bom_line_items", "enrichment_events", "jobs"):
            assert one(bom.db, f"select count(project_id) from {table}") == 0
    logged = bom.db.execute("select row -> 'staff' from feed_changes where table_name = 'jobs'").fetchall()
    assert logged
    assert all(staff for (staff,) in logged)


def test_the_snapshot_is_the_state_the_components_and_the_last_event(upload: Callable[..., Bom]) -> None:
    bom = upload(known=75)
    bom.start()
    bom.claim()
    bom.work(until=60)
    snapshot = one(bom.db, "select enrichment_snapshot(bom_id => %s)", bom.id)
    assert isinstance(snapshot, dict)
    assert [item["mpn"] for item in snapshot["rows"]["bom_line_items"]] == [f"known-{n}" for n in range(59, 9, -1)]
    assert snapshot["rows"]["enrichment_events"] == bom.history()[-1:]
    assert snapshot["rows"]["boms"] == [snapshot["rows"]["enrichment_events"][0]["state"]]
    assert snapshot["head"] == one(bom.db, "select max(revision) from feed_changes where feed = 'enrichment'")
    nothing = one(bom.db, "select enrichment_snapshot(gen_random_uuid())")
    assert isinstance(nothing, dict)
    assert nothing["rows"] == {"boms": [], "bom_line_items": [], "enrichment_events": []}


def pages(bom: Bom, size: int) -> Iterator[list[str]]:
    """History page by page; each page begins with the last event of the one before."""
    at: tuple[object, object] = (None, None)
    while True:
        page: Any = one(bom.db, "select enrichment_history(%s, %s, %s, %s)", bom.id, *at, size)
        yield [event["event_id"] for event in page]
        if len(page) < size:
            return
        at = (page[-1]["created_at"], page[-1]["event_id"])


def test_history_is_read_page_by_page(upload: Callable[..., Bom]) -> None:
    bom = upload(known=95)
    bom.start()
    bom.claim()
    bom.work()
    everything = [event["event_id"] for event in bom.history()]
    read = list(pages(bom, 4))
    assert len(everything) == 12
    assert everything[:1] + [event for page in read for event in page[1:]] == everything


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("write_batch(gen_random_uuid(), null, '{}')", "results: must be a JSON array"),
        ('write_batch(gen_random_uuid(), null, \'[{"status": "pending"}, {}]\')', "results: .* not NULL, pending"),
        ("create_bom(gen_random_uuid(), 'b', '[]')", "items: must hold at least one line"),
        ("control_enrichment(gen_random_uuid(), 'go')", "command: must be pause, resume or stop, not go"),
        ("enrichment_history(gen_random_uuid(), size => 0)", "size: must be 1 to 1001, not 0"),
    ],
)
def test_a_bad_argument_is_named(sandbox: Connection, call: str, message: str) -> None:
    with pytest.raises(errors.InvalidParameterValue, match=message):
        sandbox.execute(f"select {call}")


@pytest.mark.parametrize(
    "call", ["start_enrichment(%s)", "control_enrichment(%s, 'stop')", "create_bom(%s, 'b', '[{\"line_number\": 1}]')"]
)
def test_what_is_not_there_is_said_to_be_missing(sandbox: Connection, call: str) -> None:
    with pytest.raises(errors.Error, match=r"there is no (BOM|project)") as caught:
        sandbox.execute(f"select {call}", [uuid4()])
    assert caught.value.sqlstate == "PT404"


def test_a_bom_is_made_whole_or_not_at_all(sandbox: Connection) -> None:
    project = new_project(sandbox)
    items = [{"line_number": 1}, {"line_number": 0}]
    with pytest.raises(errors.CheckViolation, match="line_number"), sandbox.transaction():
        sandbox.execute("select create_bom(%s, 'b', %s)", [project, json.dumps(items)])
    assert one(sandbox, "select count(*) from boms") == 0


def test_a_bom_with_an_id_of_the_callers_is_made_once(db: Connection, project: UUID) -> None:
    call, id_ = "select create_bom(%s, 'b', %s, bom_id => %s)", uuid4()
    for number in (1, 2):
        told = one(db, call, project, json.dumps([{"line_number": n} for n in range(1, number + 1)]), id_)
        assert told == {"bom_id": str(id_), "total_items": 1}
    assert one(db, "select count(*) from bom_line_items") == 1


def test_json_that_comes_as_a_string_is_read_too(sandbox: Connection) -> None:
    """As Supabase Lite sends it."""
    project = new_project(sandbox)
    told = one(sandbox, "select create_bom(%s, 'b', to_jsonb(%s::text))", project, '[{"line_number": 1}]')
    assert isinstance(told, dict)
    assert told["total_items"] == 1
