"""Reads the change log: the authority on what happened, and the only place where the service asks it.

Every call is one RPC to a function in ``supabase/migrations``: one statement on one snapshot, so a page's changes and
its head agree.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from postgrest import APIError

from service.changes.change import Change, FeedKey, from_record
from service.errors import DatabaseRefused, DatabaseUnavailable, NoSuchRow
from service.logs import fields
from service.tables import STANDARD, Tables
from supabase import AsyncClient

logger = logging.getLogger(__name__)

# 08: connection, 40: deadlock, 53: resources, 55P03: lock, 57P: shutdown; PGRST00x: PostgREST can't reach the database
REFUSED = re.compile(r"(?!08|40|53|55P03|57P)[0-9A-Z]{5}|(?!PGRST00)PGRST[0-9A-Z]+|[1-4][0-9]{2}")
"""The codes of errors that asking again would not help."""


@dataclass(frozen=True)
class Page:
    """Changes after a cursor, oldest first. ``reset``: the cursor is too old, or none of this database's."""

    head: int
    reset: bool
    changes: tuple[Change, ...]
    more: bool


@dataclass(frozen=True)
class Snapshot:
    """All rows of a key as of ``head``: table name to row images."""

    head: int
    rows: Mapping[str, Sequence[Mapping[str, Any]]]


class Standing:
    """How the database stands to whoever asks. That it changes is logged here, once, whoever asked."""

    def __init__(self) -> None:
        self.available = True
        self._refused: set[str] = set()  # functions that it refused when they were last called

    def does_not_answer(self, error: DatabaseUnavailable) -> None:
        if self.available:
            self.available = False
            logger.warning("the database does not answer", extra=fields(error=error))

    def _answers(self) -> None:
        if not self.available:
            self.available = True
            logger.info("the database answers again")

    def refuses(self, function: str, error: DatabaseRefused) -> None:
        self._answers()
        if function not in self._refused:
            self._refused.add(function)
            logger.error("the database refuses a function", extra=fields(function=function, error=error))

    def accepts(self, function: str) -> None:
        self._answers()
        if function in self._refused:
            self._refused.remove(function)
            logger.info("the database accepts a function again", extra=fields(function=function))


class ChangeLog:
    """The change log behind a Supabase REST interface, asked with the service key.

    Every method raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused`. Rows come out as ``tables`` has them.
    """

    def __init__(self, client: AsyncClient, standing: Standing | None = None, tables: Tables = STANDARD) -> None:
        self._client = client
        self._standing = standing or Standing()
        self._tables = tables

    def through(self, client: AsyncClient) -> "ChangeLog":
        """The same log, asked on connections of its own."""
        return ChangeLog(client, self._standing, self._tables)

    @property
    def available(self) -> bool:
        """Whether the database answered when it was last asked."""
        return self._standing.available

    async def since(self, key: FeedKey, cursor: int) -> Page:
        """The next changes of ``key`` after ``cursor``, as many as the function gives by default (1000)."""
        # Its argument `limit` can't be named here: Supabase Lite would not quote it.
        with self._asking("feed_since"):
            answer = await self._call("feed_since", {"feed": key.feed, "key": key.key, "since": cursor})
            changes = tuple(from_record(record, self._tables) for record in answer["changes"])
            return Page(int(answer["head"]), bool(answer["reset"]), changes, bool(answer["more"]))

    async def heads(self, feed: str, keys: Iterable[str]) -> dict[str, int]:
        """The newest revision of each key, or where it has none a cursor to begin from."""
        with self._asking("feed_heads"):
            answer = await self._call("feed_heads", {"feed": feed, "keys": list(keys)})
            return {key: int(head) for key, head in answer.items()}

    async def snapshot(self, key: FeedKey, function: str, argument: str) -> Snapshot:
        """Calls a feed's snapshot function with its one argument, the key."""
        with self._asking(function):
            answer = await self._call(function, {argument: key.key})
            rows = {name: self._rows(name, rows) for name, rows in answer["rows"].items()}
            return Snapshot(int(answer["head"]), rows)

    def _rows(self, name: str, rows: list[dict[str, Any]]) -> Sequence[Mapping[str, Any]]:
        table = self._tables.ours.get(name)
        return rows if table is None else [table.row(row) for row in rows]

    async def prune(self, days: float) -> int:
        """Deletes a batch of changes older than ``days`` and returns how many; call it until it returns 0."""
        with self._asking("prune_feed_changes"):
            return int(await self._call("prune_feed_changes", {"retain": f"{days} days"}))

    async def call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        """What another of the service's functions returns. It is called once. Raises :class:`NoSuchRow` too."""
        with self._asking(function):
            return await self._call(function, arguments)

    async def _call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        try:
            # Retries belong to the callers, who know how long they want to go on.
            answer = await self._client.rpc(function, dict(arguments)).execute()
        except APIError as error:
            raise _told(function, error) from error
        except (TimeoutError, httpx.HTTPError) as error:
            raise DatabaseUnavailable(f"{function}: {type(error).__name__} {error}") from error
        return answer.data

    @contextmanager
    def _asking(self, function: str) -> Iterator[None]:
        """Around a call and the reading of its answer."""
        try:
            with _readable(function):
                yield
        except DatabaseUnavailable as error:
            self._standing.does_not_answer(error)
            raise
        except DatabaseRefused as error:
            self._standing.refuses(function, error)
            raise
        self._standing.accepts(function)


@contextmanager
def _readable(function: str) -> Iterator[None]:
    """An answer of another shape comes from something in between, a proxy's page for one: asking again may help."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatabaseUnavailable(f"{function}: not an answer of the database ({error!r})") from error


def _told(function: str, error: APIError) -> DatabaseRefused | DatabaseUnavailable | NoSuchRow:
    """What PostgreSQL or PostgREST says carries an SQLSTATE or a PGRST code, what comes without JSON its HTTP status.

    Anything else was said by something in between, which has not asked them.
    """
    code = str(error.code or "")
    if code == "PT404":
        return NoSuchRow(f"{function}: {error.message}")
    message = f"{function}: {error.message}{f' ({code})' if code else ''}"
    return DatabaseRefused(message, code) if REFUSED.fullmatch(code) else DatabaseUnavailable(message)
