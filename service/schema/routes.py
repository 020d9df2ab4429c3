"""Which address answers what. Each route of the application has its entry here; a test sees to that.

A path is Quart's. The parameters in it are UUIDs, or one of the words of an ``any(…)``; they need no entry.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from service.events.enrichment import EnrichmentFeed
from service.events.project import ProjectFeed
from service.schema.catalogue import Schema

PARAMETER = re.compile(r"<(?:any\(([^)]*)\):)?(\w+)>")


class Who(Enum):
    """Who may ask: the security schemes of which one is needed."""

    ANYONE = ()
    MEMBERS = ("bearer", "token")
    LISTENERS = ("bearer", "ticket", "token")
    HEADERS = ("bearer",)


@dataclass(frozen=True)
class Parameter:
    """One of the query, or with ``place`` header of the head; none is ever required unless it says so."""

    name: str
    schema: Schema
    description: str
    place: str = "query"
    required: bool = False


@dataclass(frozen=True)
class Answer:
    """``model`` is the name of its JSON's schema, of several if it is one of them; ``stream`` a feed's name.

    With neither its body is of ``content_type``, or there is none.
    """

    description: str
    model: str | tuple[str, ...] | None = None
    stream: str | None = None
    content_type: str | None = None
    headers: Sequence[str] = ()


@dataclass(frozen=True)
class Body:
    """A request's: the name of a JSON's schema, or a form of these fields."""

    model: str | None = None
    form: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """``errors`` are the statuses that are answered with a Problem."""

    method: str
    path: str
    id: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    who: Who = Who.ANYONE
    errors: Sequence[int] = ()
    parameters: Sequence[Parameter] = ()
    body: Body | None = None

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it."""
        return PARAMETER.sub(r"{\2}", self.path)

    def path_parameters(self) -> list[Parameter]:
        return [
            Parameter(
                name,
                {"type": "string", "enum": words.split(", ")} if words else {"type": "string", "format": "uuid"},
                "What to do." if words else f"The id of the {name.removesuffix('_id').replace('bom', 'BOM')}.",
                "path",
                required=True,
            )
            for words, name in PARAMETER.findall(self.path)
        ]


KEYS_LIMIT = 20
PAGE, PAGE_LIMIT = 100, 1000
"""As the routes have them (service/streams), which this must not import; a test compares."""
REVISION: Schema = {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}
SINCE = Parameter("since", REVISION, "Go on from this revision: the id of the last message that was received.")
LAST_EVENT_ID = Parameter(
    "Last-Event-ID", REVISION, "As `since`, which it beats: EventSource comes back with it by itself.", "header"
)
FLAG: Schema = {"type": "string", "enum": ["0", "1"], "default": "0"}
SNAPSHOT = Parameter("snapshot", FLAG, "1 for the present as the second message; of no effect with a cursor.")
STREAM_HEADERS = ("Cache-Control", "X-Accel-Buffering", "Referrer-Policy", "X-Stream-Id")
ANSWER_HEADERS = ("Cache-Control", "Vary")
STREAM_ERRORS = (400, 401, 404, 429, 503)
COMMAND_ERRORS = (400, 401, 403, 404, 408, 409, 413, 429, 503)

CURSORS: Schema = {"type": "string", "pattern": rf"^[0-9]{{1,16}}(\.[0-9]{{1,16}}){{0,{KEYS_LIMIT - 1}}}$"}
EACH = "The ids of each, joined by '.', in the order asked."
CURSORS_OF_SEVERAL = (
    Parameter(
        "Last-Event-ID",
        {**CURSORS, "pattern": CURSORS["pattern"] + "|^$"},
        f"As `since`, which it beats. {EACH}",
        "header",
    ),
    Parameter("since", CURSORS, f"Go on from here: the id of the last message that was received. {EACH}"),
)


def several(name: str, what: str) -> Parameter:
    """The parameter that names the keys of a stream of several."""
    ids: Schema = {
        "type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 1, "maxItems": KEYS_LIMIT,
        "uniqueItems": True,
    }  # fmt: skip
    return Parameter(name, ids, f"The ids of the {what}, separated by commas.", required=True)


