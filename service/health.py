"""Is the process alive, and can it serve? For load balancers and orchestrators."""

import asyncio
from collections.abc import Callable

from quart import Blueprint, Response, jsonify

from service.changes.listener import LogListener
from service.changes.log import ChangeLog
from service.errors import DatabaseRefused, DatabaseUnavailable

ASK_SECONDS = 3.0


def blueprint(parts: Callable[[], tuple[ChangeLog, LogListener]]) -> Blueprint:
    """``parts`` gives the running change log and listener."""
    routes = Blueprint("health", __name__)

    @routes.get("/livez")
    async def livez() -> Response:
        return jsonify(status="ok")

    @routes.get("/readyz")
    async def readyz() -> tuple[Response, int]:
        """Degraded (Realtime is down, changes come slower) is ready; without database or listener it is not."""
        log, listener = parts()
        try:
            await asyncio.wait_for(log.heads("project", []), ASK_SECONDS)
            database, reason = True, None
        except (DatabaseUnavailable, DatabaseRefused, TimeoutError) as error:
            database, reason = False, str(error) or "no answer in time"
        ready = database and listener.is_running
        status = "unready" if not ready else "ready" if listener.is_live else "degraded"
        answer = jsonify(
            status=status, database=database, listener=listener.is_running, realtime=listener.is_live, reason=reason
        )
        return answer, 200 if ready else 503

    return routes
