"""Pages of a BOM: streams of append-only events, each of which must come exactly once, and an end that is final."""

import random

from tests.oracle.pages import Seen
from tests.oracle.stage import Stage, User
from tests.oracle.streams import Message, Stream
from tests.oracle.truth import Truth
from tests.oracle.verdict import Complaints

FINAL = "enrichment.completed"


class BomViewer(Stream):
    """``key`` is a BOM. It has all events after ``since``, where its newest snapshot was taken."""

    def __init__(
        self, name: str, key: str, user: User, stage: Stage, random_: random.Random, complaints: Complaints, seen: Seen
    ) -> None:
        super().__init__(name, key, user, stage, random_, complaints, seen)
        self.path = f"/api/enrichment/stream/{key}"
        self.query, self.is_named = {}, True
        self.tickets_path = f"/api/projects/{stage.boms[key]}/stream-tickets"
        self.since = 0
        self.told: dict[str, int | None] = {}
        """By event_id, the id that its message carried."""
        self.is_over = False
        """The BOM's final event came, and with it the end."""
        self._on_this_connection: set[str] = set()

    def forget(self) -> None:
        self.told = {}

    def greet(self, message: Message) -> None:
        self._on_this_connection = set()
        self.is_live = True  # or else `live` says so when it changes
        if message["bom_id"] != self.key or "status" not in message["state"]:
            self.complain("misordered", f"greeted with {message}")

    def snapshot(self, message: Message, *, carries_id: bool) -> bool:
        if not carries_id or "status" not in message["state"]:
            self.complain("misordered", f"a snapshot with {carries_id=}: {message}")
        self.since = message["revision"]
        self.told = {}
        return True

    def news(self, type_: str, message: Message, id_: int | None) -> None:
        event_id = message["event_id"]
        if event_id in self._on_this_connection:
            self.complain("misordered", f"{type_} {event_id} twice on one connection")
        self._on_this_connection.add(event_id)
        if (":" in event_id) is not type_.startswith("enrichment.component."):
            self.complain("misordered", f"{type_} has event_id {event_id}")
        self.told[event_id] = id_ or self.told.get(event_id)

    def end(self, message: Message) -> None:
        if message["reason"] == FINAL and not message["reconnect"]:
            self.is_over = True
        else:
            super().end(message)

    def nothing_more(self) -> None:
        self.is_done = self.is_over
        if not self.is_over:
            super().nothing_more()

    def lacks(self, truth: Truth) -> list[str]:
        wanted: dict[str, int | None] = {}
        for event in truth.events[self.key]:
            if event.revision > self.since:
                wanted |= {f"{event.id}:{number}": None for number in range(1, event.messages)}
                wanted[event.id] = event.revision
        told = self.told
        missing = [f"{event_id} is missing" for event_id in wanted if event_id not in told]
        strange = [f"{event_id} is none of the BOM's since {self.since}" for event_id in told if event_id not in wanted]
        wrong = [
            f"{event_id} came with id {told[event_id]}, not {id_}"
            for event_id, id_ in wanted.items()
            if event_id in told and told[event_id] != id_
        ]
        return missing + strange + wrong or self.is_behind(truth.bom_heads[self.key])
