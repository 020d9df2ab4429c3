"""What operators can measure agrees with what happened."""

import asyncio
import platform
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from uuid import uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import pipeline
from service.app import create_app
from service.changes.change import FeedKey
from service.errors import DatabaseUnavailable
from service.metrics import Metrics
from service.settings import Settings
from tests.conftest import StackFacts, unused_port
from tests.service.changes.test_listener import Bench as Upstream
from tests.service.conftest import Project, served, service_environment
from tests.service.fakes import KEY, until
from tests.service.feeds.test_hub import START
from tests.service.pages import opened
from tests.service.streams.stages import Stage
from tests.service.tiny import make_change


def samples(text: str) -> dict[str, float]:
    """Every sample by its name and labels, as written: `name{label="value"}`."""
    out = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            out[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return out


def test_two_registries_do_not_add_up() -> None:
    one, other = Metrics(), Metrics()
    one.gaps.inc()
    assert samples(one.exposition().decode())["rowcast_gaps_found_total"] == 1
    assert samples(other.exposition().decode())["rowcast_gaps_found_total"] == 0


def test_the_program_tells_what_it_is_and_what_it_takes() -> None:
    told = samples(Metrics().exposition().decode())
    python = platform.python_version()
    assert told[f'rowcast_build_info{{python="{python}",version="{version("rowcast")}"}}'] == 1
    assert told["process_resident_memory_bytes"] > 1 << 20
    assert told["process_open_fds"] > 0
    assert "process_cpu_seconds_total" in told


async def test_what_is_so_is_looked_up_when_asked(stack: StackFacts, project: Project) -> None:
    async with pipeline.running(Settings.from_environment(service_environment(stack))) as running:

        def measured() -> dict[str, float]:
            return samples(running.metrics.exposition().decode())

        before = measured()
        assert (before["rowcast_keys_followed"], before["rowcast_keys_live"]) == (0, 0)
        assert before["rowcast_database_up"] == 1
        assert before["rowcast_tasks"] == len(asyncio.all_tasks())
        topic = await running.services.hub.topic(FeedKey("project", project.id), patience=5)
        assert topic.live
        during = measured()
        assert (during["rowcast_keys_followed"], during["rowcast_keys_live"]) == (1, 1)
        assert during["rowcast_tasks"] == len(asyncio.all_tasks()) > before["rowcast_tasks"]


async def test_a_database_that_does_not_answer_is_seen(stack: StackFacts) -> None:
    environment = {**service_environment(stack), "SUPABASE_URL": f"http://127.0.0.1:{unused_port()}"}
    async with pipeline.running(Settings.from_environment(environment)) as running:
        with pytest.raises(DatabaseUnavailable):
            await running.log.heads("project", [])
        assert samples(running.metrics.exposition().decode())["rowcast_database_up"] == 0


async def test_a_streams_life_is_counted(stack: StackFacts, project: Project) -> None:
    with served(service_environment(stack)) as url:
        async with httpx.AsyncClient() as client:

            async def measured() -> dict[str, float]:
                answer = await client.get(f"{url}/metrics")
                assert answer.headers["Content-Type"].startswith("text/plain")
                return samples(answer.text)

            path = f"{url}/api/projects/{project.id}/status"
            async with opened(path, project.headers) as page:
                await page.until("connected")
                project.proposal("one")
                await page.until("new_proposal")
                during = await measured()
            assert during['rowcast_streams_open{feed="project"}'] == 1
            assert during['rowcast_events_total{type="new_proposal"}'] == 1
            assert during['rowcast_deliveries_total{feed="project"}'] == 1
            assert during["rowcast_upstream_generations_total"] == 1
            assert during["rowcast_catch_ups_total"] >= 1
            assert during["rowcast_lag_seconds_count"] == 1
            async with opened(path, {**project.headers, "Last-Event-ID": str(page.ids[0])}) as again:
                await again.until("new_proposal")
            await client.get(path)
            await client.get(path, headers={"Authorization": "Bearer x"})
            while (after := await measured())['rowcast_streams_open{feed="project"}'] > 0:
                pass
            assert after['rowcast_streams_ended_total{reason="gone"}'] == 2
            assert after['rowcast_resume_replays_total{source="ring"}'] == 1
            assert after['rowcast_streams_refused_total{reason="missing_token"}'] == 1
            assert after['rowcast_streams_refused_total{reason="invalid_token"}'] == 1


# Each counter, by making happen what it counts


async def counted(metrics: Metrics, name: str) -> float:
    return samples(metrics.exposition().decode()).get(name, 0)


async def test_holes_catch_ups_and_generations() -> None:
    bench = Upstream(heads_seconds=60)
    measured = partial(counted, bench.metrics)
    await bench.followed()
    assert await measured("rowcast_upstream_generations_total") == 1
    catch_ups = await measured("rowcast_catch_ups_total")
    assert await measured("rowcast_gaps_found_total") == 0
    bench.lose(101)
    bench.commit(102)
    bench.commit(103)  # the same hole
    await bench.hears(101, 102, 103)
    assert await measured("rowcast_gaps_found_total") == 1
    assert await measured("rowcast_catch_ups_total") == catch_ups + 1
    bench.generations.newest.end("cut")
    await until(lambda: len(bench.generations.made) == 2)
    assert await measured("rowcast_upstream_generations_total") == 2
    assert (bench.listener.keys, bench.listener.live_keys) == (1, 0)
    await bench.listener.stop()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    stage.elsewhere(101, 102, 103)
    stage.topic = await stage.hub.topic(KEY)
    yield stage
    await stage.hub.close()


async def test_messages_are_counted_once_when_made_and_for_each_page_when_written(stage: Stage) -> None:
    measured = partial(counted, stage.hub.metrics)
    pages = [stage.page() for _ in range(3)]
    for page in pages:
        await page.read()
    assert await measured('rowcast_streams_open{feed="tiny"}') == 3
    stage.commit(104)
    for page in pages:
        await page.read()
    assert await measured('rowcast_events_total{type="new"}') == 1
    assert await measured('rowcast_deliveries_total{feed="tiny"}') == 3


async def test_what_a_slow_page_gets_merged_is_counted_while_it_is_slow(stage: Stage) -> None:
    page = stage.page()
    await page.read()  # and does not come back for more
    for revision in (104, 105, 106):
        stage.hub.changes(KEY, [stage.log.append(make_change(revision))])
        await until(lambda: not stage.topic._pending)
    assert await counted(stage.hub.metrics, "rowcast_conflated_total") == 2
    await page.read()
    await page.close()
    assert await counted(stage.hub.metrics, "rowcast_conflated_total") == 2


async def test_replays_are_counted_by_where_the_past_came_from(stage: Stage) -> None:
    measured = partial(counted, stage.hub.metrics)
    stage.log.gate = asyncio.Event()
    reading = [asyncio.ensure_future(stage.page(cursor=101).read_until("new")) for _ in range(2)]
    await until(lambda: "since 101" in stage.log.calls)
    await until(lambda: stage.hub.viewers == 2)
    await asyncio.sleep(0)
    stage.log.gate.set()
    await asyncio.gather(*reading)
    assert await measured('rowcast_resume_replays_total{source="database"}') == 1
    assert await measured('rowcast_resume_replays_total{source="shared"}') == 1
    await stage.page(cursor=102).read_until("new")
    assert await measured('rowcast_resume_replays_total{source="ring"}') == 1


async def test_a_reset_is_counted_for_each_page_that_is_told(stage: Stage) -> None:
    stage.log.rows = {"rows": []}
    await stage.page(cursor=START - 1).read_until("reset")
    assert await counted(stage.hub.metrics, "rowcast_resets_total") == 1
    page = stage.page()
    await page.read()
    stage.hub.lost(KEY, 103, "pruned")
    await page.read_until("reset")
    assert await counted(stage.hub.metrics, "rowcast_resets_total") == 2


async def test_ended_streams_are_counted_by_reason(stage: Stage) -> None:
    stage.topic._outbox_bytes = 1000
    slow = stage.page()
    await slow.read()
    stage.commit(*range(104, 120))
    await until(lambda: not stage.topic._pending)
    await slow.read_all()
    await stage.page(max_age=0.0).read_all()
    await stage.page(expires_at=0.0).read_all()
    gone = stage.page()
    await gone.read()
    await gone.close()
    stage.log.fail = DatabaseUnavailable("down")
    await stage.page(snapshot=True).read_all()
    for reason in ("too_slow", "shutdown", "token_expired", "gone", "error"):
        assert await counted(stage.hub.metrics, f'rowcast_streams_ended_total{{reason="{reason}"}}') == 1
    assert await counted(stage.hub.metrics, 'rowcast_streams_open{feed="tiny"}') == 0


async def test_the_lag_is_from_the_commit_of_the_oldest_change_to_its_write(stage: Stage) -> None:
    page = stage.page()
    await page.read()
    now = datetime.now(UTC)
    for revision, seconds in ((104, 7), (105, 2)):
        committed_at = (now - timedelta(seconds=seconds)).isoformat()
        change = replace(make_change(revision, "I", f"r{revision}"), committed_at=committed_at)
        stage.hub.changes(KEY, [stage.log.append(change)])
    await until(lambda: not stage.topic._pending)
    await page.read()
    reading = asyncio.ensure_future(page.read())  # only now the first has been taken
    await asyncio.sleep(0)
    measured = samples(stage.hub.metrics.exposition().decode())
    assert measured["rowcast_lag_seconds_count"] == 1
    assert measured["rowcast_lag_seconds_sum"] >= 7
    assert measured['rowcast_lag_seconds_bucket{le="5.0"}'] == 0
    reading.cancel()


async def test_refused_streams_are_counted_by_reason_and_other_requests_are_not(
    stack: StackFacts, project: Project
) -> None:
    app = create_app(Settings.from_environment(service_environment(stack)))
    path = f"/api/projects/{project.id}"
    async with app.test_app() as running:
        client = running.test_client()
        pipeline_ = app.extensions["rowcast"][0]
        await client.get(f"{path}/status")
        await client.get(f"{path}/status?since=x", headers=project.headers)
        await client.get(f"/api/projects/{uuid4()}/status", headers=project.headers)
        await client.get(f"{path}/snapshot")
        await client.get("/nothing")
        pipeline_.services.hub.draining = True
        await client.get(f"{path}/status", headers=project.headers)
        told = samples(pipeline_.metrics.exposition().decode())
    refused = {name: value for name, value in told.items() if name.startswith("rowcast_streams_refused_total")}
    assert refused == {
        f'rowcast_streams_refused_total{{reason="{reason}"}}': 1.0
        for reason in ("missing_token", "bad_request", "not_found", "upstream_unavailable")
    }
