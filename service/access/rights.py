"""Whether those who listen still may: the right of each open stream, asked again and again.

The database is the judge, asked with the stream's own token, so that a deployer's policies count. It is asked

- every ASK_SECONDS, once for all streams of the same token and project, or BOM;
- at once, when something has happened to the project's members that may concern the user, or to the BOM;
- soon, for a right older than this process's knowledge of the project: what happened to its members between the
  question that let the stream in and the first stream here, nobody has told.

A no ends the streams. No answer is no no: while the database is down nobody is removed either, and there is little to
tell. But it may be what stands before it, so a right that nobody could confirm for UNCONFIRMED_SECONDS lapses as well;
pages come back when there is an answer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from enum import Enum, auto
from types import TracebackType
from typing import Final

from service.access.gate import Admission
from service.access.rest import Rest
from service.errors import ApiError, DatabaseRefused, DatabaseUnavailable, LimitReached
from service.logs import fields

ASK_SECONDS = 60.0
SOON_SECONDS = 0.5
PAUSE_SECONDS = 5.0
"""After a question without an answer: how long none is asked that only time asks for."""
UNCONFIRMED_SECONDS = 300.0
LOOK_SECONDS = 0.5
ASKED_AT_ONCE = 8
"""Of the questions that only time asks for; those with a reason don't wait for each other."""

logger = logging.getLogger(__name__)


class Lapse(Enum):
    """Why a right has ended. A token that the database refuses is not the end of the user's right: another may do."""

    REVOKED = auto()
    TOKEN_REFUSED = auto()
    UNCONFIRMED = auto()


Lapsed = Callable[[Lapse], None]


class _Right:
    """A token and a project, or BOM, and who is to be told when it lapses."""

    def __init__(self, admission: Admission, due_at: float) -> None:
        self.admission: Final = admission
        self.confirmed_at = admission.asked_at
        self.due_at = due_at
        self.held_by: list[Lapsed] = []
        self.has_lapsed = False
        self.waits = False  # for its turn to be asked about
        self.is_asked = False  # a question is out
        self.ask_again = False  # something has happened since it went out


class _Project:
    """A project with open streams. ``changed_at`` is when its members last changed, or it began to be followed."""

    def __init__(self, now: float) -> None:
        self.changed_at = now
        self.rights: dict[tuple[str, str | None], _Right] = {}  # by token and BOM
        self.is_listed = False  # its list of members is being read
        self.list_again = False


