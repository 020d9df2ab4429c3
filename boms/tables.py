"""Delimited text as a table: its delimiter, its header among the lines before it, and its rows with their place.

Parsing itself is the csv module's, in its strict mode: a quotation mark out of place could swallow the lines after it.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from boms.columns import Aliases, recognise
from boms.errors import NotABom

DELIMITERS = (",", ";", "\t", "|")
HEADER_WITHIN = 100
"""Records in which the header must come; what CAD tools write before it is shorter."""
HEADER_CELLS = 1_000
"""A record of more is taken for no header: looking at a cell costs more than reading it."""
SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """A record of the file, and the line on which it begins, counted from 1."""

    line: int
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """``columns`` says which column each recognised field is in; ``rows`` come after the header, as long as it or
    shorter, none of them blank."""

    header: Row
    columns: dict[str, int]
    delimiter: str
    rows: Iterator[Row]


def read_table(text: str, aliases: Aliases, needed: str) -> Table:
    """The table in ``text``. Raises :class:`NotABom` when no column holds ``needed``; so does reading its rows, when
    one is broken."""
    found = [(delimiter, _header(text, delimiter, aliases)) for delimiter in _delimiters(text)]
    delimiter, (header, columns) = max(found, key=lambda each: len(each[1][1]))
    if not columns:
        raise NotABom(
            f"This is no table of parts: no line of at most {HEADER_CELLS:,} cells names its columns"
            " (like Reference, Quantity, MPN)."
        )
    if needed not in columns:
        names = ", ".join(repr(cell.strip()) for cell in header.cells if cell.strip())
        raise NotABom(
            f"No column holds part numbers (its columns are {names}); call it MPN or Manufacturer Part Number.",
            header.line,
        )
    return Table(header, columns, delimiter, _rows(text, delimiter, header))


def _delimiters(text: str) -> Sequence[str]:
    told = SEP.fullmatch(text.split("\n", 1)[0].strip())  # Excel's own word on it
    return told[1] if told else DELIMITERS


def _header(text: str, delimiter: str, aliases: Aliases) -> tuple[Row, dict[str, int]]:
    """The first of the rows that name most fields, and those fields."""
    best, columns = Row(1, ()), dict[str, int]()
    records = _records(text, delimiter, strict=False)
    for row in islice(records, HEADER_WITHIN):
        named = recognise(row.cells, aliases) if len(row.cells) <= HEADER_CELLS else {}
        if len(named) > len(columns):
            best, columns = row, named
    return best, columns


def _records(text: str, delimiter: str, *, strict: bool) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict, skipinitialspace=True)
    line = 1
    try:
        for cells in reader:
            yield Row(line, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        if strict:
            raise NotABom(_why(str(error), delimiter), line) from error


def _why(error: str, delimiter: str) -> str:
    if "unexpected end" in error:
        return "A quotation mark is opened here and never closed."
    if "expected after" in error:
        return f"Text follows a closing quotation mark; inside a quoted cell it must be doubled ({error})."
    if "field larger" in error:
        return "A cell here is too long; is a quotation mark not closed?"
    return f"Not CSV with the delimiter {delimiter!r}: {error}."


def _rows(text: str, delimiter: str, header: Row) -> Iterator[Row]:
    width = len(header.cells)
    for row in _records(text, delimiter, strict=True):
        if row.line <= header.line or not any(cell.strip() for cell in row.cells):
            continue
        extra = [cell for cell in row.cells[width:] if cell.strip()]
        if extra:
            raise NotABom(
                f"It has {len(row.cells)} cells, the header {width}: a cell that holds {delimiter!r} must be quoted.",
                row.line,
            )
        yield Row(row.line, row.cells[:width])
