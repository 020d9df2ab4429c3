"""Is the process alive, and can it serve? For load balancers and orchestrators."""

import asyncio
from collections.abc import Callable

from quart import Blueprint, Response
from quart_rate_limiter import rate_exempt

from service.changes.direct import DirectListener
from service.changes.log import ChangeLog
from service.errors import DatabaseRefused, DatabaseUnavailable
from service.events.answers import EnrichmentHealth, Liveness, Readiness
from service.pipeline import Pipeline
from service.streams.answering import answer

ASK_SECONDS = 3.0
TRUST_SECONDS = 1.0
"""How long an answer of the database's holds: checks are not limited, and must not burden it."""


def blueprint(pipeline: Callable[[], Pipeline]) -> Blueprint:
    """``pipeline`` gives the running one."""
    routes = Blueprint("health", __name__)
    asked: list[tuple[float, asyncio.Task[str | None]]] = []

    async def trouble_with(log: ChangeLog | DirectListener) -> str | None:
        loop = asyncio.get_running_loop()
        if not asked or (asked[0][1].done() and loop.time() - asked[0][0] > TRUST_SECONDS):
            asked[:] = [(loop.time(), loop.create_task(_trouble_with(log)))]
        return await asyncio.shield(asked[0][1])

    @routes.get("/livez")
    @rate_exempt
    async def livez() -> Response:
        return answer(Liveness(status="ok"))

    @routes.get("/readyz")
    @rate_exempt
    async def readyz() -> Response:
        """Degraded (Realtime is down, changes come slower) is ready; without database or listener it is not."""
        running = pipeline()
        listener, hub = running.listener, running.services.hub
        reason = trouble = await trouble_with(running.log)
        if hub.draining:
            reason = "the service is shutting down"
        elif not listener.is_running:
            reason = "the listener has ended"
        status = "unready" if reason is not None else "ready" if listener.is_live else "degraded"
        told = Readiness(
            status=status,
            mode=running.mode,
            database=trouble is None,
            listener=listener.is_running,
            realtime=listener.is_live,
            reason=reason,
        )
        return answer(told, 200 if reason is None else 503)

    @routes.get("/api/enrichment/health")
    @rate_exempt
    async def enrichment() -> Response:
        """As readyz, in the words of the enrichment pages."""
        running = pipeline()
        listener, hub = running.listener, running.services.hub
        has_database = await trouble_with(running.log) is None
        is_well = has_database and listener.is_running and not hub.draining
        status = "unhealthy" if not is_well else "healthy" if listener.is_live else "degraded"
        told = EnrichmentHealth(
            status=status,
            realtime=listener.is_live,
            database=has_database,
            active_streams=hub.viewers_of("enrichment"),
        )
        return answer(told, 200 if is_well else 503)

    return routes


async def _trouble_with(log: ChangeLog | DirectListener) -> str | None:
    """Why the database can't be asked; None when it can."""
    try:
        await asyncio.wait_for(log.heads("project", []), ASK_SECONDS)
    except TimeoutError:
        return f"the database did not answer within {ASK_SECONDS:g} s"
    except (DatabaseUnavailable, DatabaseRefused) as error:
        return str(error)
    return None
