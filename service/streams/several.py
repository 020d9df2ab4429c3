"""A stream of several keys as Server-Sent Events: every message says whose it is, every id how far all of them are.

As long as it is not known of each key where it stands (a stream that begins, or awaits its snapshots), no message
carries an id: a page that is cut there begins anew, and misses nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from service.events.endings import Ending
from service.events.feed import Feed
from service.events.wire import Encoded
from service.feeds.cursor import join
from service.streams import frames
from service.streams.merged import Merged, Part

QUIET = 0.9
"""Of the keepalive time: each key has a keepalive of its own, and of those that come together one is enough."""


def keyed(feed: Feed, key: str | None, encoded: Encoded) -> bytes:
    """A message of the feed that says of which key it is, None if it is the whole stream's."""
    if key is None or encoded.type in feed.tells_key:
        return encoded.data
    return frames.named_too(encoded.data, b'"%s":"%s"' % (feed.key_name.encode(), key.encode()))


class Several:
    """``merged`` as the bytes of one stream; ``id`` names it in the log and to its page.

    ``keys`` are in the order asked, ``cursors`` where the page was with each, None when it comes for the first time.
    ``named`` says whether events are named by their type. Durations are in ms and s.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - what it is
        merged: Merged,
        feed: Feed,
        keys: Sequence[str],
        cursors: Sequence[int] | None,
        *,
        named: bool,
        retry_milliseconds: int,
        keepalive_seconds: float,
    ) -> None:
        self.id = id
        self._merged = merged
        self._feed = feed
        self._at: dict[str, int | None] = dict.fromkeys(keys)
        if cursors is not None:
            self._at.update(zip(keys, cursors, strict=True))
        self._named = named
        self._retry_milliseconds = retry_milliseconds
        self._quiet_seconds = keepalive_seconds * QUIET

    def end(self, ending: Ending) -> None:
        """Ends the whole stream."""
        self._merged.end(ending)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        yield frames.retry(self._retry_milliseconds)
        spoke_at = loop.time()
        async with aclosing(self._merged.flow()) as flow:
            async for parts in flow:
                is_quiet = loop.time() - spoke_at >= self._quiet_seconds
                written = b"".join(self._frame(part, is_quiet=is_quiet) for part in parts)
                if written:
                    yield written
                    spoke_at = loop.time()

    def _frame(self, part: Part, *, is_quiet: bool) -> bytes:
        if part.id is not None and part.key is not None:
            self._at[part.key] = part.id
        if part.encoded is None:
            return frames.keepalive(self._id()) if is_quiet else b""
        data = keyed(self._feed, part.key, part.encoded)
        event = part.encoded.type if self._named else None
        return frames.message(data, event=event, id=None if part.id is None else self._id())

    def _id(self) -> str | None:
        told = [revision for revision in self._at.values() if revision is not None]
        return join(told) if len(told) == len(self._at) else None
