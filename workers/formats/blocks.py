"""What every format is read into, and the cleaning they share. Pure."""

import re
from dataclasses import dataclass
from typing import Literal


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class Block:
    """A heading (``level`` from 1), a definition (of ``term``), or running text. ``line`` counts from 1; ``text`` is
    plain, without markup, on one line."""

    kind: Literal["heading", "definition", "text"]
    line: int
    text: str
    level: int = 0
    term: str = ""


class Unfit(ValueError):
    """Why a file of some format can't be read: ``reason`` of ``workers.reading.REASONS``, and the message in words."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


# "**Lease**: how long …", once the markup is gone and the emphasised part is known
AFTER_TERM = re.compile(r"^\s*(?::|\u2013|\u2014|-(?=\s))\s*(?=\S)")
TERM_WORDS = 6
# What stands before a colon in emphasis without being defined by what follows.
LABELS = words(
    "note notes warning warnings tip tips important example examples default defaults returns return see also hint "
    "caution danger todo raises parameters usage requirements optional required type deprecated changed added fixed "
    "new info attention and or"
)


def squeeze(text: str) -> str:
    return " ".join(text.split())


def is_term(text: str) -> bool:
    """True for what can be the name of something: a few words, no sentence, no mere label."""
    words = text.split()
    return (
        0 < len(words) <= TERM_WORDS
        and len(text) <= 80
        and any(character.isalpha() for character in text)
        and not text.endswith((".", "!", "?"))
        and text.strip(" :").casefold() not in LABELS
    )


def definition(line: int, term: str, text: str) -> Block:
    """A definition; running text where ``term`` can't be a name."""
    term, text = squeeze(term).strip(" :"), squeeze(text)
    if text and is_term(term):
        return Block("definition", line, text, term=term)
    return Block("text", line, squeeze(f"{term}: {text}" if text else term))
