"""Background tasks: those that nobody awaits, whose failure must be heard, and those that several await at once.

Each is kept until it ends: the event loop itself keeps only those that are about to run, and one that waits, perhaps to
say goodbye after it was cancelled, would be collected as garbage where nobody else holds it.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from service.logs import fields

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

_running: set[asyncio.Task[Any]] = set()


def spawn(work: Coroutine[None, None, Result]) -> asyncio.Task[Result]:
    """Starts ``work`` as a task; an exception in it is logged as soon as it ends."""
    task = _started(work)
    task.add_done_callback(_told)
    return task


def share(work: Coroutine[None, None, Result]) -> asyncio.Task[Result]:
    """Starts ``work`` for several who await it, shielded: its failure is theirs, and nobody's if all have gone."""
    task = _started(work)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())  # else asyncio would call it never seen
    return task


def _started(work: Coroutine[None, None, Result]) -> asyncio.Task[Result]:
    task = asyncio.get_running_loop().create_task(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


def _told(task: asyncio.Task[Result]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a background task failed", extra=fields(task=task.get_name()), exc_info=error)