class Rights:
    """``confirm`` asks anew (:meth:`Gate.confirm`), ``forget`` drops older answers about a project.

    ``rest`` has the secret key; ``clock`` gives monotonic seconds, ``random`` numbers from 0 to 1. ``count`` is told
    what each question brought: confirmed, revoked, token_refused or unavailable. While a right is held,
    :meth:`members_changed` must be told what happens to its project's members, and :meth:`bom_changed` to its BOM.
    """

    def __init__(
        self,
        confirm: Callable[[Admission, float], Awaitable[float]],
        forget: Callable[[str], None],
        rest: Rest,
        clock: Callable[[], float],
        random: Callable[[], float],
        count: Callable[[str], None],
    ) -> None:
        self._confirm = confirm
        self._forget = forget
        self._rest = rest
        self._clock = clock
        self._random = random
        self._count = count
        self._projects: dict[str, _Project] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(ASKED_AT_ONCE)
        self._paused_until = float("-inf")

    def hold(self, admission: Admission, lapsed: Lapsed) -> "Hold":
        """Watches a user's right for as long as the context is open.

        ``lapsed`` is called once at most, and may not raise.
        """
        return Hold(self, self._right(admission), lapsed)

    def members_changed(self, project_id: str, user_ids: Collection[str] | None) -> None:
        """Something has happened to these members of a project; None: nobody knows to which."""
        self._forget(project_id)
        project = self._projects.get(project_id)
        if project is None:
            return
        project.changed_at = self._clock()
        if user_ids is None:
            self._find_removed(project_id, project)
        else:
            for right in list(project.rights.values()):
                if right.admission.principal.user_id in user_ids:
                    self._ask_now(right)

    def bom_changed(self, bom_id: str) -> None:
        """Something has happened to a BOM that may change who sees it."""
        for project in list(self._projects.values()):
            for right in list(project.rights.values()):
                if right.admission.bom_id == bom_id:
                    self._ask_now(right)

    async def keep_asking(self) -> None:
        """Asks for ever what is due, and ends what nobody has confirmed for too long."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """One round of :meth:`keep_asking`."""
        now = self._clock()
        # One comparison for each: there may be ten thousand.
        due = [right for project in self._projects.values() for right in project.rights.values() if right.due_at <= now]
        for right in due:
            if now - right.confirmed_at >= UNCONFIRMED_SECONDS:
                self._lapse(right, Lapse.UNCONFIRMED)
            elif now >= self._paused_until and not (right.waits or right.is_asked):
                right.waits = True
                self._spawn(self._ask_in_turn(right))

    async def close(self) -> None:
        """Ends the questions under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Rights

    def _right(self, admission: Admission) -> _Right:
        now = self._clock()
        project = self._projects.get(admission.project_id)
        if project is None:
            project = self._projects[admission.project_id] = _Project(now)
        right = project.rights.get(_key(admission))
        if right is None:
            due_at = admission.asked_at + ASK_SECONDS * (0.5 + 0.5 * self._random())  # who came together is spread
            right = project.rights[_key(admission)] = _Right(admission, due_at)
        if admission.asked_at <= project.changed_at and right.confirmed_at <= project.changed_at:
            right.due_at = min(right.due_at, now + self._random() * SOON_SECONDS)
        return right

    def let_go(self, right: "_Right", lapsed: Lapsed) -> None:
        """Ends one :meth:`hold`."""
        right.held_by.remove(lapsed)
        if not right.held_by:
            self._drop(right)

    def _drop(self, right: _Right) -> None:
        key, project_id = _key(right.admission), right.admission.project_id
        project = self._projects.get(project_id)
        if project is None or project.rights.get(key) is not right:
            return
        del project.rights[key]
        if not project.rights:
            del self._projects[project_id]

    def _lapse(self, right: _Right, lapse: Lapse) -> None:
        self._drop(right)  # whoever comes with this token from now on has asked anew
        if not right.has_lapsed:
            right.has_lapsed = True
            for lapsed in right.held_by:
                lapsed(lapse)

    # Questions

    def _ask_now(self, right: _Right) -> None:
        if right.is_asked:
            right.ask_again = True
        else:
            right.is_asked = True
            self._spawn(self._ask(right))

    async def _ask_in_turn(self, right: _Right) -> None:
        async with self._turns:
            right.waits = False
            if not right.is_asked and self._clock() >= max(right.due_at, self._paused_until):
                right.is_asked = True
                await self._ask(right)

    async def _ask(self, right: _Right) -> None:
        try:
            right.ask_again = True
            while right.ask_again and right.held_by and not right.has_lapsed:
                right.ask_again = False
                await self._answer(right)
        finally:
            right.is_asked = False

    async def _answer(self, right: _Right) -> None:
        try:
            asked_at = await self._confirm(right.admission, self._clock())
        except (DatabaseUnavailable, DatabaseRefused, LimitReached):
            self._count("unavailable")
            right.due_at = min(right.due_at, self._clock())  # what asked for it, if not time, is not told again
            self._paused_until = self._clock() + PAUSE_SECONDS * (0.5 + 0.5 * self._random())
        except ApiError as error:
            lapse = Lapse.TOKEN_REFUSED if error.status == 401 else Lapse.REVOKED
            self._count(lapse.name.lower())
            self._lapse(right, lapse)
        else:
            self._count("confirmed")
            right.confirmed_at = asked_at
            right.due_at = self._clock() + ASK_SECONDS * (0.9 + 0.1 * self._random())

    def _find_removed(self, project_id: str, project: _Project) -> None:
        if project.is_listed:
            project.list_again = True
        else:
            project.is_listed = True
            self._spawn(self._ask_for_the_unlisted(project_id, project))

    async def _ask_for_the_unlisted(self, project_id: str, project: _Project) -> None:
        """A removal does not say whom: asks for those who are on the list of members no longer, or were never.

        The list spares the database a question for each of a thousand others. It decides nothing.
        """
        try:
            project.list_again = True
            while project.list_again:
                project.list_again = False
                listed = await self._listed(project_id)
                for right in list(project.rights.values()):
                    if right.admission.principal.user_id not in listed:
                        self._ask_now(right)
        finally:
            project.is_listed = False

    async def _listed(self, project_id: str) -> Collection[str]:
        try:
            rows = await self._rest.ask(
                "GET", "project_members", {"project_id": f"eq.{project_id}", "select": "user_id"}
            )
            return {str(row["user_id"]) for row in rows}
        except (DatabaseUnavailable, DatabaseRefused, TypeError, KeyError) as error:
            extra = fields(feed="project", key=project_id, error=error)
            logger.warning("the members of a project can't be listed, all who listen are asked for", extra=extra)
            return ()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("asking for a right failed", exc_info=error)


class Hold:
    """A context in which a right is watched. No generator: each open stream has one."""

    __slots__ = ("_lapsed", "_right", "_rights")

    def __init__(self, rights: Rights, right: _Right, lapsed: Lapsed) -> None:
        self._rights = rights
        self._right = right
        self._lapsed = lapsed
        right.held_by.append(lapsed)

    def __enter__(self) -> None:
        """Nothing to do: it is watched."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rights.let_go(self._right, self._lapsed)


def _key(admission: Admission) -> tuple[str, str | None]:
    return admission.principal.token, admission.bom_id
