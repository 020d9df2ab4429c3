from boms.errors import NotABom


def test_the_message_says_where_and_why():
    assert str(NotABom("It is empty.")) == "It is empty."
    error = NotABom("A quotation mark is never closed.", 7)
    assert (str(error), error.line) == ("line 7: A quotation mark is never closed.", 7)
