"""What operators can measure agrees with what happened."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics
from tests.conftest import StackFacts
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
