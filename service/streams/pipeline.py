"""Pipelines over Server-Sent Events: of one job, or of all of a project's that are under way.

Their source is the project's topic. Nothing here has an id and nothing is resumed: each message is the whole of what a
job's pipeline is, so a page that comes back is told how things are.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Any

from quart import Blueprint, Response, request

from service.access.gate import Admission
from service.backoff import delays
from service.changes.change import FeedKey
from service.errors import ApiError, DatabaseRefused, DatabaseUnavailable
from service.events.endings import Ending
from service.events.model import Message, Reauth
from service.events.pipeline import ACTIVE, ending, missing, progress
from service.events.project import JOBS
from service.events.wire import Encoded, encode
from service.feeds.hub import Hub, Topic
from service.feeds.throttle import Throttle
from service.feeds.viewer import Viewer
from service.logs import fields
from service.streams import asked, frames, opening
from service.streams.services import Services
from service.streams.session import REAUTH_SECONDS, RETRY_MILLISECONDS, expiry, lacking
from service.streams.sse import JOIN_SECONDS

INTERVAL_SECONDS = 0.5
"""A job's pipeline is told at most so often."""

logger = logging.getLogger(__name__)


class Board:
    """What a stream tells of its jobs: of ``job_id``, or of all that are active. ``staff``: also of staff's jobs."""

    def __init__(self, job_id: str | None, *, staff: bool) -> None:
        self._job_id = job_id
        self._staff = staff
        self._throttle: Throttle[str, Encoded] = Throttle(INTERVAL_SECONDS)
        self._watched: set[str] = set()  # told of, and not ended
        self._ready: list[Encoded] = []
        self.has_ended = False

    def jobs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """All of the project's jobs, as they are now."""
        there = {row["id"] for row in rows}
        wanted = self._watched if self._job_id is None else {self._job_id}
        for job_id in sorted(wanted - there):
            self.gone(job_id)
        for row in rows:
            self.job(row)

    def job(self, row: Mapping[str, Any]) -> None:
        """A job as it is now."""
        job_id = row["id"]
        if self._job_id not in (None, job_id):
            return
        if row["staff"] and not self._staff:
            self.gone(job_id)
            return
        several = self._job_id is None
        if several and row["status"] not in ACTIVE and job_id not in self._watched:
            return
        self._watched.add(job_id)
        self._throttle.put(job_id, encode(progress(row, several=several)))
        if (end := ending(row, several=several)) is not None:
            self._end(job_id, end)

    def gone(self, job_id: str) -> None:
        """A job was deleted, moved, or hidden."""
        if job_id in self._watched or job_id == self._job_id:
            self._throttle.end(job_id)
            self._end(job_id, missing(job_id))

    def _end(self, job_id: str, message: Message) -> None:
        last = self._throttle.end(job_id)
        self._ready += [encode(message)] if last is None else [last, encode(message)]
        self._watched.discard(job_id)
        self.has_ended = self._job_id is not None

    def take(self, now: float) -> list[Encoded]:
        """What is due to be told."""
        due, self._ready = [*self._ready, *self._throttle.take(now)], []
        return due

    def due_at(self) -> float:
        """When something is due, if nothing happens."""
        return self._throttle.due_at()


