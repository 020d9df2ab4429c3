"""What people do with jobs and proposals: cancel and retry, accept and reject. Its effect arrives on the stream."""

from collections.abc import Callable

from quart import Blueprint, Response, request

from service.access.belongings import Table
from service.errors import ApiError, bad_request
from service.events.answers import DecisionAnswer, JobCommandAnswer
from service.streams import asked
from service.streams.answering import answer
from service.streams.services import Services

COMMANDERS = ("editor", "owner")
DECISIONS = ("accepted", "rejected", "proposed")


def blueprint(services: Callable[[], Services]) -> Blueprint:
    """``services`` gives the running services."""
    routes = Blueprint("commands", __name__)

    @routes.post("/api/jobs/<job_id>/<any(cancel, retry):command>")
    async def command(job_id: str, command: str) -> Response:
        with_ = services()
        key = asked.uuid("job_id", job_id)
        await _let_in(with_, "jobs", key, operators=True)
        told = await with_.database.call(f"{command}_job", {"job_id": key})
        if not told["done"]:
            raise ApiError(409, "conflict", _why_not(command, told["status"]))
        told = {**told, "job_id": key}
        return answer(JobCommandAnswer.model_validate(told), 202)

    @routes.patch("/api/proposals/<proposal_id>")
    async def decide(proposal_id: str) -> Response:
        with_ = services()
        key = asked.uuid("proposal_id", proposal_id)
        await _let_in(with_, "proposed_nodes", key)
        status = (await asked.body(request, "{status}")).get("status")
        if status not in DECISIONS:
            raise bad_request("status must be accepted, rejected or proposed.")
        told = await with_.database.call("decide_proposal", {"proposal_id": key, "status": status})
        return answer(DecisionAnswer(proposal_id=key, status=told["status"]))

    return routes


async def _let_in(services: Services, table: Table, row_id: str, *, operators: bool = False) -> None:
    """Returns when whoever sends the present request may command in the row's project.

    Raises as :meth:`Gate.enter_by` and :meth:`Gate.require_role`.
    """
    credential = asked.credential(request.headers, request.args)
    principal = await services.gate.identify(credential, operators=operators)
    admission = await services.gate.enter_by(principal, table, row_id)
    await services.gate.require_role(admission, COMMANDERS)


def _why_not(command: str, status: str) -> str:
    if command == "retry" and status in ("failed", "stopped"):
        return "Another run of its BOM is under way already."
    return f"There is nothing to {command}: the job is {status}."
