"""Messages as bytes: compact JSON, UTF-8, encoded once however many viewers there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from service.events.model import Message, SnapshotHead, WireModel


@dataclass(frozen=True, slots=True)
class Encoded:
    """One message ready to be sent: its type and its JSON."""

    type: str
    data: bytes


def encode(message: Message) -> Encoded:
    return Encoded(message.type, message.__pydantic_serializer__.to_json(message, by_alias=True))


def encode_model(model: BaseModel) -> bytes:
    return model.__pydantic_serializer__.to_json(model, by_alias=True)


Members = Mapping[str, WireModel | Sequence[WireModel]]
"""A snapshot's objects and lists, by their names."""


def snapshot_members(members: Members) -> bytes:
    """A snapshot as the members of a JSON object, without its braces."""
    return b",".join(
        b'"%s":%s' % (name.encode(), encode_model(value))
        if isinstance(value, WireModel)
        else b'"%s":[%s]' % (name.encode(), b",".join(map(encode_model, value)))
        for name, value in members.items()
    )


def snapshot_parts(revision: int, members: Members, limit: int = 256 * 1024) -> list[Encoded]:
    """A snapshot's messages, at least one, each of at most ``limit`` bytes unless one row alone is longer.

    Its lists go on from part to part; its objects are in each.
    """
    lists = {name: value for name, value in members.items() if not isinstance(value, WireModel)}
    same = snapshot_members({name: value for name, value in members.items() if isinstance(value, WireModel)})
    parts: list[dict[str, list[bytes]]] = [{name: [] for name in lists}]
    room = limit - 200 - len(same)  # for the head and the lists' names
    used = 0
    for name, rows in lists.items():
        for row in rows:
            data = encode_model(row)
            if used and used + len(data) + 1 > room:
                parts.append({name: [] for name in lists})
                used = 0
            parts[-1][name].append(data)
            used += len(data) + 1
    return [
        Encoded("snapshot", _snapshot_part(revision, number, number == len(parts), same, part))
        for number, part in enumerate(parts, start=1)
    ]


def _snapshot_part(revision: int, part: int, last: bool, same: bytes, lists: Mapping[str, Sequence[bytes]]) -> bytes:
    head = encode_model(SnapshotHead(revision=revision, part=part, last=last))
    members = b"".join(b',"%s":[%s]' % (name.encode(), b",".join(rows)) for name, rows in lists.items())
    return head[:-1] + (b"," + same if same else b"") + members + b"}"