def stream_parameters(
    types: Iterable[str], cursors: Sequence[Parameter] = (LAST_EVENT_ID, SINCE)
) -> tuple[Parameter, ...]:
    """What every stream takes; ``types`` are its feed's own."""
    narrowed: Schema = {"type": "array", "items": {"type": "string", "enum": sorted(types)}, "minItems": 1}
    return (
        *cursors,
        SNAPSHOT,
        Parameter(
            "types", narrowed, "Only these types, separated by commas. What the stream says of itself always comes."
        ),
        Parameter(
            "events",
            {"type": "string", "enum": ["named"]},
            "`named` for events that carry their type as name, for addEventListener. Those of bills of materials "
            "always do.",
        ),
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET",
        "/api/projects/<project_id>/status",
        "streamProject",
        "Projects",
        "What happens in a project, as it happens",
        {200: Answer("The stream. It begins with `connected`.", stream="project", headers=STREAM_HEADERS)},
        Who.LISTENERS,
        STREAM_ERRORS,
        stream_parameters(ProjectFeed.types),
    ),
    Operation(
        "GET",
        "/api/status",
        "streamProjects",
        "Projects",
        "What happens in up to 20 projects, on one stream",
        {
            200: Answer(
                "The stream. Every message also has its `projectId`, but for what concerns the stream as a whole; ids "
                "are those of each project, joined by '.', in the order asked. One that is not the caller's refuses "
                "all.",
                stream="projects",
                headers=STREAM_HEADERS,
            )
        },
        Who.LISTENERS,
        STREAM_ERRORS,
        (several("projects", "projects"), *stream_parameters(ProjectFeed.types, CURSORS_OF_SEVERAL)),
    ),
    Operation(
        "GET",
        "/api/projects/<project_id>/snapshot",
        "readProject",
        "Projects",
        "A project's present in one answer, or what happened since",
        {
            200: Answer(
                "The present; with `since` what a stream would have sent since then.",
                ("ProjectSnapshotAnswer", "ProjectEventsAnswer"),
                headers=("ETag", *ANSWER_HEADERS),
            ),
            304: Answer("Nothing has changed.", headers=("ETag", *ANSWER_HEADERS)),
        },
        Who.MEMBERS,
        STREAM_ERRORS,
        (
            Parameter("since", REVISION, "The `revision` of an earlier answer."),
            Parameter("If-None-Match", {"type": "string"}, "The `ETag` of an earlier answer.", "header"),
        ),
    ),
    Operation(
        "POST",
        "/api/projects/<project_id>/stream-tickets",
        "issueTicket",
        "Projects",
        "A ticket that opens one stream, for pages that can send no header",
        {201: Answer("The ticket.", "TicketAnswer")},
        Who.HEADERS,
        (400, 401, 404, 408, 413, 429, 503),
    ),
    Operation(
        "POST",
        "/api/stream-tickets",
        "issueTicketForSeveral",
        "Projects",
        "A ticket that opens one stream of several projects, or of bills of materials in them",
        {201: Answer("The ticket.", "TicketAnswer")},
        Who.HEADERS,
        (400, 401, 404, 408, 413, 429, 503),
        (several("projects", "projects"),),
    ),
    Operation(
        "POST",
        "/api/jobs/<job_id>/<any(cancel, retry):command>",
        "commandJob",
        "Projects",
        "Ask a job's worker to stop, or queue a job that ended again (editors, owners, operators)",
        {202: Answer("It is on its way: its effect arrives on the stream.", "JobCommandAnswer")},
        Who.MEMBERS,
        COMMAND_ERRORS,
    ),
    Operation(
        "PATCH",
        "/api/proposals/<proposal_id>",
        "decideProposal",
        "Projects",
        "Accept or reject a proposal, or open it again (editors, owners)",
        {200: Answer("It is done.", "DecisionAnswer")},
        Who.MEMBERS,
        (400, 401, 403, 404, 408, 413, 429, 503),
        body=Body("DecisionRequest"),
    ),
    Operation(
        "POST",
        "/api/projects/<project_id>/boms",
        "uploadBom",
        "Bills of materials",
        "Upload a bill of materials as CAD tools export it (editors, owners, operators)",
        {201: Answer("It was read and kept.", "BomAnswer")},
        Who.MEMBERS,
        (400, 401, 403, 404, 408, 413, 429, 503),
        body=Body(
            form={
                "file": {"type": "string", "format": "binary", "description": "A CSV file of at most 10 MiB."},
                "source": {
                    "type": "string",
                    "enum": ["customer", "staff"],
                    "default": "customer",
                    "description": "`staff`, by operators alone, hides it from members.",
                },
            }
        ),
    ),
    Operation(
        "POST",
        "/api/boms/<bom_id>/enrichment/start",
        "startEnrichment",
        "Bills of materials",
        "Queue the enrichment of a bill of materials (editors, owners, operators)",
        {202: Answer("It is queued.", "StartAnswer")},
        Who.MEMBERS,
        COMMAND_ERRORS,
        body=Body("StartRequest"),
    ),
    Operation(
        "POST",
        "/api/boms/<bom_id>/enrichment/<any(pause, resume, stop):command>",
        "controlEnrichment",
        "Bills of materials",
        "Pause, resume or stop an enrichment (editors, owners, operators)",
        {200: Answer("It is done.", "ControlAnswer")},
        Who.MEMBERS,
        COMMAND_ERRORS,
    ),
    Operation(
        "GET",
        "/api/enrichment/stream/<bom_id>",
        "streamEnrichment",
        "Bills of materials",
        "What happens to a bill of materials, as it happens (members, operators)",
        {
            200: Answer("The stream. It begins with `connected`.", stream="enrichment", headers=STREAM_HEADERS),
            204: Answer("It has ended, and the page has all of it: EventSource does not come back."),
        },
        Who.LISTENERS,
        STREAM_ERRORS,
        stream_parameters(EnrichmentFeed.types),
    ),
    Operation(
        "GET",
        "/api/enrichment/stream",
        "streamEnrichments",
        "Bills of materials",
        "What happens to up to 20 bills of materials, on one stream (members, operators)",
        {
            200: Answer(
                "The stream. Every message has its `bom_id`, but for what concerns the stream as a whole; ids are "
                "those of each, joined by '.', in the order asked. It ends when all have.",
                stream="enrichments",
                headers=STREAM_HEADERS,
            ),
            204: Answer("All have ended, and the page has all of it: EventSource does not come back."),
        },
        Who.LISTENERS,
        STREAM_ERRORS,
        (several("boms", "bills of materials"), *stream_parameters(EnrichmentFeed.types, CURSORS_OF_SEVERAL)),
    ),
    Operation(
        "GET",
        "/api/enrichment/state/<bom_id>",
        "readEnrichment",
        "Bills of materials",
        "A bill of materials' present in one answer (members, operators)",
        {200: Answer("The present.", "EnrichmentStateAnswer", headers=ANSWER_HEADERS)},
        Who.MEMBERS,
        STREAM_ERRORS,
    ),
    Operation(
        "GET",
        "/api/enrichment/events/<bom_id>",
        "readEnrichmentHistory",
        "Bills of materials",
        "What happened to a bill of materials, page by page (members, operators)",
        {200: Answer("A page, oldest first.", "EnrichmentHistoryAnswer", headers=ANSWER_HEADERS)},
        Who.MEMBERS,
        STREAM_ERRORS,
        (
            Parameter("after", {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}, "The `next` of an earlier page."),
            Parameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": PAGE},
                "How many events at most.",
            ),
        ),
    ),
    Operation(
        "GET",
        "/api/v1/admin/ingestion/jobs/<job_id>/progress",
        "streamPipeline",
        "Pipelines",
        "How the stages, workers and counters of a job stand (members, operators)",
        {
            200: Answer(
                "The stream. It ends after `complete` or `error`; a job that is not there, or not the caller's, is "
                "told as `error` at once.",
                stream="pipeline",
                headers=("Cache-Control", "X-Accel-Buffering", "Referrer-Policy"),
            )
        },
        Who.LISTENERS,
        (401, 429, 503),
    ),
    Operation(
        "GET",
        "/api/v1/admin/ingestion/jobs/progress",
        "streamPipelines",
        "Pipelines",
        "How all active jobs of a project stand, on one stream (members, operators)",
        {200: Answer("The stream. It goes on when a job ends.", stream="pipelines", headers=STREAM_HEADERS)},
        Who.LISTENERS,
        STREAM_ERRORS,
        (Parameter("project_id", {"type": "string", "format": "uuid"}, "The project's id.", required=True),),
    ),
    Operation(
        "GET",
        "/api/enrichment/health",
        "checkEnrichment",
        "Operation",
        "Readiness, in the words of the enrichment pages",
        {
            200: Answer("It can serve.", "EnrichmentHealth"),
            503: Answer("It can't.", "EnrichmentHealth"),
        },
    ),
    Operation("GET", "/livez", "live", "Operation", "Is the process alive?", {200: Answer("It is.", "Liveness")}),
    Operation(
        "GET",
        "/readyz",
        "ready",
        "Operation",
        "Can the process serve?",
        {200: Answer("It can.", "Readiness"), 503: Answer("It can't.", "Readiness")},
    ),
    Operation(
        "GET",
        "/metrics",
        "measure",
        "Operation",
        "What Prometheus reads",
        {200: Answer("The metrics.", content_type="text/plain")},
        errors=(429,),
    ),
    Operation(
        "GET",
        "/openapi.json",
        "readOpenapi",
        "Operation",
        "This document",
        {200: Answer("OpenAPI 3.2.", content_type="application/json")},
        errors=(429,),
    ),
    Operation(
        "GET",
        "/asyncapi.json",
        "readAsyncapi",
        "Operation",
        "The WebSocket, which OpenAPI has no words for",
        {200: Answer("AsyncAPI 3.", content_type="application/json")},
        errors=(429,),
    ),
    Operation(
        "GET",
        "/docs",
        "readDocs",
        "Operation",
        "This document, for people",
        {200: Answer("A page that needs nothing from elsewhere.", content_type="text/html")},
        errors=(429,),
    ),
)
