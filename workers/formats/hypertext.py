"""HTML, by Beautiful Soup on Python's own parser, which tells line numbers and gives up on nothing. Pure."""

import re
from collections.abc import Iterator

from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag

from workers.formats import plain
from workers.formats.blocks import AFTER_TERM, Block, definition, squeeze

NO_TEXT = ["script", "style", "template", "noscript", "svg", "nav", "head", "pre", "textarea", "select", "button"]
HEADINGS = {f"h{level}": level for level in range(1, 7)}
PARAGRAPHS = frozenset({"p", "li", "dt", "dd", "td", "th", "blockquote", "figcaption", "caption", "summary"})
CONTAINERS = frozenset({*PARAGRAPHS, *HEADINGS, "div", "section", "article", "main", "body", "ul", "ol", "dl", "table"})
PROLOGUE = re.compile(r"\A\s*<\?xml[^>]*\?>")


def parse(text: str) -> list[Block]:
    if "<" not in text:
        return plain.parse(text)
    # Blanked with care for line numbers: the XML declaration of XHTML makes Beautiful Soup warn.
    soup = BeautifulSoup(PROLOGUE.sub(lambda match: "\n" * match[0].count("\n"), text), "html.parser")
    for tag in soup.find_all(NO_TEXT):
        tag.decompose()
    blocks = list(_blocks(soup))
    if not blocks and (said := squeeze(soup.get_text(" "))):
        return [Block("text", 1, said)]  # a fragment without any element that holds paragraphs
    return blocks


def _blocks(soup: BeautifulSoup) -> Iterator[Block]:
    seen: set[int] = set()  # elements told with their definition
    for tag in soup.find_all(CONTAINERS):
        if id(tag) in seen:
            continue
        said, line = squeeze(_own_text(tag)), tag.sourceline or 1
        if not said:
            continue
        if tag.name in HEADINGS:
            yield Block("heading", line, said.rstrip("¶ "), level=HEADINGS[tag.name])
        elif tag.name == "dt":
            following = tag.find_next_sibling(["dd", "dt"])
            if isinstance(following, Tag) and following.name == "dd":
                seen.add(id(following))
                yield definition(line, said.rstrip("¶ "), _all_text(following))
        else:
            yield _paragraph(tag, line, said)


def _all_text(tag: Tag) -> str:
    return tag.get_text(" " if tag.find(CONTAINERS) else "")


def _own_text(tag: Tag) -> str:
    """The text of ``tag`` without that of the blocks inside it, which are told by themselves."""
    if tag.name in HEADINGS or tag.name == "dt":
        return _all_text(tag)
    parts = []
    for child in tag.children:
        if isinstance(child, Tag) and child.name not in CONTAINERS and child.find(CONTAINERS) is None:
            parts.append(" " if child.name == "br" else child.get_text())
        elif type(child) is NavigableString:
            parts.append(str(child))
    return "".join(parts)


def _paragraph(tag: Tag, line: int, said: str) -> Block:
    first = next(
        (child for child in tag.children if not (isinstance(child, NavigableString) and not child.strip())), None
    )
    if isinstance(first, Tag) and first.name in ("b", "strong", "dfn", "code"):
        term = squeeze(first.get_text())
        rest = said.removeprefix(term)
        if rest != said and (AFTER_TERM.match(rest) or term.endswith(":")):
            return definition(line, term, AFTER_TERM.sub("", rest))
    return Block("text", line, said)
