"""Bills of materials as they come: each sample is written the way that tool writes them."""

from decimal import Decimal
from itertools import islice

import pytest

from boms.errors import NotABom
from boms.reading import amount, count, read

KICAD_8 = """"Reference","Value","Datasheet","Footprint","Qty","DNP","MPN","Manufacturer"
"C1,C2,C3","100n","~","Capacitor_SMD:C_0402_1005Metric","3","","CL05B104KO5NNNC","Samsung"
"D1","LED","~","LED_SMD:LED_0603_1608Metric","1","DNP","LTST-C190GKT","Lite-On"
"J1","Conn_01x04","~","","1","","",""
"""
KICAD_5 = """"Source:","/home/me/board/board.sch"
"Date:","Tue 03 Mar 2020"
"Tool:","Eeschema 5.1.5"
"Generator:","/usr/share/kicad/plugins/bom_csv_grouped_by_value.py"
"Component Count:","3"

"Individual Components:"

"Item","Qty","Reference(s)","Value","LibPart","Footprint","Datasheet","MPN"
"","","C1","100n","Device:C","","","CL05B104KO5NNNC"
"","","C2","100n","Device:C","","","CL05B104KO5NNNC"
"","","U1","LM358","Amplifier:LM358","","",""



"Collated Components:"

"Item","Qty","Reference(s)","Value","LibPart","Footprint","Datasheet","MPN"
"1","2","C1, C2","100n","Device:C","","","CL05B104KO5NNNC"
"2","1","U1","LM358","Amplifier:LM358","","",""
"""
KICAD_PCBNEW = """"Id";"Designator";"Package";"Quantity";"Designation";"Supplier and ref";"MPN";
1;"R1,R2";"R_0402";2;"10k";;"RC0402FR-0710KL";
"""
ALTIUM = '''Bill of Materials,,,,,,
Source Data From:,Amplifier.PrjPcb,,,,,
Report Date:,3/3/2020,,,,,

"Comment","Description","Designator","Footprint","LibRef","Quantity","Manufacturer Part Number 1"
"100nF","Capacitor, ceramic, 16 V","C1, C2, C3,\r\nC4","0402","CAP","4","GRM155R71C104KA88D"
"LM358","Op-Amp ""dual""","U1","SOIC-8","LM358","1","LM358DR"
'''
EAGLE = """Qty;Value;Device;Package;Parts;Description;MF;MPN;OC_FARNELL;
2;10µ;C-EUC0805;C0805;C1, C2;CAPACITOR, European symbol;MURATA;GRM21BR61;1828838;
1;;ATMEGA328P-AU;TQFP32;IC1;;MICROCHIP;ATMEGA328P-AU;1715486;
"""
ORCAD = """Amplifier  Revised: Tuesday, March 03, 2020
A-100          Revision: B

Bill Of Materials          March 3,2020      10:14:00\tPage1

Item\tQuantity\tReference\tPart\tManufacturer Part Number
______________________________________________

1\t5\tC1,C2,C3,\t0.1uF\tGRM155R71C104KA88D
\t\tC4,C5
2\t1\tU1\tLM358\tLM358DR
"""
DIGI_KEY = """Index,Quantity,Part Number,Manufacturer Part Number,Description,Customer Reference,Available,Backorder
1,"1,000",399-C0603C105K4RACTUCT-ND,C0603C105K4RACTU,CAP CER 1UF 16V X7R 0603,C1,"1,000",0
,,,,,,,"$ 134.20"
"""
MOUSER = """Mouser #:,Mfr. #:,Manufacturer:,Customer #:,Description:,RoHS:,Order Qty.:,Price (EUR):
595-LM358DR,LM358DR,Texas Instruments,,Operational Amplifiers - Op Amps,RoHS Compliant,10,0.10
"""
LCSC = """LCSC Part Number,Manufacture Part Number,Manufacturer,Customer NO.,Package,Description,RoHS,Order Qty.
C1525,CL05B104KO5NNNC,Samsung Electro-Mechanics,,0402,"100nF ±10% 16V",YES,100
"""
EASYEDA = """ID\tName\tDesignator\tFootprint\tQuantity\tManufacturer Part\tManufacturer\tSupplier\tSupplier Part
1\t"100nF"\t"C1,C2"\t"C0402"\t2\t"CL05B104KO5NNNC"\t"SAMSUNG(三星)"\t"LCSC"\t"C1525"
"""
EXCEL = """sep=;\r
Menge;Bezeichnung;Hersteller;Hersteller-Nr.;Bauteil\r
3 Stk;Widerstand 4,7 kΩ;Würth;="0603-4K7";R1-R3\r
"""


