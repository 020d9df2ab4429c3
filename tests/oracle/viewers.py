"""Pages of a project: streams whose messages are reduced to a state."""

import random

from tests.oracle import project
from tests.oracle.pages import Seen
from tests.oracle.stage import Stage, User
from tests.oracle.streams import Message, Stream
from tests.oracle.truth import Truth
from tests.oracle.verdict import Complaints

SOME_KINDS = (frozenset({"proposals"}), frozenset({"sources"}), frozenset({"jobs", "progress"}))


class Viewer(Stream):
    """``kinds`` are the rows whose changes it asks for with ``?types=``."""

    def __init__(
        self, name: str, key: str, user: User, stage: Stage, random_: random.Random, complaints: Complaints, seen: Seen
    ) -> None:
        super().__init__(name, key, user, stage, random_, complaints, seen)
        self.path, self.tickets_path = project.stream_path(key), project.tickets_path(key)
        self.is_named = random_.random() < 0.25
        self.kinds = random_.choice(SOME_KINDS) if random_.random() < 0.25 else frozenset(project.SHAPES)
        self.query = {"events": "named"} if self.is_named else {}
        if len(self.kinds) < len(project.SHAPES):
            types = (type_ for type_, kind in project.KINDS_OF_TYPES.items() if kind in self.kinds)
            self.query = {**self.query, "types": ",".join(types)}
        self.state = project.State()
        self._part = 0

    def forget(self) -> None:
        self.state = project.State()

    def greet(self, message: Message) -> None:
        self._part = 0
        self.is_live = message["live"]
        resumed = self.last is not None
        if message["resumed"] is not resumed or (resumed and message["revision"] != self.last):
            self.complain("misordered", f"came back with {self.last}, greeted with {message}")

    def snapshot(self, message: Message, *, carries_id: bool) -> bool:
        self._part = 1 if message["part"] == 1 else self._part + 1
        if message["part"] != self._part or carries_id is not message["last"]:
            self.complain("misordered", f"part {message['part']} of a snapshot, {carries_id=}, should be {self._part}")
        self.state.apply(message)
        return bool(message["last"])

    def news(self, type_: str, message: Message, id_: int | None) -> None:
        if project.KINDS_OF_TYPES[type_] not in self.kinds:
            self.complain("misordered", f"{type_}, which was not asked for")
        self.state.apply(message)

    def lacks(self, truth: Truth) -> list[str]:
        return project.lacks(self.state.rows, truth.rows[self.key], self.kinds) or self.is_behind(truth.heads[self.key])
