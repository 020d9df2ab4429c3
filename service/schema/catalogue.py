"""Which messages each stream sends, and every model as JSON Schema (2020-12)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.events import answers, enrichment, pipeline, project, socket

Schema = dict[str, Any]
REF = "#/components/schemas/"


@dataclass(frozen=True)
class Stream:
    """A feed as pages hear it.

    ``message`` is the union of its messages. Where it is not ``named`` events carry their types as names only if they
    are asked to, and ``type`` tells messages apart.
    """

    name: str
    title: str
    message: type[BaseModel]
    named: bool = True

    @property
    def model(self) -> str:
        """The name that others begin with."""
        return self.name.capitalize()


STREAMS = (
    Stream("project", "The project feed", project.ProjectMessage, named=False),
    Stream("enrichment", "The enrichment feed", enrichment.EnrichmentMessage),
    Stream("pipeline", "The pipeline of one job", pipeline.PipelineMessage),
    Stream("pipelines", "The pipelines of a project's active jobs", pipeline.PipelinesMessage),
)


@dataclass(frozen=True)
class Several:
    """A stream of several keys: the messages of one key's ``stream`` say with ``key`` of which they are."""

    name: str
    title: str
    stream: Stream
    key: str

    @property
    def model(self) -> str:
        """The name that others begin with."""
        return self.name.capitalize()

    def member(self, model: str) -> Schema:
        """A message of the stream of one, as this one tells it."""
        whose = {"type": "string", "format": "uuid", "description": "Whose it is; none's if it is the whole stream's."}
        return {"allOf": [{"$ref": REF + model}], "properties": {self.key: whose}}


SEVERAL = (
    Several("projects", "Several projects on one stream", STREAMS[0], "projectId"),
    Several("enrichments", "Several bills of materials on one stream", STREAMS[1], "bom_id"),
)

SOCKET_FEED = STREAMS[0]
"""Whose messages the WebSocket tells, each with its ``projectId`` and ``revision``, beside its own."""
SOCKET_TELLS: tuple[type[BaseModel], ...] = (
    socket.Authenticated,
    socket.Unsubscribed,
    socket.Keepalive,
    socket.Refused,
)
SOCKET_HEARS: tuple[type[BaseModel], ...] = (socket.Auth, socket.Subscribe, socket.Unsubscribe)

ANSWERS: tuple[type[BaseModel], ...] = (
    answers.Problem,
    answers.ProjectSnapshotAnswer,
    answers.ProjectEventsAnswer,
    answers.EnrichmentStateAnswer,
    answers.EnrichmentHistoryAnswer,
    answers.TicketAnswer,
    answers.BomAnswer,
    answers.StartAnswer,
    answers.ControlAnswer,
    answers.JobCommandAnswer,
    answers.DecisionAnswer,
    answers.Liveness,
    answers.Readiness,
    answers.EnrichmentHealth,
)
REQUESTS: tuple[type[BaseModel], ...] = (answers.StartRequest, answers.DecisionRequest)


@cache
def schemas() -> Mapping[str, Schema]:
    """Every model's schema by the model's name; they refer to each other with :data:`REF`."""
    written = [*(stream.message for stream in STREAMS), *ANSWERS, *SOCKET_TELLS]
    found = {**_schemas(written, "serialization"), **_schemas([*REQUESTS, *SOCKET_HEARS], "validation")}
    if odd := [name for name in found if not name.isalnum()]:
        raise ValueError(f"two models of one name: {', '.join(odd)}")  # Pydantic tells them apart by their modules
    return dict(sorted(found.items()))


def _schemas(models: Iterable[type[BaseModel]], mode: JsonSchemaMode) -> dict[str, Schema]:
    named: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, mode) for model in models]
    _, found = models_json_schema(named, ref_template=REF + "{model}")
    for schema in found["$defs"].values():
        _tidy(schema, mode)
    definitions: dict[str, Schema] = found["$defs"]
    return definitions


def _tidy(schema: Schema, mode: JsonSchemaMode) -> None:
    """Without what says nothing: titles that repeat a name, defaults of what is always sent."""
    schema.pop("title", None)
    if mode == "serialization":
        schema.pop("default", None)
    for member in (*schema.get("properties", {}).values(), *schema.get("anyOf", ())):
        _tidy(member, mode)
    if isinstance(schema.get("items"), dict):
        _tidy(schema["items"], mode)


def held(schema: object) -> Iterator[str]:
    """The names of the models that a schema refers to, and that those refer to."""
    match schema:
        case {"$ref": str(reference)}:
            name = reference.removeprefix(REF)
            yield name
            yield from held(schemas()[name])
        case dict():
            for member in schema.values():
                yield from held(member)
        case list():
            for member in schema:
                yield from held(member)


def name_of(schema: Schema) -> str:
    """The name of the model that a schema refers to."""
    reference: str = schema["$ref"]
    return reference.removeprefix(REF)


def messages(stream: Stream) -> Iterator[tuple[str, str]]:
    """The types of a stream's messages, as SSE names them, each with its model's name."""
    for model in get_args(stream.message.model_fields["root"].annotation):
        for type_ in types(model):
            yield type_, model.__name__


def types(model: type[BaseModel]) -> Sequence[str]:
    """The types of messages that a model is of."""
    if known := get_args(model.model_fields["type"].annotation):
        return known
    told: Sequence[str] = schemas()[model.__name__]["properties"]["event_type"]["enum"]
    return told
