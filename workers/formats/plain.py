"""Plain text: paragraphs, and the ways people mark headings without markup. Pure."""

import re

from workers.formats.blocks import Block, squeeze

UNDERLINE = re.compile(r"^\s{0,3}(=|-|~|\*|#|\^|_)\1{2,}\s*$")
NUMBERED = re.compile(r"^(?P<number>\d{1,2}(?:\.\d{1,2}){0,3})\.?\s+(?P<title>[^\W\d_].*)$")
LONGEST_HEADING = 80


def parse(text: str) -> list[Block]:
    blocks: list[Block] = []
    paragraph: list[str] = []
    began = 1
    lines = [*text.splitlines(), ""]
    for number, line in enumerate(lines, 1):
        if line.strip() and UNDERLINE.match(line) and len(paragraph) == 1 and len(paragraph[0]) <= LONGEST_HEADING:
            level = 1 if line.strip()[0] in "=#*" else 2
            blocks.append(Block("heading", began, squeeze(paragraph[0]), level=level))
            paragraph = []
        elif line.strip() and not UNDERLINE.match(line):
            began = number if not paragraph else began
            paragraph.append(line)
        elif paragraph:
            blocks.append(_block(paragraph, began))
            paragraph = []
    return blocks


def _block(paragraph: list[str], line: int) -> Block:
    text = squeeze(" ".join(paragraph))
    alone = len(paragraph) == 1 and len(text) <= LONGEST_HEADING and not text.endswith((".", ",", ";", ":"))
    if alone and (numbered := NUMBERED.match(text)):
        return Block("heading", line, numbered["title"], level=numbered["number"].count(".") + 1)
    if alone and text.isupper() and any(character.isalpha() for character in text) and len(text) > 3:
        return Block("heading", line, text.capitalize(), level=1)
    return Block("text", line, text)