class PipelineSession:
    """One stream; see :class:`service.streams.opening.Opened`. ``max_age`` and ``keepalive_seconds`` are in s."""

    def __init__(
        self,
        hub: Hub,
        key: FeedKey,
        board: Board,
        expires_at: float,
        max_age: float,
        keepalive_seconds: float,
        random: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._key = key
        self._board = board
        self._expires_at = expires_at
        self._max_age = max_age
        self._keepalive_seconds = keepalive_seconds
        self._random = random
        self._viewer: Viewer | None = None
        self._ending: Ending | None = None
        self._writer = frames.event_writer(True, None)
        self.id = secrets.token_hex(4)

    def end(self, ending: Ending) -> None:
        """Ends the stream, or sees to it that it ends as soon as it begins."""
        self._ending = ending
        if self._viewer is not None:
            self._viewer.end(ending)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            topic = await self._hub.topic(self._key)
        except (DatabaseUnavailable, DatabaseRefused) as error:
            logger.info("stream ended", extra=self._fields(reason="error", error=error))
            yield self._frame(Ending.ERROR.message)
            return
        viewer = self._viewer = self._hub.attach(topic, None)
        viewer.live = lacking(topic)
        if self._ending is not None:
            viewer.end(self._ending)
        try:
            low, high = RETRY_MILLISECONDS
            yield frames.retry(round(low + self._random() * (high - low)))
            async for chunk in self._live(topic, viewer):
                yield chunk
            if self._board.has_ended:
                viewer.end(Ending.COMPLETED)
            elif viewer.ending is not None:
                yield self._frame(viewer.ending.message)
        except Exception as error:
            logger.exception("a stream failed", extra=self._fields(error=error))
            viewer.end(Ending.ERROR)
            yield self._frame(Ending.ERROR.message)
        finally:
            self._hub.detach(topic, viewer)
            reason = viewer.ending.reason if viewer.ending else "gone"
            logger.info("stream ended", extra=self._fields(reason=reason))

    async def _live(self, topic: Topic, viewer: Viewer) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        retires = loop.time() + self._max_age
        keepalive = loop.time() + self._keepalive_seconds
        waits = delays(self._random)
        is_warned = False
        read_at: float | None = loop.time()  # when the database is asked (again); until then nothing is told
        while not self._is_denied(viewer):
            now = loop.time()
            if viewer.reset is not None:
                viewer.reset = None
                read_at = now
            if read_at is not None and now >= read_at:
                try:
                    state = await topic.past.state()
                except DatabaseUnavailable:
                    read_at = loop.time() + next(waits)
                    continue
                read_at, waits = None, delays(self._random)
                viewer.outbox.skip_to(state.head)
                self._board.jobs(state.rows[JOBS])
            elif viewer.live is not None:
                live, viewer.live = viewer.live, None
                yield self._frame(live)
            elif read_at is None and viewer.has_news:
                self._hear(viewer)
            elif told := self._board.take(now):
                yield self._written(told)
            elif self._board.has_ended or viewer.ending is not None:
                return
            elif now >= retires:
                viewer.end(Ending.SHUTDOWN)
                continue
            elif not is_warned and now >= expiry(self._expires_at, time.time(), now) - REAUTH_SECONDS:
                is_warned = True
                yield self._frame(Reauth.before(self._expires_at))
            elif now >= keepalive:
                yield frames.keepalive()
            else:
                expires = expiry(self._expires_at, time.time(), now) - (0.0 if is_warned else REAUTH_SECONDS)
                until = min(keepalive, retires, expires, self._board.due_at())
                await viewer.wait(until if read_at is None else min(until, read_at))
                continue
            keepalive = loop.time() + self._keepalive_seconds

    def _hear(self, viewer: Viewer) -> None:
        batch, viewer.batch = viewer.batch, None
        told = batch.deliveries if batch is not None else [delivery for delivery, _ in viewer.outbox.take()]
        for change in (delivery.change for delivery in told if delivery.change.table == JOBS):
            if change.row is None:
                self._board.gone(change.row_id)
            else:
                self._board.job(change.row)

    def _is_denied(self, viewer: Viewer) -> bool:
        if time.time() >= self._expires_at:
            viewer.end(Ending.TOKEN_EXPIRED)
        return viewer.ending is not None and viewer.ending.denies

    def _written(self, told: Iterable[Encoded]) -> bytes:
        written = [self._writer.frame(one) for one in told]
        self._hub.metrics.deliveries.counts[self._key.feed] += len(written)
        return b"".join(written)

    def _frame(self, message: Message) -> bytes:
        return self._writer.frame(encode(message))

    def _fields(self, **named: object) -> dict[str, dict[str, object]]:
        return fields(stream=self.id, **self._key.named(), **named)


def add_routes(routes: Blueprint, services: Callable[[], Services]) -> None:
    """``services`` gives the running services."""

    @routes.get("/api/v1/admin/ingestion/jobs/<job_id>/progress")
    async def one_job(job_id: str) -> Response:
        with_ = services()
        principal = await opening.identified(with_)
        try:
            key = asked.uuid("job_id", job_id)
            admission = await with_.gate.enter_by(principal, "jobs", key)
        except ApiError as error:
            if error.status not in (400, 404):
                raise
            body = frames.event_writer(True, None).frame(encode(missing(job_id)))
            return Response(body, headers=opening.STREAM_HEADERS)
        return await _open(with_, admission, key)

    @routes.get("/api/v1/admin/ingestion/jobs/progress")
    async def all_jobs() -> Response:
        with_ = services()
        project_id = asked.uuid("project_id", request.args.get("project_id", ""))
        principal = await opening.identified(with_)
        return await _open(with_, await with_.gate.enter(principal, project_id), None)


async def _open(services: Services, admission: Admission, job_id: str | None) -> Response:
    key = opening.feed_key(services, opening.MEMBERS_FEED, admission.project_id, admission)
    await services.hub.topic(key, JOIN_SECONDS)
    principal = admission.principal
    board = Board(job_id, staff=principal.is_operator)
    age = opening.max_age(services)
    session = PipelineSession(
        services.hub, key, board, principal.expires_at, age, services.keepalive_seconds, services.random
    )
    return opening.answer(services, admission, session)
