"""Markdown, by markdown-it (CommonMark and tables). Pure."""

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from workers.formats.blocks import AFTER_TERM, Block, definition, squeeze

FRONT_MATTER = re.compile(r"\A---\s*\n.*?\n(?:---|\.\.\.)\s*(?:\n|\Z)", re.DOTALL)
# Pandoc and others write definition lists as "Term" and, below, ": what it means".
COLON_LINE = re.compile(r"\n:[ \t]+")


def parse(text: str) -> list[Block]:
    # The front matter is blanked, not cut, so that the lines keep their numbers.
    text = FRONT_MATTER.sub(lambda match: "\n" * match[0].count("\n"), text.replace("\r\n", "\n"))
    # By default what is nested 20 deep is dropped without a word.
    tokens = MarkdownIt("commonmark", {"maxNesting": 100}).enable("table").parse(text)
    return list(_blocks(tokens))


def _blocks(tokens: list[Token]) -> Iterator[Block]:
    line = 1
    level = 0
    for token in tokens:
        if token.map:
            line = token.map[0] + 1
        if token.type == "heading_open":
            level = int(token.tag[1])
        elif token.type == "heading_close":
            level = 0
        elif token.type == "inline":
            plain = squeeze(_plain(token.children or []))
            if plain and level:
                yield Block("heading", line, plain, level=level)
            elif plain:
                yield _paragraph(line, token, plain)


def _paragraph(line: int, token: Token, plain: str) -> Block:
    if COLON_LINE.search(token.content):
        term, _, text = _plain(token.children or []).partition("\n")
        return definition(line, term, text.replace("\n: ", " ").removeprefix(":"))
    children = token.children or []
    meaningful = [child for child in children if child.type != "text" or child.content.strip()]
    if meaningful and meaningful[0].type in ("strong_open", "code_inline"):
        end = next((i for i, child in enumerate(children) if child.type in ("strong_close", "code_inline")), 0)
        term, rest = _plain(children[: end + 1]), _plain(children[end + 1 :])
        if AFTER_TERM.match(rest) or term.rstrip().endswith(":"):
            return definition(line, term, AFTER_TERM.sub("", rest))
    return Block("text", line, plain)


def _plain(children: list[Token]) -> str:
    parts = []
    for child in children:
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append("\n")
        elif child.type == "image":
            parts.append(child.content)  # its alternative text
    return "".join(parts)
