from workers.formats import parse
from workers.formats.blocks import Block


def test_paragraphs_and_the_headings_people_write_without_markup():
    text = "Change log\n==========\n\nFirst line,\nsecond line.\n\nTHE PROMISE\n\n2.1 Leases\n\n3 apples are here.\n"
    assert parse("text", text) == [
        Block("heading", 1, "Change log", level=1),
        Block("text", 4, "First line, second line."),
        Block("heading", 7, "The promise", level=1),
        Block("heading", 9, "Leases", level=2),
        Block("text", 11, "3 apples are here."),
    ]


def test_rules_and_empty_lines_say_nothing():
    assert parse("text", "\n----\n\n=====\n \n") == []