def lines(data):
    return [
        (line.reference, None if line.quantity is None else float(line.quantity), line.mpn, line.manufacturer,
         line.description)
        for line in read(data if isinstance(data, bytes) else data.encode()).lines
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (KICAD_8, [("C1,C2,C3", 3, "CL05B104KO5NNNC", "Samsung", "100n"), ("D1", 0, "LTST-C190GKT", "Lite-On", "LED"),
                   ("J1", 1, None, None, "Conn_01x04")]),
        (KICAD_5, [("C1, C2", 2, "CL05B104KO5NNNC", None, "100n"), ("U1", 1, None, None, "LM358")]),
        (KICAD_PCBNEW, [("R1,R2", 2, "RC0402FR-0710KL", None, "10k")]),
        (ALTIUM, [("C1, C2, C3, C4", 4, "GRM155R71C104KA88D", None, "Capacitor, ceramic, 16 V"),
                  ("U1", 1, "LM358DR", None, 'Op-Amp "dual"')]),
        (EAGLE.encode("cp1252"), [("C1, C2", 2, "GRM21BR61", "MURATA", "CAPACITOR, European symbol"),
                                  ("IC1", 1, "ATMEGA328P-AU", "MICROCHIP", None)]),
        (ORCAD, [("C1,C2,C3, C4,C5", 5, "GRM155R71C104KA88D", None, "0.1uF"), ("U1", 1, "LM358DR", None, "LM358")]),
        (DIGI_KEY, [("C1", 1000, "C0603C105K4RACTU", None, "CAP CER 1UF 16V X7R 0603")]),
        (MOUSER, [(None, 10, "LM358DR", "Texas Instruments", "Operational Amplifiers - Op Amps")]),
        (LCSC, [(None, 100, "CL05B104KO5NNNC", "Samsung Electro-Mechanics", "100nF ±10% 16V")]),
        (EASYEDA.encode("utf-16"), [("C1,C2", 2, "CL05B104KO5NNNC", "SAMSUNG(三星)", "100nF")]),
        (EXCEL.encode("utf-8-sig"), [("R1-R3", 3, "0603-4K7", "Würth", "Widerstand 4,7 kΩ")]),
    ],
    ids=["kicad 8", "kicad 5", "pcbnew", "altium", "eagle", "orcad", "digi-key", "mouser", "lcsc", "easyeda", "excel"],
)  # fmt: skip
def test_what_tools_and_distributors_export(sample, expected):
    assert lines(sample) == expected


def test_the_columns_are_told_by_their_names_in_the_file():
    bom = read(ALTIUM.encode())
    assert bom.columns == {
        "reference": "Designator", "quantity": "Quantity", "mpn": "Manufacturer Part Number 1",
        "description": "Description",
    }  # fmt: skip
    assert (bom.encoding, bom.delimiter) == ("utf-8", ",")


def test_lines_go_to_the_database_in_their_order():
    assert read(b"Ref,Qty,MPN\nC1,1.5,A\nC2 C3,,\n").items() == [
        {"line_number": 1, "reference": "C1", "quantity": "1.5", "mpn": "A", "manufacturer": None, "description": None},
        {
            "line_number": 2,
            "reference": "C2 C3",
            "quantity": "2",
            "mpn": None,
            "manufacturer": None,
            "description": None,
        },
    ]


def test_every_line_is_kept_that_names_a_part_or_a_place():
    text = "Ref,MPN,Value\nC1,A,10n\nC2,A,10n\nC3,,10n\nR1,N/A,\n,,\n-,-,-\n"
    assert [(line.reference, line.mpn) for line in read(text.encode()).lines] == [
        ("C1", "A"), ("C2", "A"), ("C3", None), ("R1", None),
    ]  # fmt: skip


