"""A bill of materials as a file, read into lines: the one way in for uploads and workers alike.

- Every part of the file becomes a line, also one without a part number, one that is not to be populated (its quantity
  is 0), and one that names the same part as another.
- What is no part is left out: what comes before the header, blank and ruled lines, the header again on a new page.
- A file that can't be read whole is refused whole.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

from boms.columns import BOM
from boms.decoding import decode
from boms.errors import NotABom
from boms.tables import Row, Table, read_table

LINES_LIMIT = 20_000
SHOWN = ("reference", "quantity", "mpn", "manufacturer", "description")
NOTHING = frozenset({"", "-", "--", "---", "~", "?", "n/a", "na", "n.a.", "none", "null", "nil", "tbd", "#n/a"})
"""What people write into a cell that has nothing to say."""
UNPOPULATED = re.compile(
    r"(dn[pifs]|no ?fit|do not (populate|place|fit|install|stuff)|not (fitted|populated|mounted))\W*", re.IGNORECASE
)
YES, NO = frozenset({"1", "x", "y", "yes", "true", "ja"}), frozenset({"0", "n", "no", "false", "nein"})
RULED = re.compile(r"[-_=*\s]*")
EXCEL_TEXT = re.compile(r'="?(.*?)"?')  # ="0603", so that a spreadsheet takes no number for a date
EXPONENT = r"e[+-]?\d{1,2}"  # spreadsheets write large numbers so
AMOUNT = re.compile(
    rf"(?:x\s*|\(\s*)?(\d[\d.,'\u00a0 ]*)(?:(?<=\d)({EXPONENT}))?(?:\s*(?:x|\)|(?!{EXPONENT})[^\W\d_].*))?",
    re.IGNORECASE,
)
THOUSANDS = re.compile(r"\d{1,3}([,'\u00a0 ]\d{3})+(\.\d+)?")
TO = re.compile(r"\s*(?:[-\u2013\u2026]|\.{2,3})\s*")
RANGE = re.compile(r"([^\W\d_]+)(\d{1,6})-\1?(\d{1,6})")
TWO_TABLES = "collated components:"
"""KiCad's old script lists the parts one by one, then, after this, the same parts again by value."""


@dataclass(frozen=True, slots=True)
class Line:
    """One part of a bill of materials. ``reference`` names where it is placed, as in the file."""

    reference: str | None
    quantity: Decimal | None
    mpn: str | None
    manufacturer: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class Bom:
    """``columns`` tells which of the file's columns each field was read from."""

    lines: Sequence[Line]
    columns: Mapping[str, str]
    encoding: str
    delimiter: str

    def items(self) -> list[dict[str, object]]:
        """The lines as the database's function ``create_bom`` takes them, in JSON's types."""
        return [
            {"line_number": number, **asdict(line), "quantity": None if line.quantity is None else str(line.quantity)}
            for number, line in enumerate(self.lines, start=1)
        ]


def read(data: bytes, limit: int = LINES_LIMIT) -> Bom:
    """Reads a file. Raises :class:`NotABom`, which says why and where."""
    text, encoding = decode(data)
    table = read_table(text, BOM, "mpn")
    header = [cell.strip().casefold() for cell in table.header.cells]
    parts: list[tuple[Mapping[str, str | None], list[str]]] = []  # each with its references, over all its lines
    for row in table.rows:
        first = next(cell.strip() for cell in row.cells if cell.strip())
        if first.casefold() == TWO_TABLES:
            parts.clear()
        if RULED.fullmatch("".join(row.cells)) or [cell.strip().casefold() for cell in row.cells] == header:
            continue
        cells = {field: _cell(row, column) for field, column in table.columns.items()}
        reference = cells.get("reference")
        if parts and reference and _continues(cells, parts[-1][1]):
            parts[-1][1].append(reference)
        elif any(cells.get(field) for field in (*SHOWN, "value")):
            if len(parts) == limit:
                raise NotABom(f"A bill of materials may have {limit:,} lines; this one has more.", row.line)
            parts.append((cells, [reference] if reference else []))
    if not parts:
        raise NotABom("There are no parts below the names of its columns.", table.header.line)
    return Bom([_line(*part) for part in parts], _named(table), encoding, table.delimiter)


def _named(table: Table) -> dict[str, str]:
    return {field: table.header.cells[table.columns[field]].strip() for field in SHOWN if field in table.columns}


def _cell(row: Row, column: int) -> str | None:
    """A cell's text on one line; None when it says nothing."""
    text = " ".join(row.cells[column].split()) if column < len(row.cells) else ""
    if excel := EXCEL_TEXT.fullmatch(text):
        text = excel[1].strip()
    return None if text.casefold() in NOTHING else text.removeprefix("'")


def _continues(cells: Mapping[str, str | None], references: Sequence[str]) -> bool:
    """OrCAD breaks long lists of references: the rest stands alone on the next line."""
    others = (cells.get(field) for field in (*SHOWN, "value") if field != "reference")
    return bool(references and references[-1].endswith(",")) and not any(others)


def _line(cells: Mapping[str, str | None], references: Sequence[str]) -> Line:
    """A line whose file tells no quantity has as many as it has references."""
    reference = " ".join(references) or None
    quantity = Decimal(0) if _unpopulated(cells) else amount(cells.get("quantity") or "")
    if quantity is None and reference is not None:
        quantity = Decimal(count(reference))
    return Line(
        reference,
        quantity,
        cells.get("mpn"),
        cells.get("manufacturer"),
        cells.get("description") or cells.get("value"),
    )


def _unpopulated(cells: Mapping[str, str | None]) -> bool:
    marked, fitted = (cells.get("dnp") or "").casefold(), (cells.get("fitted") or "").casefold()
    said = (cells.get("quantity") or "", cells.get("value") or "", marked, fitted)
    return marked in YES or fitted in NO or any(UNPOPULATED.fullmatch(text) for text in said)


def amount(text: str) -> Decimal | None:
    """A quantity as people write it: "3", "3 pcs", "x3", "1,000", "2,5", "1E+03"; None when it is no number."""
    told = AMOUNT.fullmatch(text.strip())
    if told is None:
        return None
    digits = told[1].strip(" .,'\u00a0")
    if THOUSANDS.fullmatch(digits):
        digits = re.sub(r"[,'\u00a0 ]", "", digits)
    digits = digits.replace(",", ".", 1)
    if told[2] and re.fullmatch(r"\d+(\.\d+)?", digits):
        digits = f"{Decimal(digits + told[2]):f}"
    return Decimal(digits) if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", digits) else None


def count(reference: str) -> int:
    """How many parts a list of references names: "C1, C2 C5-C8" names six."""
    number = 0
    for part in re.split(r"[,;\s]+", TO.sub("-", reference)):
        spread = RANGE.fullmatch(part)
        number += max(1, int(spread[3]) - int(spread[2]) + 1) if spread else bool(part)
    return number
