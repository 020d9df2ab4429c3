import pytest

from boms.columns import BOM
from boms.errors import NotABom
from boms.tables import read_table


def rows(text):
    return [(row.line, list(row.cells)) for row in read_table(text, BOM, "mpn").rows]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_makes_a_header(delimiter):
    text = f"Qty{delimiter}MPN{delimiter}Value\n1{delimiter}A,B;C\n"
    if delimiter in ",;":
        text = text.replace("A,B;C", '"A,B;C"')
    table = read_table(text, BOM, "mpn")
    assert table.delimiter == delimiter
    assert [row.cells for row in table.rows] == [["1", "A,B;C"]]


def test_excel_says_which_delimiter():
    assert rows('sep=;\nMPN;Qty\n"A;B";1,5\n') == [(3, ["A;B", "1,5"])]


def test_one_column_is_a_table_too():
    assert rows("MPN\nLM358\n\nNE555\n") == [(2, ["LM358"]), (4, ["NE555"])]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_quoted_cell_may_go_over_lines(newline):
    text = newline.join(["MPN,Value", 'A,"first', 'second"', "B,x"])
    assert [line for line, _ in rows(text)] == [2, 4]
    assert rows(text)[0][1][1].split() == ["first", "second"]


def test_what_comes_before_the_header_is_passed_over():
    text = "Bill of Materials,,\nProject:,Part Number 7,\nDate,2026-01-01,\n\nQty,MPN,Value\n1,A,x\n"
    assert rows(text) == [(6, ["1", "A", "x"])]


def test_rows_may_be_shorter_than_the_header_and_end_in_delimiters():
    assert rows("MPN,Qty,Value\nA\nB,1,x,,\n,,,,\n") == [(2, ["A"]), (3, ["B", "1", "x"])]


def test_spaces_after_a_delimiter_do_not_hide_a_quotation_mark():
    assert rows('MPN, Value\nA, "x, y"\n') == [(2, ["A", "x, y"])]


def test_an_inch_mark_inside_a_cell_is_one():
    assert rows('MPN,Value\nA,3.5" display\n') == [(2, ["A", '3.5" display'])]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('MPN,Value\nA,x\nB,"x\nC,x\n', 3, "A quotation mark is opened here and never closed."),
        ('MPN,Value\nA,"3.5" display"\n', 2, "Text follows a closing quotation mark"),
        ("MPN,Qty\nA,1\nB,1,CAP, 10 %\n", 3, "It has 4 cells, the header 2: a cell that holds ',' must be quoted."),
        (f'MPN,Qty\nA,"{"x" * 140_000}"\n', 2, "A cell here is too long"),
        ("Hello,\nworld,\n", None, "This is no table of parts: no line of at most 1,000 cells names its columns"),
        (f"MPN,Qty{',' * 1_000}\nA,1\n", None, "This is no table of parts: no line of at most 1,000 cells"),
        ("\n\nReference,Qty,Value\nC1,1,10n\n", 3,
         "No column holds part numbers (its columns are 'Reference', 'Qty', 'Value')"),
    ],
)  # fmt: skip
def test_what_can_not_be_read_whole_is_refused_with_line_and_reason(text, line, reason):
    with pytest.raises(NotABom) as caught:
        rows(text)
    assert caught.value.line == line
    assert caught.value.reason.startswith(reason)
