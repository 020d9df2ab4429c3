import pytest

from boms.decoding import decode
from boms.errors import NotABom

PARTS = "Reference,Qty,MPN,Value\n" + "".join(f"C{n},1,GRM{n},{n}µF ±10 %\n" for n in range(30))


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"]
)
def test_text_is_read_in_the_encodings_that_tools_write(encoding):
    assert decode(PARTS.encode(encoding))[0] == PARTS


@pytest.mark.parametrize(
    ("encoding", "header", "word"),
    [
        ("gb18030", "位号,数量,名称,制造商编号", "陶瓷电容贴片"),
        ("cp932", "参照,数量,説明,MPN", "積層セラミックコンデンサ"),
        ("cp1251", "Позиция,Количество,Наименование,MPN", "Конденсатор"),
        ("cp949", "참조,수량,설명,MPN", "적층세라믹콘덴서"),
        ("big5", "參考,數量,說明,MPN", "積層陶瓷電容器"),
    ],
)
def test_older_encodings_of_other_scripts_are_told_by_their_words(encoding, header, word):
    text = f"{header}\n" + "".join(f"C{n},1,{word},GRM188R{n}\n" for n in range(10))
    assert decode(text.encode(encoding)) == (text, encoding)


def test_part_numbers_survive_a_wrong_guess():
    text, _ = decode("Reference,MPN,Value\nC1,GRM188R71,1µ\n".encode("cp1252"))
    assert text.splitlines()[1].split(",")[:2] == ["C1", "GRM188R71"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "The file is empty."),
        (b" \r\n\t", "The file is empty."),
        ("\ufeff \n".encode(), "The file is empty."),
        (b"PK\x03\x04rest", "This is an Excel or OpenDocument workbook; save the table as CSV."),
        (b"\xd0\xcf\x11\xe0rest", "This is an Excel workbook of the old format; save the table as CSV."),
        (b"%PDF-1.7", "This is a PDF; save the table as CSV."),
        (b"\n<!doctype html>", "This is HTML or XML; save the table as CSV."),
        (b"MPN\nA\x07B\n", "line 2: This is no text: it holds characters that text never has."),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "line 2: This is no text"),
        (b"\xff\xfeM\x00P\x00N", "The file begins as UTF-16-LE, but byte"),
        (b"MPN\nA\x81B\x8dC\n", "line 2: The text is in no encoding that we can tell"),
        ("MPN\nGrüße\n".encode() + b"\xff\n", "line 3: The file is mostly UTF-8, but a character here is not"),
    ],
)
def test_what_is_no_text_is_refused(data, message):
    with pytest.raises(NotABom) as caught:
        decode(data)
    assert str(caught.value).startswith(message)
