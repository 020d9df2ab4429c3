"""Decoder for the messages of PostgreSQL's `pgoutput` plugin, protocol version 1 (pure).

Source of the layout: PostgreSQL's manual, "Logical Replication Message Formats". `decode` turns the payload of one
XLogData message into one frozen value. Values of columns stay PostgreSQL's text; a tuple holds, for each column of
its relation, the text, None for NULL, or UNCHANGED for an out-of-line value that the update did not touch.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final, Literal


class Unchanged(enum.Enum):
    """The one value that says: stored out of line, not touched by this update, so not in the log."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED

Value = str | None | Literal[Unchanged.UNCHANGED]
Values = tuple[Value, ...]

# PostgreSQL counts microseconds from 2000-01-01 UTC.
POSTGRES_EPOCH: Final = 946_684_800_000_000


class DecodeError(ValueError):
    """The bytes are no pgoutput message of protocol version 1."""


@dataclass(frozen=True, slots=True)
class Begin:
    final_lsn: int
    committed_at: int
    """Microseconds since 1970 UTC, known before the changes because a transaction is sent only after its commit."""
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    end_lsn: int


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type_oid: int
    identity: bool
    """Part of the table's replica identity; every column is, with REPLICA IDENTITY FULL."""


@dataclass(frozen=True, slots=True)
class Relation:
    oid: int
    schema: str
    table: str
    identity: str
    """pg_class.relreplident: d, n, f or i."""
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    relation: int
    new: Values


@dataclass(frozen=True, slots=True)
class Update:
    relation: int
    old: Values | None
    """The old identity, sent only if it changed or is the full row; other columns of a key tuple are None."""
    new: Values


@dataclass(frozen=True, slots=True)
class Delete:
    relation: int
    old: Values


@dataclass(frozen=True, slots=True)
class Truncate:
    relations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ignored:
    """A type description or an origin: neither says anything Realtime passes on."""


Change = Insert | Update | Delete
Message = Begin | Commit | Relation | Change | Truncate | Ignored

_BEGIN = struct.Struct(">xQqI")
_COMMIT = struct.Struct(">xBQQq")
_UINT32 = struct.Struct(">I")
_UINT16 = struct.Struct(">H")


def decode(data: bytes) -> Message:
    """Decode one message.

    Raises:
        DecodeError: for a kind of message that protocol version 1 does not have, or bytes that end early.
    """
    try:
        return _decode(data)
    except DecodeError:
        raise
    except (IndexError, ValueError, struct.error) as error:
        raise DecodeError(f"pgoutput message {data[:1]!r} of {len(data)} bytes is malformed: {error}") from error


def _decode(data: bytes) -> Message:
    match data[:1]:
        case b"I":
            new, _ = _values(data, 6)
            return Insert(_UINT32.unpack_from(data, 1)[0], new)
        case b"U":
            return _update(data)
        case b"D":
            old, _ = _values(data, 6)
            return Delete(_UINT32.unpack_from(data, 1)[0], old)
        case b"B":
            lsn, timestamp, xid = _BEGIN.unpack_from(data)
            return Begin(lsn, timestamp + POSTGRES_EPOCH, xid)
        case b"C":
            return Commit(_COMMIT.unpack_from(data)[2])
        case b"R":
            return _relation(data)
        case b"T":
            count = _UINT32.unpack_from(data, 1)[0]
            return Truncate(struct.unpack_from(f">{count}I", data, 6))
        case b"Y" | b"O":
            return Ignored()
        case kind:
            raise DecodeError(f"pgoutput message of unknown kind {kind!r}")


def _update(data: bytes) -> Update:
    old: Values | None = None
    at = 5
    if data[at] != ord("N"):
        old, at = _values(data, at + 1)
    new, _ = _values(data, at + 1)
    return Update(_UINT32.unpack_from(data, 1)[0], old, new)


def _values(data: bytes, at: int) -> tuple[Values, int]:
    count = _UINT16.unpack_from(data, at)[0]
    at += 2
    values: list[Value] = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == 0x74:  # t: text
            end = at + 4 + _UINT32.unpack_from(data, at)[0]
            if end > len(data):
                raise IndexError("a value ends after the message")
            values.append(data[at + 4 : end].decode())
            at = end
        elif kind == 0x6E:  # n: null
            values.append(None)
        elif kind == 0x75:  # u: unchanged, out of line
            values.append(UNCHANGED)
        else:
            raise DecodeError(f"pgoutput value of unknown kind {chr(kind)!r}")
    return tuple(values), at


def _relation(data: bytes) -> Relation:
    oid = _UINT32.unpack_from(data, 1)[0]
    schema, at = _string(data, 5)
    table, at = _string(data, at)
    identity = chr(data[at])
    count = _UINT16.unpack_from(data, at + 1)[0]
    at += 3
    columns: list[Column] = []
    for _ in range(count):
        flags = data[at]
        name, at = _string(data, at + 1)
        columns.append(Column(name, _UINT32.unpack_from(data, at)[0], bool(flags & 1)))
        at += 8
    # pg_catalog is sent as an empty name.
    return Relation(oid, schema or "pg_catalog", table, identity, tuple(columns))


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1
