import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.extraction import CHUNK_WORDS, PER_DOCUMENT, Extraction, chunk, key, phrases
from workers.formats import Block, parse

GUIDE = """# Change log

Every change gets a revision under an advisory lock. The advisory lock is held until commit.

## Leases

**Lease**: how long a job counts as alive.

A heartbeat is a sign of life.

## Notes

Nothing.
"""
OTHER = """# Operations

A lease ends when its heartbeat stops. An advisory lock is cheap.
"""


def candidates(*texts):
    extraction = Extraction()
    for number, text in enumerate(texts):
        for piece in chunk(number, parse("markdown", text)):
            extraction.add(piece)
    return extraction.candidates()


def by_title(found):
    return {each.title: each for each in found}


def test_a_chunk_is_what_stands_under_one_heading():
    chunks = chunk(7, parse("markdown", GUIDE))
    assert [(piece.path, piece.line) for piece in chunks] == [
        (("Change log",), 1), (("Change log", "Leases"), 5), (("Change log", "Notes"), 11),
    ]  # fmt: skip
    assert {piece.document for piece in chunks} == {7}


def test_a_long_section_is_cut_at_a_paragraph():
    blocks = [Block("text", line, "word " * (CHUNK_WORDS // 2 + 1)) for line in (1, 3, 5)]
    assert [piece.line for piece in chunk(0, blocks)] == [1, 3, 5]


def test_headings_definitions_and_telling_terms_become_candidates():
    found = by_title(candidates(GUIDE, OTHER))
    assert found["Change log"].place.found_as == "a heading"
    assert found["Lease"].place.found_as == "a definition"
    assert found["Lease"].text == "how long a job counts as alive."
    assert found["heartbeat"].place.found_as == "a defining sentence"
    assert found["advisory lock"].place.found_as == "a telling term"
    assert found["advisory lock"].text == "Every change gets a revision under an advisory lock."


def test_a_heading_that_only_says_where_one_is_is_no_candidate():
    assert "Notes" not in by_title(candidates(GUIDE))


def test_confidence_adds_up_over_kinds_of_evidence_and_other_documents():
    alone = by_title(candidates("**Lease**: how long.\n"))["Lease"].confidence
    headed = by_title(candidates("# Lease\n\n**Lease**: how long.\n"))["Lease"].confidence
    spoken_of = by_title(candidates("# Lease\n\n**Lease**: how long.\n", "The lease ends."))["Lease"].confidence
    assert alone == 0.6
    assert headed == round(1 - 0.4 * 0.45, 3)
    assert alone < headed < spoken_of < 1


def test_the_body_says_where_it_came_from():
    lease = by_title(candidates(GUIDE, OTHER))["Lease"]
    assert lease.body("docs/guide.md") == (
        "how long a job counts as alive.\n\n"
        "Found as a definition in docs/guide.md, line 7, under \u201cChange log > Leases\u201d. "
        "Also in 1 other document."
    )


def test_one_thing_is_proposed_once_however_it_is_spelled():
    titles = [key(each.title) for each in candidates(GUIDE, OTHER, GUIDE)]
    assert len(titles) == len(set(titles))


def test_a_document_proposes_its_most_confident_and_no_more_than_the_limit():
    text = "".join(f"**Thing {chr(97 + n % 26)}{chr(97 + n // 26)}**: a definition.\n\n" for n in range(60))
    found = candidates("# Lease\n\n**Lease**: how long.\n\n" + text)
    assert len(found) == PER_DOCUMENT
    assert found[0].title == "Lease"


def test_a_text_of_nothing_proposes_nothing():
    assert candidates() == []
    assert candidates("the and of\n") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the change log", ["change", "change log", "log"]),
        ("change, log", ["change", "log"]),
        ("the of and", []),
        ("x" * 41, []),
        ("log log", ["log", "log"]),
    ],
)
def test_phrases_hold_no_stop_word_and_cross_no_punctuation(text, said):
    (piece,) = chunk(0, [Block("text", 1, text)])
    assert sorted(phrases(piece)) == sorted(said)


@given(st.lists(st.text(max_size=300), max_size=4))
def test_any_text_gives_the_same_bounded_candidates_each_time(texts):
    found = candidates(*texts)
    assert found == candidates(*texts)
    for each in found:
        assert 0 < each.confidence <= 1
        assert each.title.strip()
        assert each.place.document < len(texts)
        assert each.place.line >= 1
