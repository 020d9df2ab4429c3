"""PDF: pages of placed characters, read into blocks by what they look like. Pure.

A PDF knows no paragraphs and no headings. So a line in letters clearly larger than most is a heading, its level by its
size; a gap wider than usual ends a paragraph; a word divided at the end of a line is put together; what stands at the
head or foot of several pages (a title, a page number) is left out. A block's ``line`` is its page.

Reading one can take any time and memory: :mod:`workers.apart` does it in a process that is bounded.
"""

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot
from typing import Any

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError

from workers.formats.blocks import Block, Unfit, squeeze

PAGES_LIMIT = 2_000
TEXT_LIMIT = 10_000_000  # characters
LARGER = 1.15  # than most letters: those of a heading
WIDER = 1.3  # than the leading: a gap between two paragraphs
LONGEST_HEADING = 120
REPEATED = 3  # pages on which a running title stands at least
LEADER = re.compile(r"(?:[.\u2026_]\s*){6}")  # "Introduction . . . . . . . 7": where something is, not what
ITEM = re.compile(r"[\u2022\u2023\u25aa\u25cf\u25e6\u2043]")
LIGATURES = str.maketrans(
    {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\uf001": "fi", "\uf002": "fl"}
)
DIVIDED = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]$")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page: ``size`` of its letters and height ``y`` of its place, in points, from the page's foot."""

    text: str
    size: float
    y: float


def parse(data: bytes, pages_limit: int = PAGES_LIMIT) -> list[Block]:
    """The blocks of a PDF. Raises :class:`Unfit`."""
    pages = _without_running_titles(list(_pages(data, pages_limit)))
    sizes: Counter[float] = Counter()
    for line in (line for page in pages for line in page):
        sizes[line.size] += len(line.text)
    if not sizes:
        raise Unfit("no_text", "There is no text in it, only pictures; a scan must go through text recognition first.")
    usual = sizes.most_common(1)[0][0]
    larger = sorted((size for size in sizes if size > usual * LARGER), reverse=True)
    levels = {size: level for level, size in enumerate(larger, 1)}
    leading = _leading(pages)
    return [block for number, page in enumerate(pages, 1) for block in _blocks(page, number, levels, leading)]


def _pages(data: bytes, limit: int) -> Iterator[list[Line]]:
    if b"%PDF-" not in data[:1024]:
        raise Unfit("damaged", "This is no PDF, whatever its name says.")
    where = "It"
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unfit("encrypted", "It can't be read without its password.")
        if len(reader.pages) > limit:
            raise Unfit("too_large", f"It has {len(reader.pages):,} pages; at most {limit:,} can be read.")
        length = 0
        for number, page in enumerate(reader.pages, 1):
            where = f"Page {number}"
            lines = _lines(page)
            length += sum(len(line.text) for line in lines)
            if length > TEXT_LIMIT:
                raise Unfit("too_large", f"Its text is longer than {TEXT_LIMIT:,} characters.")
            yield lines
    except (Unfit, MemoryError):
        raise
    except (FileNotDecryptedError, DependencyError) as error:
        raise Unfit("encrypted", f"It is encrypted in a way that can't be read: {error}") from error
    except Exception as error:  # whatever a parser of arbitrary bytes trips over
        said = squeeze(str(error))[:200] or type(error).__name__
        raise Unfit("damaged", f"{where} can't be read; the PDF is damaged ({said}).") from error


def _lines(page: Any) -> list[Line]:
    lines: list[Line] = []
    parts: list[tuple[str, float, float]] = []

    def close() -> None:
        text = squeeze("".join(text for text, _, _ in parts).translate(LIGATURES))
        if text and not LEADER.search(text):
            # a line is as large as most of it: footnote marks are smaller, initials larger
            _, size, y = max(parts, key=lambda part: len(part[0].strip()))
            lines.append(Line(text, size, y))
        parts.clear()

    def visit(text: str, matrix: Sequence[float], text_matrix: Sequence[float], _font: object, size: float) -> None:
        c, d, x, y = text_matrix[2:]
        # the length of an upright stroke on the page, whatever way it is turned
        height = hypot(c * matrix[0] + d * matrix[2], c * matrix[1] + d * matrix[3]) * abs(size)
        place = max(round(height * 2), 1) / 2, x * matrix[1] + y * matrix[3] + matrix[5]
        first, *more = text.split("\n")
        parts.append((first, *place))
        for rest in more:
            close()
            parts.append((rest, *place))

    page.extract_text(visitor_text=visit)
    close()
    return lines


def _without_running_titles(pages: Sequence[list[Line]]) -> list[list[Line]]:
    def alike(line: Line) -> str:
        return re.sub(r"\d+", "0", line.text.casefold())

    edges = Counter(each for page in pages for each in {alike(line) for line in (*page[:1], *page[-1:])})
    titles = {text for text, number in edges.items() if number >= REPEATED or not text.strip("0 -\u2013.|/")}

    def kept(page: list[Line]) -> list[Line]:
        return [line for at, line in enumerate(page) if at not in (0, len(page) - 1) or alike(line) not in titles]

    return [kept(page) for page in pages]


def _leading(pages: Sequence[list[Line]]) -> float:
    """How far lines of a paragraph are apart, in sizes of their letters: the most frequent distance, the least of
    several."""
    pairs = (pair for page in pages for pair in pairwise(page))
    gaps = Counter(round((above.y - line.y) / line.size, 1) for above, line in pairs if above.size == line.size)
    return min((-number, gap) for gap, number in {1.2: 0, **gaps}.items() if gap > 0)[1]


def _blocks(page: Sequence[Line], number: int, levels: dict[float, int], leading: float) -> Iterator[Block]:
    paragraph: list[Line] = []
    for line in page:
        if paragraph and _begins_anew(paragraph[-1], line, leading):
            yield from _paragraph(paragraph, number, levels)
            paragraph = []
        paragraph.append(line)
    if paragraph:
        yield from _paragraph(paragraph, number, levels)


def _begins_anew(above: Line, line: Line, leading: float) -> bool:
    if ITEM.match(line.text):
        return True
    if above.size != line.size:
        return max(above.size, line.size) > min(above.size, line.size) * LARGER
    gap = above.y - line.y
    # Above the line before it: a new column, or the head of a table.
    return gap < 0 or gap > line.size * leading * WIDER


def _paragraph(lines: Sequence[Line], number: int, levels: dict[float, int]) -> Iterator[Block]:
    text = _joined(lines)
    level = levels.get(lines[0].size)
    if level is not None and len(text) <= LONGEST_HEADING and any(character.isalpha() for character in text):
        yield Block("heading", number, text, level=min(level, 6))
    else:
        yield Block("text", number, text)


def _joined(lines: Sequence[Line]) -> str:
    text = ""
    for line in lines:
        if text and line.text[:1].islower() and DIVIDED.search(text):
            text = text[:-1] + line.text
        else:
            text = f"{text} {line.text}" if text else line.text
    return text
