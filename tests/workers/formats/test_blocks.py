import pytest

from workers.formats.blocks import Block, definition, is_term


@pytest.mark.parametrize("text", ["lease", "change log", "--flag", "PostgreSQL 18"])
def test_a_few_words_can_be_the_name_of_something(text):
    assert is_term(text)


@pytest.mark.parametrize(
    "text", ["", "123", "Note", "WARNING:", "It ends here.", "one two three four five six seven", "x" * 81]
)
def test_labels_sentences_and_numbers_can_not(text):
    assert not is_term(text)


def test_a_label_before_a_colon_defines_nothing():
    assert definition(3, "Note", "take care") == Block("text", 3, "Note: take care")
    assert definition(3, "Lease:", " how\n long ") == Block("definition", 3, "how long", term="Lease")
