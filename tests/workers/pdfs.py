"""Small PDFs made by hand: pages of text at places, in one font."""

from io import BytesIO

from pypdf import PdfReader, PdfWriter

Text = tuple[float, float, str]
"""The letters' size and their height on the page, in points, and what they say."""


def pdf(*pages: list[Text], body: bytes | None = None) -> bytes:
    """A PDF of these pages; ``body`` is what stands on every page instead."""
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", font]
    kids = []
    for page in pages:
        content = body if body is not None else b"".join(_shown(*text) for text in page)
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F 3 0 R >> >> >>" % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    out, offsets = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return out + b"xref\n0 %d\n0000000000 65535 f \n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        size, table, size, len(out),
    )  # fmt: skip


def _shown(size: float, y: float, text: str) -> bytes:
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)").encode("cp1252")
    return b"BT /F %g Tf 72 %g Td (%s) Tj ET\n" % (size, y, escaped)


def encrypted(data: bytes, password: str) -> bytes:
    """As everybody's tool encrypts it, with AES-256; with the password "" it opens by itself."""
    writer, out = PdfWriter(clone_from=PdfReader(BytesIO(data))), BytesIO()
    writer.encrypt(password, owner_password="the owner's", algorithm="AES-256")
    writer.write(out)
    return out.getvalue()
