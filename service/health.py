"""Is the process alive, and can it serve? For load balancers and orchestrators."""

import asyncio
from collections.abc import Callable

from quart import Blueprint, Response, jsonify

from service.changes.listener import LogListener
from service.changes.log import ChangeLog
from service.errors import DatabaseRefused, DatabaseUnavailable
from service.feeds.hub import Hub

ASK_SECONDS = 3.0


def blueprint(parts: Callable[[], tuple[ChangeLog, LogListener, Hub]]) -> Blueprint:
    """``parts`` gives the running change log, listener and hub."""
    routes = Blueprint("health", __name__)

    @routes.get("/livez")
    async def livez() -> Response:
        return jsonify(status="ok")

    @routes.get("/readyz")
    async def readyz() -> tuple[Response, int]:
        """Degraded (Realtime is down, changes come slower) is ready; without database or listener it is not."""
        log, listener, hub = parts()
        trouble = await _trouble_with(log)
        reason = trouble
        if hub.draining:
            reason = "the service is shutting down"
        elif not listener.is_running:
            reason = "the listener has ended"
        status = "unready" if reason is not None else "ready" if listener.is_live else "degraded"
        answer = jsonify(
            status=status,
            database=trouble is None,
            listener=listener.is_running,
            realtime=listener.is_live,
            reason=reason,
        )
        return answer, 200 if reason is None else 503

    return routes


async def _trouble_with(log: ChangeLog) -> str | None:
    """Why the database can't be asked; None when it can."""
    try:
        await asyncio.wait_for(log.heads("project", []), ASK_SECONDS)
    except TimeoutError:
        return f"the database did not answer within {ASK_SECONDS:g} s"
    except (DatabaseUnavailable, DatabaseRefused) as error:
        return str(error)
    return None
