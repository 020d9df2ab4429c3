"""The pipeline, put together in process against the real devstack: what a commit becomes for a viewer."""

import asyncio

import pytest

from service import pipeline
from service.changes.change import FeedKey
from service.settings import Settings
from tests.conftest import StackFacts
from tests.service.conftest import Project, service_environment


async def test_a_commit_reaches_a_viewer(stack: StackFacts, project: Project) -> None:
    async with pipeline.running(Settings.from_environment(service_environment(stack))) as running:
        hub = running.services.hub
        topic = await hub.topic(FeedKey("project", project.id), patience=5)
        assert topic.live
        viewer = hub.attach(topic, None)
        source = project.source()
        await viewer.wait(asyncio.get_running_loop().time() + 60)
        assert viewer.batch is not None
        [(delivery, _)] = viewer.batch.told
        assert delivery.change.identity == ("ingestion_sources", source)
        assert [message.type for message in delivery.messages] == ["status_update"]


async def test_however_much_people_ask_the_listener_does_not_wait(
    stack: StackFacts, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer_nobody(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    async with pipeline.running(Settings.from_environment(service_environment(stack))) as running:
        key = FeedKey("project", project.id)
        monkeypatch.setattr(
            running.services.database._client.options.httpx_client, "send", answer_nobody
        )  # its line is full
        asking = asyncio.create_task(running.services.hub.snapshot(key))
        await running.services.hub.topic(key)
        assert not asking.done()
        asking.cancel()


async def test_the_end_leaves_no_task_behind(stack: StackFacts, project: Project) -> None:
    before = asyncio.all_tasks()
    async with pipeline.running(Settings.from_environment(service_environment(stack))) as running:
        await running.services.hub.topic(FeedKey("project", project.id), patience=5)
        assert running.listener.is_running
    assert not running.listener.is_running
    assert asyncio.all_tasks() == before
