from pathlib import Path

import pytest

from boms.errors import NotABom
from workers.catalogue import CsvCatalogue, Facts, Part, normalise

EXAMPLE = Path(__file__).parents[2] / "examples" / "boms" / "parts.csv"


@pytest.fixture
def catalogue(tmp_path):
    def make(text: str) -> CsvCatalogue:
        path = tmp_path / "parts.csv"
        path.write_text(text)
        return CsvCatalogue(path)

    return make


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("LM358DR", "LM358DR"), (" lm358dr ", "LM358DR"), ("LM358 DR", "LM358DR"), ("LM358\u00a0DR", "LM358DR"),
        ("LM358\u2013N", "LM358-N"), ("LM358\u2011N", "LM358-N"), ("LM358\u200bDR", "LM358DR"), ("\uff2cM358", "LM358"),
        ("ADG+T/R#1.2", "ADG+T/R#1.2"), ("  ", ""),
    ],
)  # fmt: skip
def test_part_numbers_as_people_write_them(written, normal):
    assert normalise(written) == normal


async def test_all_that_a_file_knows_of_a_part(catalogue):
    parts = catalogue(
        "Part Number;Manufacturer;Distributor;Unit Price;Quantity Available;Datasheet;Lifecycle;Category;Description\n"
        "LM358DR;TI;Mouser;€ 0,13;12,500 pcs;https://ti.com/lm358;Active;Op-Amps;Dual op-amp\n"
    )
    assert await parts.find(Part("LM358DR", None)) == Facts(
        "Mouser", 0.13, 12500, "https://ti.com/lm358", "Active", "Op-Amps", "Dual op-amp"
    )
    assert await parts.find(Part("LM358", None)) is None
    assert len(parts) == 1


async def test_what_a_file_does_not_say_is_not_known_but_where_it_comes_from_is(catalogue):
    parts = catalogue("MPN,Price,Stock,Datasheet\nA,on request,,javascript:alert(1)\n")
    assert await parts.find(Part("A", None)) == Facts(supplier="parts")


async def test_dashes_make_no_difference_unless_they_do(catalogue):
    parts = catalogue("MPN,Description\nLTST-C190,with\nAB-C,one\nABC,other\n")
    found = {mpn: await parts.find(Part(mpn, None)) for mpn in ("LTSTC190", "LTST-C-190", "AB-C", "ABC")}
    assert [facts and facts.description for facts in found.values()] == ["with", "with", "one", "other"]


async def test_of_two_makers_of_one_number_the_line_s_is_it(catalogue):
    parts = catalogue("MPN,Manufacturer,Description\nBC547,Onsemi,first\nBC547,Diotec Semiconductor,second\n")
    makers = ("Diotec", "DIOTEC SEMICONDUCTOR AG", "Nexperia", None)
    found = [await parts.find(Part("BC547", maker)) for maker in makers]
    assert [facts and facts.description for facts in found] == ["second", "second", "first", "first"]


async def test_the_example_is_read_whole():
    parts = CsvCatalogue(EXAMPLE)
    assert len(parts) == 347
    facts = await parts.find(Part("10103592-0001LF", "FCI"))
    assert facts == Facts(supplier="parts", description="CONN RCPT REV MICRO USB TYPE B")
    assert facts.as_data() == {
        "supplier": "parts", "price": None, "stock": None, "datasheet_url": None, "lifecycle_status": None,
        "category": None, "description": "CONN RCPT REV MICRO USB TYPE B",
    }  # fmt: skip


def test_a_file_without_part_numbers_is_no_catalogue(catalogue):
    with pytest.raises(NotABom, match="No column holds part numbers"):
        catalogue("Manufacturer,Description\nTI,x\n")
