"""Tickets for pages whose EventSource can send no header: ``POST /api/projects/{project_id}/stream-tickets``."""

from collections.abc import Callable

from quart import Blueprint, Response, jsonify, request

from service.streams import asked
from service.streams.services import Services


def blueprint(services: Callable[[], Services]) -> Blueprint:
    """``services`` gives the running services."""
    routes = Blueprint("tickets", __name__)

    @routes.post("/api/projects/<project_id>/stream-tickets")
    async def issue(project_id: str) -> tuple[Response, int]:
        gate = services().gate
        id_ = asked.uuid("project_id", project_id)
        credential = asked.bearer(request.headers)
        if credential is None:  # not in the address, which a ticket is there to keep tokens out of
            raise asked.missing_token("as 'Authorization: Bearer …'")
        ticket, lifetime = await gate.issue_ticket(await gate.admit(credential, id_))
        answer = jsonify(ticket=ticket, expiresIn=lifetime)
        answer.headers["Cache-Control"] = "no-store"
        return answer, 201

    return routes