def test_the_header_again_on_a_new_page_is_no_part():
    text = "Ref,MPN\nC1,A\n\nref, mpn\nC2,B\n"
    assert [line.mpn for line in read(text.encode()).lines] == ["A", "B"]


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("MPN,Qty,DNP", "A,3,x"), ("MPN,Qty,DNP", "A,3,Yes"), ("MPN,Qty,DNP", "A,3,DNP"), ("MPN,Qty,DNF", "A,3,1"),
        ("MPN,Qty,Fitted", "A,3,No"), ("MPN,Qty,Fitted", "A,3,Not Fitted"), ("MPN,Qty,Populate", "A,3,0"),
        ("MPN,Qty,Value", "A,3,DNP"), ("MPN,Qty,Value", "A,3,do not populate"), ("MPN,Qty,Value", "A,DNP,10n"),
    ],
)  # fmt: skip
def test_what_is_not_populated_is_kept_with_quantity_0(header, cells):
    (line,) = read(f"{header}\n{cells}\n".encode()).lines
    assert (line.mpn, line.quantity) == ("A", 0)


@pytest.mark.parametrize("cells", ["A,3,", "A,3,no", "A,3,0", "A,3,FALSE"])
def test_what_is_populated_has_its_quantity(cells):
    (line,) = read(f"MPN,Qty,DNP\n{cells}\n".encode()).lines
    assert line.quantity == 3


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3", "3"), (" 3 ", "3"), ("3 pcs", "3"), ("3pcs.", "3"), ("3 Stück", "3"), ("3x", "3"), ("x3", "3"),
        ("x 3", "3"),
        ("(3)", "3"), ("3.0", "3.0"), ("0", "0"), ("1,000", "1000"), ("1,000.5", "1000.5"), ("12'500", "12500"),
        ("1 000 pcs", "1000"), ("2,5 m", "2.5"), ("0.25", "0.25"), ("3,", "3"),
        ("1E+03", "1000"), ("1.5e3", "1500"), ("2,5E+04", "25000"), ("3E", "3"),
        ("1E+03 pcs", "1000"), ("10E+03", "10000"), ("1.5E+10", "15000000000"), ("1E-3", "0.001"),
    ],
)  # fmt: skip
def test_quantities_as_people_write_them(text, number):
    assert amount(text) == Decimal(number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "as needed",
        "-3",
        "3/4",
        "3 4",
        "1.2.3",
        "½",
        "9" * 13,
        "--",
        "$3",
        "1E+12",
        "1e400",
        "1e4000",
        "1e40.5",
        "1 E+03",
    ],
)
def test_what_is_no_quantity(text):
    assert amount(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("C1", 1), ("C1, C2", 2), ("C1 C2\tC3", 3), ("C1;C2;", 2), ("R1-R4", 4), ("R1 - R4, R9", 5), ("R5-7", 3),
     ("R4-R1", 1), ("U1-A", 1), ("J1\u2013J3", 3), ("R1..R3", 3), ("R1 ... R3 R7", 4), (f"C1-C{'9' * 5_000}", 1)],
)  # fmt: skip
def test_a_list_of_references_names_so_many_parts(text, number):
    assert count(text) == number


def test_a_line_without_quantity_has_as_many_as_references():
    text = 'Ref,Qty,MPN\n"C1,C2",,A\n"C3-C5",as needed,B\n,,C\n'
    assert [line.quantity for line in read(text.encode()).lines] == [2, 3, None]


def test_twenty_thousand_lines_are_read_and_one_more_is_refused():
    def file(number):
        return b"Ref,Qty,MPN\n" + b"".join(b"C%d,1,P%d\n" % (n, n) for n in range(number))

    bom = read(file(20_000))
    assert len(bom.lines) == 20_000
    assert [line.mpn for line in islice(bom.lines, 19_998, None)] == ["P19998", "P19999"]
    with pytest.raises(NotABom, match=r"^line 20002: A bill of materials may have 20,000 lines"):
        read(file(20_001))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "The file is empty."),
        (b"MPN,Qty\n", "line 1: There are no parts below the names of its columns."),
        (b"\n\nMPN,Qty\n,\n--,--\n", "line 3: There are no parts"),
        (b"Dear all,\nplease order some parts.\n", "This is no table of parts"),
        (b"Ref,Value\nC1,10n\n", "line 1: No column holds part numbers (its columns are 'Ref', 'Value')"),
        (b'MPN,Qty\nA,1\nB,"1\n', "line 3: A quotation mark"),
    ],
)
def test_a_file_that_is_no_bom_is_refused_whole(data, message):
    with pytest.raises(NotABom) as caught:
        read(data)
    assert str(caught.value).startswith(message)
