"""Who may listen where no table says who a project's members are: whoever the database lets read.

Each reader's rows are read as that reader, so row level security decides what of a project they see, row by row, and
nobody needs to be kept out: a project that is not theirs looks as one that is empty. What is asked here is only whether
the database takes the token, and lets its user read the tables at all.
"""

import asyncio
from collections.abc import Callable

from service.access.members import Members, Membership, Question
from service.access.rest import Rest
from service.errors import ApiError, Refused
from service.tables import Tables

PERMISSION_DENIED = "42501"


class Readers(Members):
    """As :class:`Members`; there are no organizations and no roles."""

    def __init__(self, rest: Rest, clock: Callable[[], float], tables: Tables) -> None:
        super().__init__(rest, clock)
        self._tables = list(tables.ours.values())

    async def role(self, *_: object) -> None:
        """Nobody has one."""

    async def _ask(self, question: Question, asked_at: float) -> Membership:
        token, project_id = question
        try:
            await asyncio.gather(
                *(self.ask(table.there, {"select": table.columns["id"], "limit": "0"}, token) for table in self._tables)
            )
        except Refused as error:
            if error.code == PERMISSION_DENIED:
                message = "The database does not let this user read jobs, sources and proposals."
                raise ApiError(403, "forbidden", message) from None
            raise
        return Membership(project_id, None, asked_at)
