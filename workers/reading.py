"""Files as they are in life: found, told apart, decoded, and read into blocks.

`find` walks; it never fails, and says of each file either where it is or why it is passed over. `read` reads one file,
or raises :class:`Unreadable` with a reason of REASONS and a sentence for people.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from charset_normalizer import from_bytes

from workers.apart import SECONDS, read_pdf
from workers.formats import KINDS, Block, Kind, parse
from workers.formats.blocks import Unfit

SIZE_LIMIT = 10 * 1024 * 1024  # bytes
REASONS = {
    "missing": "there is nothing at this path",
    "unreachable": "the system does not let us read it",
    "hidden": "its name begins with a dot",
    "link": "a symbolic link inside the folder",
    "special": "neither a file nor a folder",
    "unsupported": "a type of file that can't be read (yet)",
    "too_large": "over the size limit",
    "empty": "no bytes, or only white space",
    "binary": "not text",
    "encoding": "text, but in no encoding we can tell",
    "no_text": "well-formed, but it says nothing",
    "encrypted": "a PDF that opens with a password, or not at all",
    "damaged": "a PDF that can't be parsed",
    "too_slow": "over the time limit",
}
SUPPORTED = "Markdown, reStructuredText, plain text, HTML and PDF"
BOMS = [
    (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\x00\x00", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"),
]  # fmt: skip
DECLARED = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{2,40})", re.IGNORECASE)
MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
CONTROL = bytes(range(32)).translate(None, b"\t\n\r\f\x1b") + b"\x7f"


class Unreadable(Exception):
    """Why a file can't be read: ``reason`` of REASONS, and the message in words."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read. ``name`` is its path as people know it, from the folder that was asked for on."""

    path: Path
    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A path that is not read, with the reason (of REASONS) and a sentence."""

    path: Path
    name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """A file's text as blocks, the encoding it was in, and what their ``line`` counts."""

    blocks: tuple[Block, ...]
    encoding: str
    unit: Literal["line", "page"] = "line"


def find(paths: Sequence[Path]) -> Iterator[Found | PassedOver]:
    """Every file at and below ``paths``, folders in the order of their names, each file once.

    A link that is named is followed; those met inside a folder are not (their target is read where it lies), so no
    loop can arise.
    """
    seen: set[Path] = set()
    for path in paths:
        try:
            real = path.resolve(strict=True)
            mode = real.stat().st_mode
        except FileNotFoundError:
            yield PassedOver(path, str(path), "missing", "There is nothing at this path.")
            continue
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
            yield PassedOver(path, str(path), "unreachable", f"Can't be reached: {_why(error)}.")
            continue
        for each in _walk(real, real.name, mode):
            if each.path not in seen:
                seen.add(each.path)
                yield each


