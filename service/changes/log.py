"""Reads the change log: the authority on what happened, and the only place where the service asks it.

Every call is one RPC to a function in ``supabase/migrations``: one statement on one snapshot, so a page's changes and
its head agree.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from postgrest import APIError

from service.changes.change import Change, FeedKey, from_record
from service.errors import DatabaseRefused, DatabaseUnavailable
from supabase import AsyncClient


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
    rows: dict[str, list[dict[str, Any]]]


class ChangeLog:
    """The change log behind a Supabase REST interface, asked with the service key.

    Every method raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused`.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def since(self, key: FeedKey, cursor: int) -> Page:
        """The next changes of ``key`` after ``cursor``, as many as the function gives by default (1000)."""
        # Its argument `limit` can't be named here: Supabase Lite would not quote it.
        answer = await self._call("feed_since", {"feed": key.feed, "key": key.key, "since": cursor})
        with _readable("feed_since"):
            changes = tuple(from_record(record) for record in answer["changes"])
            return Page(int(answer["head"]), bool(answer["reset"]), changes, bool(answer["more"]))

    async def heads(self, feed: str, keys: Iterable[str]) -> dict[str, int]:
        """The newest revision of each key, or where it has none a cursor to begin from."""
        answer = await self._call("feed_heads", {"feed": feed, "keys": list(keys)})
        with _readable("feed_heads"):
            return {key: int(head) for key, head in answer.items()}

    async def snapshot(self, function: str, argument: str, key: str) -> Snapshot:
        """Calls a feed's snapshot function with its one argument."""
        answer = await self._call(function, {argument: key})
        with _readable(function):
            return Snapshot(int(answer["head"]), dict(answer["rows"]))

    async def prune(self, days: float) -> int:
        """Deletes a batch of changes older than ``days`` and returns how many; call it until it returns 0."""
        answer = await self._call("prune_feed_changes", {"retain": f"{days} days"})
        with _readable("prune_feed_changes"):
            return int(answer)

    async def _call(self, function: str, arguments: dict[str, Any]) -> Any:
        try:
            # Retries belong to the callers, who know how long they want to go on.
            answer = await self._client.rpc(function, arguments).execute()
        except APIError as error:
            raise _told(function, error) from error
        except (TimeoutError, httpx.HTTPError) as error:
            raise DatabaseUnavailable(f"{function}: {type(error).__name__} {error}") from error
        return answer.data


@contextmanager
def _readable(function: str) -> Iterator[None]:
    """An answer of another shape comes from something in between, a proxy's page for one: asking again may help."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatabaseUnavailable(f"{function}: not an answer of the database ({error!r})") from error


def _told(function: str, error: APIError) -> DatabaseRefused | DatabaseUnavailable:
    """A PostgREST error carries an SQLSTATE or a PGRST code; an HTTP status there means no JSON answer came at all."""
    code = str(error.code or "")
    message = f"{function}: {error.message} ({code})"
    # 08: connection, 53: resources, 57P: shutdown; PGRST00x: PostgREST can't reach the database
    if code.startswith(("08", "53", "57P", "PGRST00")) or (len(code) == 3 and code.startswith("5")):
        return DatabaseUnavailable(message)
    return DatabaseRefused(message)
