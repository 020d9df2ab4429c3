"""Messages laid out by hand as PostgreSQL's manual describes them; real streams are in test_replication.py."""

import struct

import pytest

from devstack.realtime.pgoutput import (
    UNCHANGED,
    Begin,
    Column,
    Commit,
    DecodeError,
    Delete,
    Ignored,
    Insert,
    Relation,
    Truncate,
    Update,
    decode,
)


def row(*values: str | None) -> bytes:
    """A tuple; "u" in a tuple of its own means unchanged."""
    parts = [struct.pack(">H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value == "<unchanged>":
            parts.append(b"u")
        else:
            parts.append(b"t" + struct.pack(">I", len(value.encode())) + value.encode())
    return b"".join(parts)


OID = struct.pack(">I", 16385)


def test_a_transaction_begins_with_its_commit_time_in_unix_microseconds() -> None:
    assert decode(b"B" + struct.pack(">QqI", 7, 1_000_000, 99)) == Begin(7, 946_684_801_000_000, 99)
    assert decode(b"C" + struct.pack(">BQQq", 0, 7, 8, 1_000_000)) == Commit(8)


def test_a_relation_tells_its_columns_and_which_identify_a_row() -> None:
    columns = b"\1id\0" + struct.pack(">Ii", 23, -1) + b"\0na\xc3\xafve\0" + struct.pack(">Ii", 25, -1)
    message = b"R" + OID + b"public\0jobs\0d" + struct.pack(">H", 2) + columns
    assert decode(message) == Relation(
        16385, "public", "jobs", "d", (Column("id", 23, identity=True), Column("naïve", 25, identity=False))
    )


def test_an_insert_has_null_and_text() -> None:
    assert decode(b"I" + OID + b"N" + row("1", None, "é🙂", "")) == Insert(16385, ("1", None, "é🙂", ""))


def test_an_update_has_its_old_identity_only_if_that_was_logged() -> None:
    assert decode(b"U" + OID + b"N" + row("1", "<unchanged>")) == Update(16385, None, ("1", UNCHANGED))
    for kind in (b"K", b"O"):
        update = decode(b"U" + OID + kind + row("1", None) + b"N" + row("2", "b"))
        assert update == Update(16385, ("1", None), ("2", "b"))


def test_a_delete_and_a_truncate() -> None:
    assert decode(b"D" + OID + b"O" + row("1", "b")) == Delete(16385, ("1", "b"))
    assert decode(b"T" + struct.pack(">IBII", 2, 0, 1, 2)) == Truncate((1, 2))


def test_what_realtime_does_not_pass_on_is_ignored() -> None:
    assert decode(b"Y" + OID + b"public\0mood\0") == Ignored()
    assert decode(b"O" + struct.pack(">Q", 1) + b"origin\0") == Ignored()


@pytest.mark.parametrize(
    "message", [b"", b"?", b"I" + OID + b"N" + row("long value")[:-3], b"U" + OID, b"I" + OID + b"N\0\1x", b"R" + OID]
)
def test_bytes_that_are_no_message_are_refused(message: bytes) -> None:
    with pytest.raises(DecodeError, match="pgoutput"):
        decode(message)
