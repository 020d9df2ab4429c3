"""Background tasks: those that nobody awaits, whose failure must be heard, and those that several await at once."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import TypeVar

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def spawn(work: Coroutine[None, None, Result]) -> asyncio.Task[Result]:
    """Starts ``work`` as a task; an exception in it is logged as soon as it ends. The caller keeps the task."""
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(_told)
    return task


def share(work: Coroutine[None, None, Result]) -> asyncio.Task[Result]:
    """Starts ``work`` for several who await it, shielded: its failure is theirs, and nobody's if all have gone."""
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())  # else asyncio would call it never seen
    return task


def _told(task: asyncio.Task[Result]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("background task %s failed", task.get_name(), exc_info=error)
