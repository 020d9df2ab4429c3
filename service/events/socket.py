"""What a WebSocket says beside a feed's own messages, and what its client asks for.

A client's message is an operation: one JSON object with ``op``. Unknown fields are ignored.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    TypeAdapter,
    ValidationError,
)

from service.events.model import Id, Message, Revision, Timestamp, WireModel

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
LIMIT = 2**53
RIGHT = {
    "op": "must be one of: auth, subscribe, unsubscribe",
    "projectId": "must be a UUID like 00000000-0000-4000-8000-000000000002",
    "since": "must be the revision of a message received before: a whole number below 2^53",
    "snapshot": "must be true or false",
    "types": "must be a list of types of messages",
    "token": "must be an access token",
}
"""What each field of an operation has to be, for whoever had it wrong."""


def _project(value: Any) -> str:
    if not isinstance(value, str) or UUID.fullmatch(value) is None:
        raise ValueError(RIGHT["projectId"])
    return value.lower()


def _revision(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
        value = int(value)  # as an EventSource has it
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LIMIT:
        raise ValueError(RIGHT["since"])
    return value


def _unicode(value: str) -> str:
    value.encode()  # half a surrogate pair is JSON, and no text that anybody could be told of
    return value


ProjectId = Annotated[Id, BeforeValidator(_project)]
Text = Annotated[StrictStr, AfterValidator(_unicode)]
Token = Annotated[Text, Field(min_length=1)]


class Operation(WireModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=False)


class Auth(Operation):
    """Says who the client is; again with a new token, of the same user, before the old one ends."""

    op: Literal["auth"]
    token: Token = Field(description="A Supabase access token.")


class Subscribe(Operation):
    """Asks for a project's messages. The answer is `connected`, and what follows it on a stream."""

    op: Literal["subscribe"]
    project_id: ProjectId
    since: Annotated[Revision, BeforeValidator(_revision)] | None = Field(
        None, description="Go on from here: the `revision` of the last message of the project that was received."
    )
    snapshot: StrictBool = Field(False, description="The present as the second message; of no effect with `since`.")
    types: tuple[Text, ...] | None = Field(None, description="Only these types; what the stream says of itself always.")
    token: Token | None = Field(None, description="As an `auth` before it.")


class Unsubscribe(Operation):
    """Ends a subscription. Nothing of the project follows the answer, `unsubscribed`."""

    op: Literal["unsubscribe"]
    project_id: ProjectId


Asked = Auth | Subscribe | Unsubscribe
_OPERATION: TypeAdapter[Asked] = TypeAdapter(Annotated[Asked, Field(discriminator="op")])


class BadOperation(ValueError):
    """The message names the field, and says what would be right."""


def read(said: object) -> Asked:
    """An operation from a client's JSON. Raises :class:`BadOperation`."""
    if not isinstance(said, dict):
        raise BadOperation('a message must be a JSON object like {"op": "subscribe", "projectId": "…"}')
    try:
        return _OPERATION.validate_python(said)
    except ValidationError as error:
        where = error.errors(include_input=False, include_url=False)[0]["loc"]
        name = str(where[1]) if len(where) > 1 else "op"
        raise BadOperation(f"{name} {RIGHT[name]}") from None


class Authenticated(Message):
    """The answer to `auth`: until when its token is good, and the connection with it."""

    type: Literal["authenticated"] = "authenticated"
    expires_at: Timestamp


class Unsubscribed(Message):
    """The answer to `unsubscribe`. Nothing of the project comes any more."""

    type: Literal["unsubscribed"] = "unsubscribed"
    project_id: Id


class Keepalive(Message):
    """Nothing has happened for a while; of a project, up to its `revision`."""

    type: Literal["keepalive"] = "keepalive"


class Refused(Message):
    """An operation that can't be done. The connection stays, but for what `stream_end` follows."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)  # what is None is not told

    type: Literal["error"] = "error"
    code: str = Field(description="What is wrong, for programs: as in the answers to requests.")
    message: str = Field(description="What is wrong, for people.")
    op: str | None = Field(None, description="The operation, if it could be read.")
    project_id: Id | None = Field(None, description="The project that it was about.")
    retry_after: int | None = Field(None, description="In how many seconds to try again.")
