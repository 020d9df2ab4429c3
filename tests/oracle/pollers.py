"""Pages that poll instead of streaming: ``GET …/snapshot``, then ``?since=`` what they have, with the same reducer."""

import asyncio
import random
from typing import Any

import httpx

from tests.oracle import project
from tests.oracle.pages import Page, Seen
from tests.oracle.stage import Stage, User
from tests.oracle.truth import Truth
from tests.oracle.verdict import Complaints


class Poller(Page):
    """One page that polls. It asks another process each time, and some of its answers never reach it."""

    def __init__(
        self, name: str, key: str, user: User, stage: Stage, random_: random.Random, complaints: Complaints, seen: Seen
    ) -> None:
        super().__init__(name, key, user, stage, random_, complaints, seen)
        self.state = project.State()
        self.kinds = frozenset(project.SHAPES)
        self._etag = ""

    async def run(self) -> None:
        while True:
            try:
                await self._poll()
            except httpx.HTTPError as error:
                self.note(type(error).__name__)
            except (ValueError, KeyError) as error:
                self.complain("misordered", f"can't be read: {error!r}")
            await asyncio.sleep(self._random.uniform(0.2, 1.0 if self.is_calm else 3.0))

    async def _poll(self) -> None:
        service = self._random.choice(self._stage.services)
        headers = {"Authorization": f"Bearer {self._user.token(60)}"}
        if self._etag:
            headers["If-None-Match"] = self._etag
        query = {} if self.last is None else {"since": str(self.last)}
        self._seen.connections += 1
        url = f"{service.url}{project.snapshot_path(self.key)}"
        answer = await self._stage.http.get(url, params=query, headers=headers)
        if not self.is_calm and self._random.random() < 0.1:
            return  # it was lost on the way
        self.note(f"{service.name} since {self.last}: {answer.status_code}")
        if answer.status_code == httpx.codes.OK:
            self._read(answer.json())
            self._etag = answer.headers["ETag"]
        elif answer.status_code != httpx.codes.NOT_MODIFIED:
            self.refused(answer.status_code)

    def lacks(self, truth: Truth) -> list[str]:
        return project.lacks(self.state.rows, truth.rows[self.key], self.kinds) or self.is_behind(truth.heads[self.key])

    def _read(self, body: dict[str, Any]) -> None:
        revision = body["revision"]
        if "events" not in body:
            self.state.apply({"type": "snapshot", "part": 1, "last": True} | body)
        elif self.last is None:
            self.complain("misordered", f"events without being asked for them: {revision}")
        else:
            if revision < self.last and not body["reset"]:
                self.complain("misordered", f"had {self.last}, got {revision}")
            for message in body["events"]:
                self._seen.deliveries += 1
                if message["type"] != "reset":
                    self.state.apply(message)
        self.last, self.knows_all, self.is_live = revision, True, body["live"]
