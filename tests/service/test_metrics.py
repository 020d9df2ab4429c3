"""What operators can measure agrees with what happened."""

import asyncio
import platform
from importlib.metadata import version

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import pipeline
from service.changes.change import FeedKey
from service.errors import DatabaseUnavailable
from service.metrics import Metrics
from service.settings import Settings
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project, served, service_environment
from tests.service.pages import opened


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
