import pytest

from boms.columns import BOM, plain, recognise


@pytest.mark.parametrize(
    "name",
    [
        "MPN", "mpn", "Mpn 1", "MPN1", "Manufacturer Part Number", "Manufacturer Part Number 1", "Mfr_Part_Number",
        "ManufacturerPartNumber", "MANUFACTURER PART NO.", "Mfr. Part #", "Mfr P/N", "MFR_PN", "MFG PN", "Mfg. Part No",
        "Manufacturer's Part Number", "Manf Part Num", "\uff2d\uff30\uff2e", "Herstellerteilenummer",
    ],
)  # fmt: skip
def test_one_name_in_many_spellings(name):
    assert plain(name) == "manufacturer part number"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Reference,Value,Datasheet,Footprint,Qty,DNP,MPN,Manufacturer", "KiCad 8"),
        ("Item,Qty,Reference(s),Value,LibPart,Footprint,Datasheet,MF_Name,MF_Part_Number", "KiCad 5"),
        ("Comment,Description,Designator,Footprint,LibRef,Quantity,Manufacturer 1,Mfr Part Number 1", "Altium"),
        ("Qty,Value,Device,Package,Parts,Description,MF,MPN,OC_FARNELL", "Eagle"),
        ("Item,Quantity,Reference,Part,Manufacturer,Manufacturer Part Number", "OrCAD"),
        ("Index,Quantity,Part Number,Manufacturer Part Number,Description,Customer Reference,Unit Price", "Digi-Key"),
        ("Mouser #:,Mfr. #:,Manufacturer:,Customer #:,Description:,RoHS:,Order Qty.:,Price (EUR):", "Mouser"),
        ("LCSC Part Number,Manufacture Part Number,Manufacturer,Customer NO.,Package,Description,Order Qty.", "LCSC"),
        ("ID,Name,Designator,Footprint,Quantity,Manufacturer Part,Manufacturer,Supplier,Supplier Part", "EasyEDA"),
        ("Menge,Bezeichnung,Hersteller,Hersteller-Nr.,Bestellnummer", "German"),
        ("位号,数量,名称,制造商,制造商编号", "Chinese"),
    ],
)  # fmt: skip
def test_the_headers_of_tools_and_distributors(header, found):
    names = header.split(",")
    columns = recognise(names, BOM)
    assert {"mpn", "quantity"} <= columns.keys(), found
    assert {"manufacturer", "description", "value"} & columns.keys(), found
    number = plain(names[columns["mpn"]])
    assert number.startswith(("manufacturer", "制造商")), found


@pytest.mark.parametrize(
    ("header", "field", "column"),
    [
        ("Part Number,Manufacturer Part Number,Digi-Key Part Number", "mpn", 1),
        ("Manufacturer Part Number 2,Manufacturer Part Number 1,Qty", "mpn", 1),
        ("Supplier Part Number,Part #,Qty", "mpn", 1),
        ("Part,Value,MPN", "reference", 0),
        ("Reference,Part,MPN", "value", 1),
        ("Quantity Available,MPN,Qty", "quantity", 2),
        ("Order Qty.,Qty per board,MPN", "quantity", 1),
        ("Designation,Designator,MPN", "reference", 1),
        ("MPN,MPN", "mpn", 0),
    ],
)
def test_the_best_of_several_columns_wins(header, field, column):
    assert recognise(header.split(","), BOM)[field] == column


def test_a_column_of_somebody_elses_numbers_is_none_of_ours():
    assert recognise(["LCSC Part #", "Customer #", "Internal Part Number", "Price", "", "Item"], BOM) == {}
