"""Tickets for pages whose EventSource can send no header.

``POST /api/projects/{project_id}/stream-tickets`` for one project, ``POST /api/stream-tickets?projects=a,b,c`` for a
stream of several.
"""

from collections.abc import Callable, Sequence

from quart import Blueprint, Response, request

from service.access.gate import Admission, Credential
from service.events.answers import TicketAnswer
from service.streams import asked, opening
from service.streams.answering import answer
from service.streams.services import Services


def blueprint(services: Callable[[], Services]) -> Blueprint:
    """``services`` gives the running services."""
    routes = Blueprint("tickets", __name__)

    @routes.post("/api/projects/<project_id>/stream-tickets")
    async def issue(project_id: str) -> Response:
        id_ = asked.uuid("project_id", project_id)
        return await _issued(services(), [await services().gate.admit(_bearer(), id_)])

    @routes.post("/api/stream-tickets")
    async def issue_for_several() -> Response:
        keys = asked.uuids("projects", request.args)
        principal = await services().gate.identify(_bearer())
        return await _issued(services(), await opening.let_in(services().gate.enter, principal, keys, "projects"))

    return routes


def _bearer() -> Credential:
    """Not from the address, which a ticket is there to keep tokens out of."""
    credential = asked.bearer(request.headers)
    if credential is None:
        raise asked.missing_token("as 'Authorization: Bearer …'")
    return credential


async def _issued(services: Services, admissions: Sequence[Admission]) -> Response:
    ticket, lifetime = await services.gate.issue_ticket(*admissions)
    return answer(TicketAnswer(ticket=ticket, expires_in=lifetime), 201)
