"""What the SDK puts into the tables: rows built from checked arguments, as JSON.

Pure. A mistake raises ValueError or TypeError naming the field. Rows of one table always have the same fields, so that
any number of them can go into one insert. The database's triggers set every time, so no row carries one.
"""

import json
from collections.abc import Mapping
from numbers import Real
from operator import index
from typing import Literal
from uuid import UUID, uuid4

JobStatus = Literal["completed", "failed", "stopped", "queued"]
SourceStatus = Literal["pending", "processing", "completed", "failed"]

COMPLETE = "complete"  # the stage by which pages know that a job has succeeded
NAME_LIMIT = 500  # characters of a title, kind, stage or name: over it the argument is refused
MESSAGE_LIMIT = 2_000  # characters of a message: over it the text is cut, as an error's text is nobody's argument


def encode(row: Mapping[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def clean(text: str) -> str:
    """``text`` as PostgreSQL can store it: no NUL, no lone surrogates (file names bring those)."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def storable(value: object) -> object:
    """``value``, of JSON's types, with its texts as PostgreSQL can store them."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple):
        return [storable(each) for each in value]
    if isinstance(value, dict):
        return {storable(key): storable(each) for key, each in value.items()}
    return value


def message(text: str | None) -> str | None:
    """A message of any length, cut to MESSAGE_LIMIT characters."""
    return None if text is None else cut(str(text), MESSAGE_LIMIT)


def cut(text: str, limit: int) -> str:
    """``text`` in at most ``limit`` characters."""
    text = clean(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def name(field: str, text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{field} must be text, not {type(text).__name__}")
    text = clean(text).strip()
    if not text:
        raise ValueError(f"{field} must not be empty")
    if len(text) > NAME_LIMIT:
        raise ValueError(f"{field} is {len(text)} characters long; at most {NAME_LIMIT} are allowed")
    return text


def text(field: str, value: str | None) -> str | None:
    """Text of any length."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{field} must be text, not {type(value).__name__}")
    return clean(value)


def stage_name(text: str) -> str:
    text = name("stage", text)
    if text == COMPLETE:
        raise ValueError(
            f"stage must not be {COMPLETE!r}: pages take that for the end of the job, which the SDK writes"
        )
    return text


def count(field: str, value: int | None) -> int | None:
    try:
        number = None if value is None else index(value)
    except TypeError:
        number = -1
    if number is not None and number < 0:
        raise ValueError(f"{field} must be a whole number from 0, or None when unknown, not {value!r}")
    return number


def uuid(field: str, value: UUID | str) -> str:
    try:
        return str(value if isinstance(value, UUID) else UUID(value))
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{field} must be a UUID, not {value!r}") from error


def optional_uuid(field: str, value: UUID | str | None) -> str | None:
    return None if value is None else uuid(field, value)


def json_object(field: str, value: Mapping[str, object] | None) -> Mapping[str, object] | None:
    if value is None:
        return None
    try:
        encoded = json.dumps(storable(value), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{field} must hold nothing but JSON's types: {error}") from error
    told: Mapping[str, object] = json.loads(encoded)
    return told


def job(
    project_id: UUID | str,
    kind: str,
    title: str,
    source_id: UUID | str | None,
    bom_id: UUID | str | None,
    payload: Mapping[str, object] | None = None,
) -> tuple[UUID, Mapping[str, object]]:
    """A job that starts running at once; its new id beside it."""
    job_id = uuid4()
    return job_id, {
        "id": str(job_id),
        "project_id": uuid("project_id", project_id),
        "kind": name("kind", kind),
        "title": name("title", title),
        "status": "running",
        "source_id": optional_uuid("source_id", source_id),
        "bom_id": optional_uuid("bom_id", bom_id),
        "payload": json_object("payload", payload),
    }


def source(project_id: str, source_name: str, source_type: str, uri: str | None) -> tuple[UUID, Mapping[str, object]]:
    source_id = uuid4()
    return source_id, {
        "id": str(source_id),
        "project_id": project_id,
        "source_name": name("name", source_name),
        "source_type": name("type", source_type),
        "uri": text("uri", uri),
        "status": "pending",
    }


def proposal(
    project_id: str, job_id: UUID, title: str, body: str | None, confidence: object, source_id: UUID | str | None
) -> tuple[UUID, Mapping[str, object]]:
    if isinstance(confidence, bool) or not isinstance(confidence, Real):
        raise TypeError(f"confidence must be a number from 0 to 1, not {type(confidence).__name__}")
    if not 0 <= float(confidence) <= 1:
        raise ValueError(f"confidence must be from 0 to 1, not {confidence}")
    proposal_id = uuid4()
    return proposal_id, {
        "id": str(proposal_id),
        "project_id": project_id,
        "job_id": str(job_id),
        "source_id": optional_uuid("source_id", source_id),
        "title": name("title", title),
        "body": text("body", body),
        "confidence": float(confidence),
    }


def error_text(error: BaseException) -> str:
    """An exception in words for a row: its type and message; of a group, those of its leaves."""
    if isinstance(error, BaseExceptionGroup):
        return message("; ".join(error_text(leaf) for leaf in error.exceptions)) or type(error).__name__
    said = str(error)
    return message(f"{type(error).__name__}: {said}" if said else type(error).__name__) or type(error).__name__
