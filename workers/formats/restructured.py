"""reStructuredText: as much of it as says what a document is about. Pure.

Read line by line: sections by their adornment, definition lists and glossaries, paragraphs without inline markup.
Directives whose content is prose (notes and the like) are read, all others skipped.
"""

import re
from collections.abc import Iterator

from workers.formats.blocks import Block, definition, squeeze, words

ADORNMENT = re.compile(r"^([!-/:-@\[-`{-~])\1{2,}\s*$")
DIRECTIVE = re.compile(r"^\.\.\s+(?:\|[^|]+\|\s+)?(?P<name>[\w:.+-]+)::\s*(?P<argument>.*)$")
FIELD = re.compile(r"^:[^:`\n]+:(?:\s|$)")
BULLET = re.compile(r"^(?:[-*+•]|\(?(?:\d+|#|[a-zA-Z])[.)])\s+")
BORDER = re.compile(r"^\s*(?:\+[-=+]+\+|={2,}(?:\s+={2,})+|-{2,}(?:\s+-{2,})+)\s*$")  # of a table
PROSE = words(
    "note warning tip important hint caution danger attention admonition seealso topic epigraph versionadded "
    "versionchanged deprecated glossary"
)
# Bounded, or a long paragraph of markup that never closes would take for ever.
INLINE = [
    re.compile(r":[\w:.+-]{1,60}:`([^`<]{1,500})(?:<[^>`]{0,500}>)?`"),  # :ref:`text <target>`
    re.compile(r"`([^`<]{1,500})<[^>`]{0,500}>`__?"),  # `text <address>`_
    re.compile(r"``(.{1,500}?)``"),
    re.compile(r"`([^`]{1,500})`_{0,2}"),
    re.compile(r"\*\*(.{1,500}?)\*\*"),
    re.compile(r"(?<!\w)\*(?!\s)(.{1,500}?)\*(?!\w)"),
    re.compile(r"\|([^|\s][^|]{0,100})\|_?"),
    re.compile(r"\b(\w+)_(?=\W|$)"),
]


def parse(text: str) -> list[Block]:
    return list(_Reader(text.expandtabs(8).splitlines()).blocks())


def _plain(text: str) -> str:
    for pattern in INLINE:
        text = pattern.sub(lambda match: match[1].strip(), text)
    return squeeze(text)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.at = 0
        self.styles: list[str] = []  # adornments in the order met: their place is the heading's level

    def blocks(self) -> Iterator[Block]:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.strip():
                self.at += 1
            elif (heading := self._heading()) is not None:
                yield heading
            elif line.lstrip().startswith(".. ") or line.strip() == "..":
                self._explicit()
            elif ADORNMENT.match(line) or BORDER.match(line) or FIELD.match(line.lstrip()):
                self.at += 1
            elif line.lstrip().startswith("|"):  # a table's row, or a line of verse
                self.at += 1
                if cells := _plain(line.replace("|", " ")):
                    yield Block("text", self.at, cells)
            else:
                yield from self._body()

    def _line(self, offset: int) -> str:
        at = self.at + offset
        return self.lines[at] if 0 <= at < len(self.lines) else ""

    def _heading(self) -> Block | None:
        over, title, under = self._line(0), self._line(1), self._line(2)
        if ADORNMENT.match(over) and title.strip() and under.rstrip() == over.rstrip():
            line, style, used = self.at + 2, over[0] * 2, 3
        elif (
            ADORNMENT.match(title)
            and not ADORNMENT.match(over)
            and _indent(over) == 0
            and self._underlines(title, over)
        ):
            title, line, style, used = over, self.at + 1, title[0], 2
        else:
            return None
        if style not in self.styles:
            self.styles.append(style)
        self.at += used
        return Block("heading", line, _plain(title), level=self.styles.index(style) + 1)

    @staticmethod
    def _underlines(adornment: str, title: str) -> bool:
        return len(adornment.rstrip()) >= min(len(title.rstrip()), 4)

    def _explicit(self) -> None:
        """Steps over a directive's, comment's or target's first lines; its content too, unless that is prose."""
        line = self._line(0)
        indent = _indent(line)
        directive = DIRECTIVE.match(line.lstrip())
        self.at += 1
        if directive and directive["name"] in PROSE:
            while FIELD.match(self._line(0).lstrip()) and _indent(self._line(0)) > indent:
                self.at += 1
            return
        while self.at < len(self.lines) and (not self._line(0).strip() or _indent(self._line(0)) > indent):
            self.at += 1

    def _body(self) -> Iterator[Block]:
        """A paragraph, a list item, or a term and the indented text that defines it."""
        began, indent = self.at + 1, _indent(self._line(0))
        paragraph: list[str] = []
        while self._line(0).strip() and _indent(self._line(0)) == indent and not (paragraph and self._at_heading()):
            if paragraph and (BULLET.match(self._line(0).lstrip()) or BORDER.match(self._line(0))):
                break
            paragraph.append(self._line(0))
            self.at += 1
        bullet = BULLET.match(paragraph[0].lstrip())
        deeper = []
        while self._line(0).strip() and _indent(self._line(0)) > indent:
            deeper.append(self._line(0))
            self.at += 1
        text = " ".join(paragraph)
        if deeper and len(paragraph) == 1 and not bullet:
            yield definition(began, _plain(text.partition(" : ")[0]), _plain(" ".join(deeper)))
            return
        text = _plain(BULLET.sub("", " ".join([*paragraph, *deeper]).lstrip()))
        if text.endswith("::"):
            self._skip_literal(indent)
        text = text.removesuffix("::")
        if text:
            yield Block("text", began, text)

    def _at_heading(self) -> bool:
        return bool(ADORNMENT.match(self._line(1))) and self._underlines(self._line(1), self._line(0))

    def _skip_literal(self, indent: int) -> None:
        while self.at < len(self.lines) and (not self._line(0).strip() or _indent(self._line(0)) > indent):
            self.at += 1
