"""What the messages of every feed have in common.

Messages are frozen Pydantic models: their fields are the wire's, in the order of the wire. What pages read about them
(docs/openapi.json, docs/events.md, the client's types) is generated from these models by service/schema; their class
names are the names there. An enumeration is told there and not enforced here: the database checks it where it is
written, and a row that a newer database allows must still reach pages.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic.alias_generators import to_camel

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


def moment(text: str) -> datetime:
    """A timestamptz as PostgreSQL writes it in JSON, in UTC; one that no datetime can hold becomes the nearest."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return EARLIEST if text.startswith("-") or text.endswith("BC") else LATEST


def _milliseconds(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Timestamp = Annotated[
    datetime,
    PlainValidator(moment),
    PlainSerializer(_milliseconds, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""RFC 3339, UTC, milliseconds; from the text of a row."""

Id = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
Count = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0})]
Revision = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0, "exclusiveMaximum": 2**53})]
"""A change's number in the change log, and so an id of a stream's messages: exact in JavaScript."""


def one_of(*values: str) -> WithJsonSchema:
    """What a text may be, as the schema tells it."""
    return WithJsonSchema({"type": "string", "enum": list(values)})


class WireModel(BaseModel):
    """An object on the wire: camelCase names, unknown columns of a row ignored."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        json_schema_serialization_defaults_required=True,  # a field with a default is on the wire like any other
    )


class Message(WireModel):
    """One message of a stream; ``type`` is its kind, and its event name where events are named."""

    type: str


class SnakeModel(WireModel):
    """An object whose names on the wire are the database's."""

    model_config = ConfigDict(alias_generator=None)


class SnakeMessage(SnakeModel, Message):
    model_config = ConfigDict(alias_generator=None)  # the last base's would hold


class SnapshotHead(Message):
    """What every part of a snapshot begins with; the feed's lists and objects follow (see wire.py)."""

    type: Literal["snapshot"] = "snapshot"
    revision: Revision = Field(description="Of which moment it is. Only the last part carries it as its id.")
    part: int = Field(description="Its number, from 1.", json_schema_extra={"minimum": 1})
    last: bool = Field(description="Whether it is the last part. Each has at most 256 KiB, unless one row is larger.")


class Live(Message):
    """Realtime was lost, and events come slower from now on; or it is back. Nothing is missed either way."""

    type: Literal["live"] = "live"
    live: bool = Field(description="Whether events come at once again.")
    reason: str = Field(description="Why, for people and logs.")


class Reset(Message):
    """What was missed can't be told one by one: forget what you have, a snapshot follows at once."""

    type: Literal["reset"] = "reset"
    reason: str = Field(description="Why, for people and logs.")


class StreamError(Message):
    """The stream can't go on; `stream_end` follows."""

    type: Literal["error"] = "error"
    code: str = Field(description="What went wrong, for programs: `not_found`, `upstream_unavailable`, …")
    message: str = Field(description="What went wrong, for people.")


class StreamEnd(Message):
    """The last message, always, when the server ends a stream."""

    type: Literal["stream_end"] = "stream_end"
    reason: str = Field(
        description="`completed`, `token_expired`, `access_revoked`, `shutdown`, `too_slow`, `error`, or one of the "
        "feed's own: `enrichment.completed`, `enrichment.failed`."
    )
    reconnect: bool = Field(description="Whether to come back, with the last id; if not, close the EventSource.")


class Reauth(Message):
    """The token expires soon, and the stream with it: a page that can get a new one opens another stream in time."""

    type: Literal["reauth"] = "reauth"
    expires_at: Timestamp = Field(description="When the token expires, and the stream ends.")

    @classmethod
    def before(cls, expires_at: float) -> "Reauth":
        """The hint before a token's exp, in s since the epoch."""
        return cls.model_validate({"expires_at": datetime.fromtimestamp(expires_at, UTC).isoformat()})
