"""Tickets for pages whose EventSource can send no header: ``POST /api/projects/{project_id}/stream-tickets``."""

from collections.abc import Callable

from quart import Blueprint, Response, request

from service.events.answers import TicketAnswer
from service.streams import asked
from service.streams.answering import answer
from service.streams.services import Services


def blueprint(services: Callable[[], Services]) -> Blueprint:
    """``services`` gives the running services."""
    routes = Blueprint("tickets", __name__)

    @routes.post("/api/projects/<project_id>/stream-tickets")
    async def issue(project_id: str) -> Response:
        gate = services().gate
        id_ = asked.uuid("project_id", project_id)
        credential = asked.bearer(request.headers)
        if credential is None:  # not in the address, which a ticket is there to keep tokens out of
            raise asked.missing_token("as 'Authorization: Bearer …'")
        ticket, lifetime = await gate.issue_ticket(await gate.admit(credential, id_))
        return answer(TicketAnswer(ticket=ticket, expires_in=lifetime), 201)

    return routes
