"""What is known of parts: the interface that a provider of such facts has, and one that reads a CSV file."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from boms.columns import Aliases
from boms.decoding import decode
from boms.errors import NotABom
from boms.tables import Row, Table, read_table

COLUMNS: Aliases = {
    "mpn": ("manufacturer part number", "manufacturer part", "manufacturer number", "part number"),
    "manufacturer": ("manufacturer", "manufacturer name"),
    "supplier": ("supplier", "distributor", "vendor"),
    "price": ("price", "unit price", "price each"),
    "stock": ("stock", "in stock", "quantity available", "available", "quantity"),
    "datasheet_url": ("datasheet url", "datasheet", "datasheet link"),
    "lifecycle_status": ("lifecycle status", "lifecycle", "part status", "status"),
    "category": ("category", "family", "type"),
    "description": ("description", "part description", "product description"),
}
DASHES = re.compile(r"[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


@dataclass(frozen=True, slots=True)
class Part:
    """What a line asks for. ``mpn`` is normalised; ``manufacturer`` is as in the file."""

    mpn: str
    manufacturer: str | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a provider knows of a part; ``price`` is for one piece, ``datasheet_url`` http or https."""

    supplier: str | None = None
    price: float | None = None
    stock: int | None = None
    datasheet_url: str | None = None
    lifecycle_status: str | None = None
    category: str | None = None
    description: str | None = None

    def as_data(self) -> dict[str, object]:
        """As ``enrichment_data`` holds it."""
        return asdict(self)


class Catalogue(Protocol):
    """A provider of facts. It is asked for several parts at once; what it raises fails the lines that asked."""

    @property
    def name(self) -> str:
        """Its name, as people read it in messages."""
        ...

    async def find(self, part: Part) -> Facts | None:
        """The facts about ``part``, None when it is not known."""
        ...


def normalise(mpn: str) -> str:
    """A part number as catalogues have it: capital letters, one kind of dash, nothing invisible, no white space."""
    text = DASHES.sub("-", unicodedata.normalize("NFKC", mpn)).upper()
    return "".join(character for character in text if character.isprintable() and not character.isspace())


@dataclass(frozen=True, slots=True)
class _Entry:
    mpn: str
    manufacturer: str | None
    facts: Facts


class CsvCatalogue:
    """A catalogue in a CSV file with a column MPN and any of those of ``COLUMNS``, read once.

    Part numbers are compared without their dashes. Of several makers' parts of one number, the line's maker's is it.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError, and :class:`boms.errors.NotABom` when the file holds no table of parts."""
        self.name = path.stem
        self._entries: dict[str, list[_Entry]] = {}
        try:
            table = read_table(decode(path.read_bytes())[0], COLUMNS, "mpn")
        except NotABom as error:
            raise NotABom(f"The catalogue {path.name}: {error}") from None
        for row in table.rows:
            entry = _entry(table, row, self.name)
            if entry.mpn:
                self._entries.setdefault(entry.mpn.replace("-", ""), []).append(entry)

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    async def find(self, part: Part) -> Facts | None:
        entries = self._entries.get(part.mpn.replace("-", ""), [])
        entries = [entry for entry in entries if entry.mpn == part.mpn] or entries
        entries = [entry for entry in entries if _same_maker(entry.manufacturer, part.manufacturer)] or entries
        return entries[0].facts if entries else None


def _entry(table: Table, row: Row, name: str) -> _Entry:
    def cell(field: str) -> str | None:
        column = table.columns.get(field)
        return " ".join(row.cells[column].split()) or None if column is not None and column < len(row.cells) else None

    url = cell("datasheet_url")
    facts = Facts(
        supplier=cell("supplier") or name,
        price=_number(cell("price")),
        stock=None if (stock := _number(cell("stock"))) is None else int(stock),
        datasheet_url=url if url and url.lower().startswith(("http://", "https://")) else None,
        lifecycle_status=cell("lifecycle_status"),
        category=cell("category"),
        description=cell("description"),
    )
    return _Entry(normalise(cell("mpn") or ""), cell("manufacturer"), facts)


def _number(text: str | None) -> float | None:
    """The number in "0,13 €" or "$1,200.50"."""
    found = NUMBER.search(re.sub(r"(?<=\d),(?=\d{3}\b)", "", text or ""))
    return float(found[0].replace(",", ".")) if found else None


def _same_maker(one: str | None, other: str | None) -> bool:
    """True for "Murata" and "Murata Electronics North America"."""
    names: Sequence[str] = ["".join(filter(str.isalnum, name.casefold())) for name in (one, other) if name]
    return len(names) == 2 and (names[0].startswith(names[1]) or names[1].startswith(names[0]))
