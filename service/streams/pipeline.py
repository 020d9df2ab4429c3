"""Pipelines over Server-Sent Events: of one job, or of all of a project's that are under way.

Their source is the project's topic. Nothing here has an id and nothing is resumed: each message is the whole of what a
job's pipeline is, so a page that comes back is told how things are.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Any

from quart import Blueprint, Response, request

from service.access.gate import Admission
from service.backoff import delays
from service.changes.change import FeedKey
from service.errors import ApiError, DatabaseUnavailable
from service.events.endings import Ending
from service.events.model import Message, Reauth
from service.events.pipeline import ACTIVE, ending, missing, progress
from service.events.project import JOBS
from service.events.wire import Encoded, encode
from service.feeds.hub import Hub, Topic
from service.feeds.throttle import Throttle
from service.feeds.viewer import Viewer
from service.streams import asked, frames, opening
from service.streams.lifetime import Lifetime
from service.streams.services import Services
from service.streams.sse import JOIN_SECONDS
from service.streams.stream import Stream, lacking, retry_milliseconds

INTERVAL_SECONDS = 0.5
"""A job's pipeline is told at most so often."""


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


class PipelineStream(Stream[bytes]):
    """``board`` says what there is to tell."""

    tells_errors = False  # here an `error` says that a job has failed

    def __init__(self, hub: Hub, key: FeedKey, board: Board, lifetime: Lifetime, random: Callable[[], float]) -> None:
        super().__init__(hub, key, frames.event_writer(True, None), lifetime, random)
        self._board = board

    def _opening(self, topic: Topic, viewer: Viewer) -> bytes:
        viewer.live = lacking(topic)
        return frames.retry(retry_milliseconds(self._random))

    def _parts(self, topic: Topic, viewer: Viewer) -> list[AsyncGenerator[bytes, None]]:
        return [self._live(topic, viewer)]

    def _end(self, viewer: Viewer) -> bytes | None:
        return None if self._board.has_ended else super()._end(viewer)

    async def _live(self, topic: Topic, viewer: Viewer) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        lifetime, waits = self._lifetime, delays(self._random)
        read_at = loop.time()  # when the database is asked (again); until then no change is looked at
        while not self._is_denied(viewer):
            now = loop.time()
            if viewer.reset is not None:
                viewer.reset = None
                read_at = now
            if now >= read_at:
                try:
                    state = await topic.past.state()
                except DatabaseUnavailable:
                    read_at = loop.time() + next(waits)
                    continue
                read_at, waits = math.inf, delays(self._random)
                viewer.skip_to(state.head)
                self._board.jobs(state.rows[JOBS])
                continue
            if viewer.live is not None:
                live, viewer.live = viewer.live, None
                yield self._frame(live)
            elif read_at == math.inf and viewer.has_news:
                self._hear(viewer)
                continue
            elif told := self._board.take(now):
                yield self._written(told)
            elif self._board.has_ended:
                viewer.end(Ending.COMPLETED)
                return
            elif viewer.ending is not None:
                return
            else:
                due = lifetime.due()
                if isinstance(due, float):
                    await viewer.wait(min(due, self._board.due_at(), read_at))
                    continue
                if isinstance(due, Ending):
                    viewer.end(due)
                    continue
                yield self._frame(due) if isinstance(due, Reauth) else frames.keepalive()
            lifetime.spoke()

    def _hear(self, viewer: Viewer) -> None:
        batch, viewer.batch = viewer.batch, None
        told = batch.deliveries if batch is not None else [delivery for delivery, _ in viewer.outbox.take()]
        for change in (delivery.change for delivery in told if delivery.change.table == JOBS):
            if change.row is None:
                self._board.gone(change.row_id)
            else:
                self._board.job(change.row)

    def _written(self, told: Iterable[Encoded]) -> bytes:
        written = [self._writer.frame(one) for one in told]
        self._count(len(written))
        return self._writer.join(written)


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
    lifetime = Lifetime(principal.expires_at, opening.max_age(services), services.keepalive_seconds)
    stream = PipelineStream(services.hub, key, board, lifetime, services.random)
    return opening.answer(services, admission, stream)
