from workers.vocabulary import SIGNPOSTS, STOP


def test_the_words_are_in_the_form_they_are_compared_in():
    assert all(word == word.casefold() for word in STOP | SIGNPOSTS)
