"""Bytes as text, in the encodings that spreadsheets and CAD tools write.

By its byte order mark, as UTF-8, else in the older encoding that fits. That last is a guess; it matters for what people
read (µ, Ω, names), while part numbers and delimiters are ASCII in all of them.
"""

import re

from charset_normalizer import from_bytes

from boms.errors import NotABom

MARKS = (
    (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\x00\x00", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"),
)  # fmt: skip
OTHERS = (
    (b"PK\x03\x04", "an Excel or OpenDocument workbook"), (b"\xd0\xcf\x11\xe0", "an Excel workbook of the old format"),
    (b"%PDF-", "a PDF"), (b"\x1f\x8b", "a compressed file"), (b"{\\rtf", "a text document"), (b"<", "HTML or XML"),
)  # fmt: skip
SCRIPTS = ["gb18030", "big5", "cp932", "cp949", "cp1251"]
"""Encodings of languages that are not written in Latin letters."""
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
HIGH = re.compile(rb"[\x80-\xff]+")


def decode(data: bytes) -> tuple[str, str]:
    """The text of ``data`` and its encoding. Raises :class:`NotABom` when it is empty or no text."""
    if not data.strip():
        raise NotABom("The file is empty.")
    for start, what in OTHERS:
        if data.lstrip().startswith(start):
            raise NotABom(f"This is {what}; save the table as CSV.")
    text, encoding = _marked(data) or _unmarked(data)
    if found := CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise NotABom("This is no text: it holds characters that text never has.", line)
    if not text.strip():
        raise NotABom("The file is empty.")
    return text, encoding


def _marked(data: bytes) -> tuple[str, str] | None:
    for mark, encoding in MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding), encoding
            except UnicodeDecodeError as error:
                raise NotABom(
                    f"The file begins as {encoding.upper()}, but byte {len(mark) + error.start} is not."
                ) from error
    return None


def _unmarked(data: bytes) -> tuple[str, str]:
    even, odd = data[:4096:2].count(0), data[1:4096:2].count(0)
    if max(even, odd) > len(data[:4096]) // 4 and min(even, odd) == 0:
        encoding = "utf-16-be" if even else "utf-16-le"
        return data.decode(encoding, "replace"), encoding
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    if not broken:
        return text, "utf-8"
    if sum(character > "\x7f" for character in text) - broken > broken:
        line = text.count("\n", 0, text.index("\ufffd")) + 1
        raise NotABom("The file is mostly UTF-8, but a character here is not; save it as UTF-8 again.", line)
    # Latin text has its odd characters one at a time; letters of other scripts come in words.
    runs = HIGH.findall(data)
    if sum(len(run) for run in runs if len(run) > 1) > len(runs):
        best = from_bytes(data, cp_isolation=SCRIPTS, threshold=0.5).best()
        if best is not None:
            return str(best), best.encoding
    try:
        return data.decode("cp1252"), "cp1252"
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotABom("The text is in no encoding that we can tell; save it as UTF-8.", line) from error