def _walk(path: Path, name: str, mode: int) -> Iterator[Found | PassedOver]:
    waiting = [(path, name, mode)]  # a stack, not recursion: folders nest deeper than Python's
    while waiting:
        path, name, mode = waiting.pop()
        if not stat.S_ISDIR(mode):
            yield _judge(path, name, mode)
            continue
        try:
            with os.scandir(path) as entries:
                inside = sorted(entries, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            yield PassedOver(path, name, "unreachable", f"The folder can't be read: {_why(error)}.")
            continue
        for entry in inside:
            below, below_name = path / entry.name, f"{name}/{entry.name}"
            try:
                if entry.name.startswith("."):
                    yield PassedOver(below, below_name, "hidden", "Hidden: its name begins with a dot.")
                else:
                    waiting.append((below, below_name, entry.stat(follow_symlinks=False).st_mode))
            except OSError as error:
                yield PassedOver(below, below_name, "unreachable", f"Can't be reached: {_why(error)}.")


def _judge(path: Path, name: str, mode: int) -> Found | PassedOver:
    if stat.S_ISLNK(mode):
        return PassedOver(path, name, "link", "A symbolic link; its target is read where it lies, or when it is named.")
    if not stat.S_ISREG(mode):
        return PassedOver(path, name, "special", "Neither a file nor a folder.")
    suffix = path.suffix.lower()
    if (kind := KINDS.get(suffix)) is not None:
        return Found(path, name, kind)
    return PassedOver(path, name, "unsupported", f"Files of type {suffix} can't be read; {SUPPORTED} can.")


def read(file: Found, size_limit: int = SIZE_LIMIT, pdf_seconds: float = SECONDS) -> Document:
    """The text of ``file``. Raises :class:`Unreadable`. Never holds more than ``size_limit`` bytes of it, and gives a
    PDF up after ``pdf_seconds``."""
    try:
        with file.path.open("rb") as handle:
            data = handle.read(size_limit + 1)
    except FileNotFoundError as error:
        raise Unreadable("missing", "The file has vanished since it was found.") from error
    except OSError as error:
        raise Unreadable("unreachable", f"Can't be opened: {_why(error)}.") from error
    if len(data) > size_limit:
        raise Unreadable("too_large", f"Larger than the limit of {_amount(size_limit)}.")
    if file.kind == "pdf":
        if not data.strip():
            raise Unreadable("empty", "The file is empty.")
        try:
            return Document(tuple(read_pdf(data, pdf_seconds)), "pdf", "page")
        except Unfit as error:
            raise Unreadable(error.reason, str(error)) from error
    text, encoding = decode(data, html=file.kind == "html")
    blocks = tuple(parse(file.kind, text))
    if not blocks:
        raise Unreadable("no_text", "There is no text in it, only markup, code or rules.")
    return Document(blocks, encoding)


def decode(data: bytes, *, html: bool = False) -> tuple[str, str]:
    """The text of ``data`` and its encoding: by its byte order mark, as UTF-8, by what HTML declares, else by what fits
    best. Raises :class:`Unreadable`: empty, binary, or encoding."""
    if not data.strip():
        raise Unreadable("empty", "The file is empty." if not data else "The file holds only white space.")
    for mark, encoding in BOMS:
        if data.startswith(mark):
            return _strictly(data[len(mark) :], encoding, f"It begins as {encoding.upper()}"), encoding
    if data.startswith(b"%PDF-"):
        raise Unreadable("binary", "This is a PDF, whatever its name says; it is read once that ends in .pdf.")
    head = data[:8192]
    if b"\x00" in head or len(head) - len(head.translate(None, CONTROL)) > len(head) // 20:
        raise Unreadable("binary", "This is no text: it holds bytes that text never has.")
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        first_bad = error.start
    if html and (declared := DECLARED.search(head)):
        name = declared[1].decode("ascii")
        return _strictly(data, name, f"It declares itself {name}"), name
    return _legacy(data, first_bad)


def _legacy(data: bytes, first_bad: int) -> tuple[str, str]:
    """``data`` that is not UTF-8, from byte ``first_bad`` on, in the older encoding that fits best."""
    line = data.count(b"\n", 0, first_bad) + 1
    place = f"byte 0x{data[first_bad]:02x} in line {line}"
    broken = len(re.findall(rb"[\x80-\xff]", MULTIBYTE.sub(b"", data)))
    if len(MULTIBYTE.findall(data)) > broken:
        # Any 8-bit encoding would "fit", and turn every good character into two wrong ones.
        raise Unreadable("encoding", f"Mostly UTF-8, but not all of it: {place} is not.")
    best = from_bytes(data).best()
    if best is None:
        raise Unreadable("encoding", f"Not UTF-8 ({place}), and no other encoding fits.")
    return str(best), best.encoding


def _strictly(data: bytes, encoding: str, why: str) -> str:
    try:
        text = data.decode(encoding)
    except LookupError as error:
        raise Unreadable("encoding", f"{why}, an encoding that does not exist.") from error
    except UnicodeDecodeError as error:
        raise Unreadable("encoding", f"{why}, but byte {error.start} is not.") from error
    if not text.strip():
        raise Unreadable("empty", "The file holds only white space.")
    return text


def _why(error: BaseException) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _amount(size: int) -> str:
    return f"{size // 1024**2} MiB" if size >= 1024**2 and size % 1024**2 == 0 else f"{size:,} bytes"
