"""PDFs as blocks: what their letters' sizes and places tell, and what can't be read."""

import pytest

from tests.workers.pdfs import Text, encrypted, pdf
from workers.formats import pdf as module
from workers.formats.blocks import Block, Unfit
from workers.formats.pdf import parse

ALIVE = "A lease is how long a job counts as alive. It is renewed by heartbeats, one every third of its time."
MANUAL: list[Text] = [
    (20, 780, "Leases"),
    (11, 750, "A lease is how long a job counts as alive. It is re-"),
    (11, 736, "newed by heartbeats, one every"),
    (11, 722, "third of its time."),
    (11, 690, "Another paragraph (with a \\ in it)."),
    (14, 660, "How it is"),
    (14, 644, "renewed"),
    (11, 620, "By heartbeats."),
]


def told(blocks: list[Block]) -> list[tuple[str, int, int, str]]:
    return [(block.kind, block.line, block.level, block.text) for block in blocks]


def unfit(data: bytes, **options: int) -> tuple[str, str]:
    with pytest.raises(Unfit) as raised:
        parse(data, **options)
    return raised.value.reason, str(raised.value)


def test_headings_paragraphs_and_divided_words_are_told_by_how_they_look() -> None:
    assert told(parse(pdf(MANUAL, [(11, 700, "The second page.")]))) == [
        ("heading", 1, 1, "Leases"),
        ("text", 1, 0, ALIVE),
        ("text", 1, 0, "Another paragraph (with a \\ in it)."),
        ("heading", 1, 2, "How it is renewed"),
        ("text", 1, 0, "By heartbeats."),
        ("text", 2, 0, "The second page."),
    ]  # fmt: skip


def test_few_lines_tell_paragraphs_apart_too() -> None:
    page: list[Text] = [(11, 700, "One line"), (11, 686, "and another."), (11, 655, "Next."), (11, 623, "Last.")]
    assert [block.text for block in parse(pdf(page))] == ["One line and another.", "Next.", "Last."]


def test_the_size_is_what_is_seen_however_it_is_scaled() -> None:
    scaled = (
        b"q 2 0 0 2 0 0 cm BT /F 10 Tf 36 390 Td (Large) Tj ET Q\n"
        b"BT /F 1 Tf 11 0 0 11 72 700 Tm (A line of text.) Tj ET"
    )
    assert told(parse(pdf([], body=scaled))) == [("heading", 1, 1, "Large"), ("text", 1, 0, "A line of text.")]


def test_a_division_before_a_capital_is_a_dash() -> None:
    [block] = parse(pdf([(11, 700, "The Higgs-"), (11, 686, "Boson is meant.")]))
    assert block.text == "The Higgs- Boson is meant."


def test_items_of_a_list_stand_alone() -> None:
    page: list[Text] = [
        (11, 700, "Two things:"),
        (11, 686, "\u2022 one"),
        (11, 672, "\u2022 two,"),
        (11, 658, "on two lines"),
    ]
    assert [block.text for block in parse(pdf(page))] == ["Two things:", "\u2022 one", "\u2022 two, on two lines"]


def test_running_titles_page_numbers_and_contents_are_left_out() -> None:
    pages = [
        [(9.0, 810.0, f"Chapter {n}: Leases"), (11.0, 700.0, f"This is told on page {n}."), (9.0, 30.0, str(n))]
        for n in range(1, 5)
    ]
    contents: list[Text] = [(11, 700, "Introduction . . . . . . . . . . 7"), (11, 686, "This is the first page.")]
    assert [block.text for block in parse(pdf(contents, *pages))] == [
        "This is the first page.", *(f"This is told on page {n}." for n in range(1, 5)),
    ]  # fmt: skip


def test_what_is_encrypted_without_a_password_is_read_and_with_one_is_not() -> None:
    assert told(parse(encrypted(pdf(MANUAL), ""))) == told(parse(pdf(MANUAL)))
    assert unfit(encrypted(pdf(MANUAL), "hush")) == ("encrypted", "It can't be read without its password.")


@pytest.mark.parametrize("data", [pdf([]), pdf([], body=b"0 0 m 100 100 l S"), pdf([(11, 30, "7")])])
def test_a_scan_says_nothing(data: bytes) -> None:
    reason, message = unfit(data)
    assert reason == "no_text"
    assert message.startswith("There is no text in it, only pictures")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello", "This is no PDF, whatever its name says."),
        (b"%PDF-1.4\n", "It can't be read; the PDF is damaged ("),
        (pdf(MANUAL)[:400], "It can't be read; the PDF is damaged ("),
        (pdf(MANUAL).replace(b"/Pages 2 0 R", b"/Pages 9 0 R"), "It can't be read; the PDF is damaged ("),
        (pdf([], body=b"BT (never closed Tj"), "Page 1 can't be read; the PDF is damaged ("),
    ],
)
def test_what_is_damaged_says_so(data: bytes, message: str) -> None:
    reason, said = unfit(data)
    assert reason == "damaged"
    assert said.startswith(message)


def test_there_are_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [[(11.0, 700.0, "A page.")]] * 3
    assert unfit(pdf(*pages), pages_limit=2) == ("too_large", "It has 3 pages; at most 2 can be read.")
    monkeypatch.setattr(module, "TEXT_LIMIT", 10)
    assert unfit(pdf(*pages)) == ("too_large", "Its text is longer than 10 characters.")
