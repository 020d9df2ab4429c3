"""What the messages of every feed have in common.

Messages are frozen Pydantic models: their fields are the wire's, in the order of the wire.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator
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


Timestamp = Annotated[datetime, PlainValidator(moment), PlainSerializer(_milliseconds, return_type=str)]
"""RFC 3339, UTC, milliseconds; from the text of a row."""


class WireModel(BaseModel):
    """An object on the wire: camelCase names, unknown columns of a row ignored."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Message(WireModel):
    """One message of a stream; ``type`` is its kind, and its event name where events are named."""

    type: str


class Live(Message):
    type: Literal["live"] = "live"
    live: bool
    reason: str


class Reset(Message):
    type: Literal["reset"] = "reset"
    reason: str


class Error(Message):
    type: Literal["error"] = "error"
    code: str
    message: str


class StreamEnd(Message):
    type: Literal["stream_end"] = "stream_end"
    reason: str
    reconnect: bool


class Reauth(Message):
    """The token expires soon, and the stream with it: a page that can get a new one opens another stream in time."""

    type: Literal["reauth"] = "reauth"
    expires_at: Timestamp


CONTROL_TYPES = frozenset({"connected", "snapshot", "live", "reset", "reauth", "error", "stream_end"})
"""Messages about the stream itself, which ``?types=`` never takes away."""
