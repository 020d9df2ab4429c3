"""@supabase/supabase-js as judge, in both versions of the protocol it speaks."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

SCRIPT = Path(__file__).parents[2] / "node" / "subscribe.mjs"
P1 = "11111111-1111-4111-8111-111111111111"
P2 = "22222222-2222-4222-8222-222222222222"
THINGS = {"event": "*", "schema": "public", "table": "rowcast_test_things"}


class Browser:
    """supabase-js in a Node.js process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def do(self, command: str, **parameters: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": command, **parameters}).encode() + b"\n")
        await self.process.stdin.drain()

    async def told(self, what: str, **wanted: Any) -> Any:
        """The next event of that kind with these values; others are passed over."""
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            while line := await self.process.stdout.readline():
                event = json.loads(line)
                if event["what"] == what and all(event.get(name) == value for name, value in wanted.items()):
                    return event
        raise AssertionError(f"the script ended without telling {what} {wanted}")

    async def ready(self, topic: str) -> None:
        while (await self.told("system", topic=topic))["payload"]["message"] != "Subscribed to PostgreSQL":
            pass


@pytest.fixture(params=["1.0.0", "2.0.0"])
async def browser(request: pytest.FixtureRequest, server: Any) -> AsyncIterator[Browser]:
    node = shutil.which("node")
    assert node, "Node.js is missing"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        node, str(SCRIPT), server.url, server.secret_key, request.param, stdin=pipe, stdout=pipe
    )
    yield Browser(process)
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_joins_with_a_filter_and_hears_the_changes(browser: Browser, sql: psycopg.Connection) -> None:
    await browser.do("join", topic="room", binding=THINGS | {"filter": f"project=eq.{P1}"})
    await browser.told("status", topic="room", status="SUBSCRIBED")
    await browser.ready("room")
    title = 'it\'s "ok" ✓'
    sql.execute("insert into rowcast_test_things values (1, %s, ''), (2, %s, %s)", [P2, P1, title])
    inserted = (await browser.told("change"))["payload"]
    assert inserted["new"] == {"id": 2, "project": P1, "title": title, "amount": None}
    sql.execute("update rowcast_test_things set title = null where id = 2")
    updated = (await browser.told("change"))["payload"]
    assert (updated["eventType"], updated["old"], updated["new"]["title"]) == ("UPDATE", {"id": 2}, None)


async def test_heartbeats_are_answered(browser: Browser) -> None:
    await browser.do("join", topic="room", binding=THINGS)
    await browser.ready("room")
    await browser.told("heartbeat", status="sent")
    await browser.told("heartbeat", status="ok")


async def test_a_new_token_counts_from_then_on(browser: Browser, server: Any, sql: psycopg.Connection) -> None:
    await browser.do("join", topic="room", binding=THINGS)
    await browser.ready("room")
    await browser.do("auth", token=server.sign("authenticated", sub=P1))
    await browser.ready("room")
    sql.execute("insert into rowcast_test_things values (1, %s), (2, %s)", [P2, P1])
    assert (await browser.told("change"))["payload"]["new"]["id"] == 2


async def test_leaves(browser: Browser) -> None:
    await browser.do("join", topic="room", binding=THINGS)
    await browser.ready("room")
    await browser.do("leave", topic="room")
    await browser.told("left", topic="room", status="ok")
