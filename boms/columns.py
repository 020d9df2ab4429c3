"""Which column holds what, by its name in the header, in any order, case and spelling.

A name is first brought to plain words ("Mfr. P/N 1" → "manufacturer part number"), then looked up. Where several
columns could hold a field, the first named in its list wins: "Manufacturer Part Number" before "Part Number", which in
a distributor's export is the distributor's own.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence

WORDS = {
    "manufacturer": "mfr mfrs mfg mfgr mf manf manuf manufacture manufacturers maker brand hersteller fabricant",
    "number": "no nr num numbers n nummer",
    "part number": "pn partnumber partno partnum teilenummer",
    "manufacturer part number": "mfrpn mfgpn mfpn mpn manufacturerpartnumber herstellerteilenummer herstellernummer",
    "quantity": "qty qnty quant quantities qté quantité menge anzahl stückzahl 数量",
    "reference": "ref refs references reference designators designator refdes refdesignator bauteil 位号",
    "description": "desc descr beschreibung bezeichnung 描述",
    "value": "val values wert valeur",
}  # fmt: skip
"""Words that mean the same."""
PLAIN = {spelling: plain for plain, spellings in WORDS.items() for spelling in spellings.split()}
NOISE = frozenset({"the", "of", "s", "es", "a"})  # "Reference(s)", "Manufacturer's Part Number"

Aliases = Mapping[str, Sequence[str]]
"""For each field the names its column may have, in plain words, best first."""

BOM: Aliases = {
    "mpn": (
        "manufacturer part number", "manufacturer number", "manufacturer part", "manufacturer product number",
        "manufacturer item number", "manufacturer reference", "part number", "component part number",
        "product number", "item part number", "制造商编号",
    ),
    "manufacturer": ("manufacturer", "manufacturer name", "part manufacturer", "制造商"),
    "quantity": (
        "quantity", "quantity per board", "quantity per pcb", "quantity per unit", "quantity per assembly",
        "total quantity", "quantity total", "order quantity", "quantity ordered", "requested quantity 1",
        "requested quantity", "supplier order quantity", "pcs", "count",
    ),
    "reference": (
        "reference", "reference reference", "reference des", "schematic reference", "part reference",
        "component reference", "reference number", "reference name", "customer reference", "parts", "location", "part",
    ),
    "description": (
        "description", "part description", "item description", "component description", "product description",
        "manufacturer description", "description manufacturer", "details", "beschreibung",
    ),
    "value": ("value", "part value", "comment", "comments", "name", "designation", "désignation", "part",
              "component", "device", "名称"),
    "dnp": (
        "dnp", "dni", "dnf", "dns", "nofit", "do not populate", "do not place", "do not fit", "do not install",
        "not fitted", "not populated", "no load",
    ),
    "fitted": ("fitted", "fit", "populate", "populated", "mounted", "mount", "assemble", "assembly", "place", "stuff"),
}  # fmt: skip


def plain(name: str) -> str:
    """A column's name in plain words."""
    text = unicodedata.normalize("NFKC", name).replace("#", " number ")
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)  # ManufacturerPartNumber
    text = re.sub(r"\bp\s*/\s*n\b", " part number ", text.casefold())
    text = re.sub(r"(?<=[^\W\d_])(?=\d+$)", " ", text.strip())  # MPN1
    words = [word for word in re.split(r"[\W_]+", text) if word and word not in NOISE]
    if len(words) > 1 and words[-1] == "1":  # the first of several alternatives
        words.pop()
    return " ".join(PLAIN.get(word, word) for word in words)


def recognise(header: Sequence[str], aliases: Aliases) -> dict[str, int]:
    """The fields found in a row of names, with the index of their column. A column holds one field at most."""
    names = [plain(name) for name in header]
    candidates = sorted(
        (rank, column, field)
        for field, known in aliases.items()
        for rank, name in enumerate(known)
        for column, found in enumerate(names)
        if found == name
    )
    columns: dict[str, int] = {}
    for _, column, field in candidates:
        if field not in columns and column not in columns.values():
            columns[field] = column
    return columns
