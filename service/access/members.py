"""Asks the database whether a user may read a project: with the user's own token, so that its RLS policies decide.

A yes holds for TRUST_SECONDS, and all who ask the same at once share one question: a thousand tabs that reconnect
together are one query. A no is never kept. What happened to a project's members ends all trust in earlier answers.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from service.access.rest import Rest
from service.access.tokens import Principal
from service.errors import ApiError, DatabaseUnavailable, LimitReached, Refused, not_found

TRUST_SECONDS = 5.0
TRUSTED_LIMIT = 10_000
QUESTIONS_AT_ONCE = 32
"""With one token: more is somebody who asks for one project after the other, at the cost of all who wait behind."""

NO_SUCH_COLUMN = "42703"

Question = tuple[str, str]
"""A token and a project's id."""


@dataclass(frozen=True)
class Membership:
    """The database's yes. ``asked_at`` is in monotonic seconds: what changed later it does not know."""

    project_id: str
    organization_id: str | None
    asked_at: float


class Members:
    """``rest`` has the publishable key: the right to read is the user's alone. ``clock`` gives monotonic seconds."""

    def __init__(self, rest: Rest, clock: Callable[[], float]) -> None:
        self._rest = rest
        self._clock = clock
        self._trusted: dict[Question, Membership] = {}  # oldest first
        self._columns = "id,organization_id"
        self._under_way: Counter[str] = Counter()
        self._asking: dict[Question, tuple[float, asyncio.Task[Membership]]] = {}  # since when

    async def require(self, principal: Principal, project_id: str, since: float = float("-inf")) -> Membership:
        """The user's right to read the project, whose id is in canonical form, by an answer no older than ``since``.

        Raises :class:`ApiError` 404 when it does not exist or is not theirs, 401 when the database refuses the token,
        429 for too many questions with one token at once;
        :class:`DatabaseUnavailable` when it can't be asked, :class:`DatabaseRefused` when it refuses the service.
        """
        question = (principal.token, project_id)
        trusted = self._trusted.get(question)
        now = self._clock()
        if trusted is not None and trusted.asked_at >= max(since, now - TRUST_SECONDS):
            return trusted
        asked_at, asking = self._asking.get(question, (now, None))
        if asking is None or asked_at < since:
            asking = asyncio.get_running_loop().create_task(self._ask(question, now))
            self._asking[question] = now, asking
            asking.add_done_callback(lambda task: self._asked(question, task))
        return await asyncio.shield(asking)

    def forget(self, project_id: str) -> None:
        """Trusts no answer about the project any more, nor one that is on its way."""
        for kept in (self._trusted, self._asking):
            for question in [question for question in kept if question[1] == project_id]:
                del kept[question]

    async def role(self, principal: Principal, project_id: str) -> str | None:
        """The user's role in the project, as it is now: owner, editor, viewer, or None when there is none to be seen.

        Raises what :meth:`require` raises but for the 404.
        """
        said = await self.ask(
            "project_members",
            {"project_id": f"eq.{project_id}", "user_id": f"eq.{principal.user_id}", "select": "role"},
            principal.token,
        )
        match said:
            case [{"role": str(role)}]:
                return role
            case []:
                return None
        raise DatabaseUnavailable(f"project_members: not an answer of the database ({str(said)[:200]})")

    def _asked(self, question: Question, task: asyncio.Task[Membership]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if self._asking.get(question, (0.0, None))[1] is not task:
            return  # forgotten, or asked again, meanwhile
        del self._asking[question]
        if failed:
            return
        self._trusted.pop(question, None)
        self._trusted[question] = task.result()
        stale = self._clock() - TRUST_SECONDS
        # Also the one just taken in, when it took so long to come.
        while self._trusted and (
            len(self._trusted) > TRUSTED_LIMIT or next(iter(self._trusted.values())).asked_at < stale
        ):
            del self._trusted[next(iter(self._trusted))]

    async def _ask(self, question: Question, asked_at: float) -> Membership:
        token, project_id = question
        said = await self._project(project_id, token)
        match said:
            # Not just anything: only the row itself lets somebody in.
            case [{"id": str(id_), "organization_id": str() | int() | None as organization_id}] if id_ == project_id:
                # A number in a database that was there before rowcast
                return Membership(project_id, None if organization_id is None else str(organization_id), asked_at)
            case [{"id": str(id_)}] if id_ == project_id and self._columns == "id":
                return Membership(project_id, None, asked_at)
            case []:
                raise not_found("project")
        raise DatabaseUnavailable(f"projects: not an answer of the database ({str(said)[:200]})")

    async def _project(self, project_id: str, token: str) -> object:
        try:
            return await self.ask("projects", {"id": f"eq.{project_id}", "select": self._columns}, token)
        except Refused as error:
            if error.code != NO_SUCH_COLUMN or self._columns == "id":
                raise
            self._columns = "id"  # the projects of a database that was there before rowcast
            return await self._project(project_id, token)

    async def ask(self, table: str, parameters: dict[str, str], token: str) -> object:
        """What a table shows the user whose token it is. Raises as :meth:`require`, but for the 404."""
        if self._under_way[token] >= QUESTIONS_AT_ONCE:
            message = "Too many questions with this token are under way."
            raise LimitReached("questions", 429, "rate_limited", message, retry_after=1)
        self._under_way[token] += 1
        try:
            return await self._rest.ask("GET", table, parameters, bearer=token)
        except Refused as error:
            # A 401 without PostgREST's code is the gateway's: it does not know the publishable key.
            if error.status == httpx.codes.UNAUTHORIZED and error.code:
                raise ApiError(401, "invalid_token", "The database does not accept the access token.") from None
            raise
        finally:
            self._under_way[token] -= 1
            if not self._under_way[token]:
                del self._under_way[token]
