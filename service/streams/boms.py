"""What people do with bills of materials: upload one, start its enrichment, pause, resume and stop it."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import quart
from quart import Blueprint, Response, request
from quart.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from boms.errors import NotABom
from boms.reading import read
from service.access.gate import Admission
from service.errors import ApiError, bad_request
from service.events.answers import BomAnswer, ControlAnswer, StartAnswer
from service.streams import asked, enrichment
from service.streams.answering import answer
from service.streams.services import Services

UPLOAD_BYTES = 10 * 1024 * 1024
UPLOAD_SECONDS = 60
FORM_BYTES = 4096
"""What a form takes beside the file."""
FILENAME_CHARACTERS = 200
WRITERS = ("editor", "owner")
UPLOAD = re.compile(r"/api/projects/[^/]+/boms")
COMMANDS = {"pause": "paused", "resume": "enriching", "stop": "stopped"}
"""What people may want, and the state that it leads to."""


class Request(quart.Request):
    """A request whose body may be larger than others', and take longer to come, if it is an upload."""

    def __init__(
        self, method: str, scheme: str, path: str, *rest: Any, max_content_length: int | None = None, **named: Any
    ) -> None:
        is_upload = method == "POST" and UPLOAD.fullmatch(path) is not None
        if is_upload:
            max_content_length = UPLOAD_BYTES + FORM_BYTES
        super().__init__(method, scheme, path, *rest, max_content_length=max_content_length, **named)
        self.max_content_length = max_content_length  # for the form's parser, which would ask the application's
        if is_upload:
            self.body_timeout = UPLOAD_SECONDS


def blueprint(services: Callable[[], Services]) -> Blueprint:
    """``services`` gives the running services."""
    routes = Blueprint("boms", __name__)

    @routes.post("/api/projects/<project_id>/boms")
    async def upload(project_id: str) -> Response:
        with_ = services()
        key = asked.uuid("project_id", project_id)
        admission = await with_.gate.admit(asked.credential(request.headers, request.args), key, operators=True)
        await with_.gate.require_role(admission, WRITERS)
        file = await _file()
        source = await _source(admission)
        data = file.read()
        if len(data) > UPLOAD_BYTES:
            raise _too_large()
        try:
            bom = await asyncio.to_thread(read, data)
        except NotABom as error:
            raise bad_request(f"{_name(file)}: {error}") from None
        arguments = {"project_id": key, "filename": _name(file), "items": bom.items(), "source": source}
        made = await with_.database.call("create_bom", arguments)
        told = BomAnswer(bom_id=made["bom_id"], total_items=made["total_items"], columns=dict(bom.columns))
        return answer(told, 201)

    @routes.post("/api/boms/<bom_id>/enrichment/start")
    async def start(bom_id: str) -> Response:
        with_ = services()
        key = asked.uuid("bom_id", bom_id)
        admission = await _writer(with_, key)
        priority = _priority(await asked.body(request, "{organization_id, project_id, priority}"), admission)
        user = None if admission.principal.is_operator else admission.principal.user_id
        arguments = {"bom_id": key, "priority": priority, "user_id": user}
        begun = await with_.database.call("start_enrichment", arguments)
        if not begun["started"]:
            raise ApiError(409, "conflict", "An enrichment of this BOM is under way already.")
        told = StartAnswer(
            success=True,
            bom_id=key,
            workflow_id=f"bom-enrichment-{key}",
            run_id=begun["run_id"],
            status=begun["status"],
        )
        return answer(told, 202)

    @routes.post("/api/boms/<bom_id>/enrichment/<any(pause, resume, stop):command>")
    async def control(bom_id: str, command: str) -> Response:
        with_ = services()
        key = asked.uuid("bom_id", bom_id)
        await _writer(with_, key)
        told = await with_.database.call("control_enrichment", {"bom_id": key, "command": command})
        if told["status"] != COMMANDS[command]:
            raise ApiError(409, "conflict", f"There is nothing to {command}: the enrichment is {told['status']}.")
        return answer(ControlAnswer(success=True, bom_id=key, status=told["status"]))

    return routes


async def _writer(services: Services, bom_id: str) -> Admission:
    admission = await enrichment.admitted(services, bom_id)
    await services.gate.require_role(admission, WRITERS)
    return admission


async def _file() -> FileStorage:
    try:
        files = [file for _, file in (await request.files).items(multi=True)]
    except RequestEntityTooLarge:
        raise _too_large() from None
    if len(files) != 1 or not files[0].filename:
        raise bad_request("Send one file, as multipart/form-data.")
    return files[0]


def _too_large() -> ApiError:
    return ApiError(413, "bad_request", f"The file is over the limit of {UPLOAD_BYTES >> 20} MiB.")


async def _source(admission: Admission) -> str:
    source = str((await request.form).get("source", "customer"))
    if source not in ("customer", "staff"):
        raise bad_request("source must be customer or staff.")
    if source == "staff" and not admission.principal.is_operator:
        raise ApiError(403, "forbidden", "A staff BOM is uploaded by an operator.")
    return source


def _name(file: FileStorage) -> str:
    """The file's name without a path, as people read it."""
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
    name = "".join(character for character in name if character.isprintable()).strip()
    return name[-FILENAME_CHARACTERS:] or "bom.csv"


def _priority(body: dict[str, Any], admission: Admission) -> int:
    """The priority that is asked for; what else the body names must be the BOM's."""
    for name, real in (("project_id", admission.project_id), ("organization_id", admission.organization_id)):
        given = body.get(name)
        if given is not None and real is not None and asked.uuid(name, str(given)) != real:
            raise bad_request(f"{name} is not the BOM's.")
    priority = body.get("priority", 5)
    if isinstance(priority, bool) or not isinstance(priority, int) or not 1 <= priority <= 9:
        raise bad_request("priority must be a whole number from 1 to 9.")
    return priority
