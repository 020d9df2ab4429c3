"""Documents as a sequence of blocks, whatever they were written in. Pure.

``parse(kind, text)`` knows the kinds of KINDS but PDF, which is no text (:mod:`workers.formats.pdf`). A block says on
which line of the file (from 1) it begins. Code is left out: it is not what a document says about its subject.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Literal

from workers.formats.blocks import Block

Kind = Literal["markdown", "restructuredtext", "text", "html", "pdf"]

KINDS: Mapping[str, Kind] = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".mdx": "markdown",
    ".rst": "restructuredtext",
    ".rest": "restructuredtext",
    ".txt": "text",
    ".text": "text",
    "": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
}

_PARSERS = {"markdown": "markdown", "restructuredtext": "restructured", "text": "plain", "html": "hypertext"}


def parse(kind: Kind, text: str) -> list[Block]:
    """The blocks of ``text``."""
    parser: Callable[[str], list[Block]] = import_module(f"workers.formats.{_PARSERS[kind]}").parse
    return parser(text)


__all__ = ["KINDS", "Block", "Kind", "parse"]
