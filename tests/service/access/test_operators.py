"""The operator's token: nothing but the whole of it."""

import math

import pytest

from service.access.operators import OPERATOR, is_operators

TOKEN = "an-operators-token-of-thirty-two-characters"


def test_the_token_itself_is_the_operators() -> None:
    assert is_operators(TOKEN, TOKEN)


@pytest.mark.parametrize(
    "text", ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), f" {TOKEN}", f"{TOKEN}\0", "\ud800", "é" * 10_000_000]
)
def test_anything_else_is_not(text: str) -> None:
    assert not is_operators(text, TOKEN)


def test_where_none_is_configured_nothing_is() -> None:
    for text in ("", "None", TOKEN):
        assert not is_operators(text, None)


def test_an_operator_is_no_user_and_does_not_expire() -> None:
    assert OPERATOR.is_operator
    assert OPERATOR.expires_at == math.inf
    assert OPERATOR.token == ""
