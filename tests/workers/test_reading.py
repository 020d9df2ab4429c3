import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.workers.pdfs import encrypted, pdf
from workers.reading import REASONS, Found, Unreadable, decode, find, read


def found(path, kind="text"):
    return Found(path, path.name, kind)


def told(paths):
    return {each.name: "read" if isinstance(each, Found) else each.reason for each in find(paths)}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "docs"
    (root / "guide").mkdir(parents=True)
    (root / "b.md").write_text("# B")
    (root / "a.RST").write_text("A\n=")
    (root / "guide" / "c.html").write_text("<p>c")
    (root / "README").write_text("read me")
    return root


def test_a_folder_is_walked_in_the_order_of_its_names(folder):
    assert list(told([folder])) == ["docs/README", "docs/a.RST", "docs/b.md", "docs/guide/c.html"]
    assert [each.kind for each in find([folder])] == ["text", "restructuredtext", "markdown", "html"]


def test_odd_things_are_told_apart(folder):
    (folder / ".git").mkdir()
    (folder / ".git" / "config.txt").write_text("x")
    (folder / ".hidden.md").write_text("x")
    (folder / "picture.png").write_bytes(b"x")
    (folder / "paper.docx").write_bytes(b"PK")
    (folder / "link.md").symlink_to(folder / "b.md")
    (folder / "gone.md").symlink_to(folder / "nothing")
    (folder / "guide" / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.md")
    names = told([folder])
    assert {name: reason for name, reason in names.items() if reason != "read"} == {
        "docs/.git": "hidden", "docs/.hidden.md": "hidden", "docs/picture.png": "unsupported",
        "docs/paper.docx": "unsupported", "docs/link.md": "link", "docs/gone.md": "link", "docs/guide/loop": "link",
        "docs/pipe.md": "special",
    }  # fmt: skip
    assert set(names.values()) - {"read"} <= REASONS.keys()


def test_a_type_that_can_t_be_read_says_which_can(folder):
    (folder / "book.epub").touch()
    (outcome,) = find([folder / "book.epub"])
    assert outcome.message == (
        "Files of type .epub can't be read; Markdown, reStructuredText, plain text, HTML and PDF can."
    )


def test_named_paths_are_told_by_their_own_name_and_each_file_once(folder):
    assert list(told([folder / "b.md", folder, folder / "guide", folder / "guide" / ".." / "b.md"])) == [
        "b.md", "docs/README", "docs/a.RST", "docs/guide/c.html",
    ]  # fmt: skip


def test_a_named_link_is_followed_and_a_loop_is_no_trap(folder, tmp_path):
    link = tmp_path / "shortcut"
    link.symlink_to(folder)
    assert len(told([link])) == 4
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert list(told([loop]).values()) == ["unreachable"]


def test_what_is_not_there_is_told(tmp_path):
    (outcome,) = find([tmp_path / "nowhere"])
    assert (outcome.reason, outcome.message) == ("missing", "There is nothing at this path.")


@pytest.fixture
def folder_as_nobody():
    """A folder, read as somebody who may be forbidden to: root may read everything."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "docs")
        (folder / "guide").mkdir(parents=True)
        (folder / "b.md").write_text("b")
        (folder / "guide").chmod(0)
        (folder / "b.md").chmod(0)
        Path(temporary).chmod(0o755)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        yield folder
        os.seteuid(before)
        (folder / "guide").chmod(0o700)


def test_what_may_not_be_read_is_told(folder_as_nobody):
    assert told([folder_as_nobody]) == {"docs/b.md": "read", "docs/guide": "unreachable"}
    with pytest.raises(Unreadable, match="Permission denied"):
        read(found(folder_as_nobody / "b.md", "markdown"))


def test_a_socket_is_special(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        path = tmp_path / "s"
        try:
            listener.bind(str(path))
        except OSError:
            pytest.skip("the temporary directory's path is too long for a socket")
        assert list(told([path]).values()) == ["special"]


def test_folders_may_nest_deeper_than_python_s_recursion(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1200):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        with os.fdopen(os.open("deep.md", os.O_WRONLY | os.O_CREAT, dir_fd=here), "w") as file:
            file.write("deep")
        (deep,) = find([tmp_path])
        assert deep.name == f"{tmp_path.name}/{'d/' * 1200}deep.md"
        assert read(deep).blocks
    finally:
        os.close(here)
        # Python's own rmtree, which pytest uses, recurses.
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"", "empty", "The file is empty."),
        (b" \n\t", "empty", "only white space"),
        (b"\xef\xbb\xbf", "empty", "only white space"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "binary", "no text"),
        (b"\x01\x02\x03abc", "binary", "no text"),
        (b"%PDF-1.7 ...", "binary", "This is a PDF"),
        ("schön".encode() * 20 + b"\xe9\xff", "encoding", "Mostly UTF-8, but not all of it: byte 0xe9 in line 1"),
        (b"\xff\xfea", "encoding", "It begins as UTF-16-LE, but byte 0 is not"),
    ],
)
def test_what_is_no_text_is_told_apart(data, reason, message):
    with pytest.raises(Unreadable, match=message) as caught:
        decode(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "iso8859-1"])
def test_text_is_read_in_the_encoding_it_has(encoding):
    text = "Die Größe des Schlüssels ändert sich über Nacht. Später hört das für alle auf.\n" * 5
    assert decode(text.encode(encoding))[0] == text


def test_older_encodings_of_other_scripts_are_guessed():
    text = "Журнал изменений нумерует каждое изменение в базе данных и хранит его семь дней.\n" * 5  # noqa: RUF001
    assert decode(text.encode("cp1251"))[0] == text


def test_html_is_read_in_the_encoding_it_declares():
    page = '<meta charset="koi8-r"><p>журнал'.encode("koi8-r")
    assert decode(page, html=True) == ('<meta charset="koi8-r"><p>журнал', "koi8-r")
    with pytest.raises(Unreadable, match="declares itself nonsense, an encoding that does not exist"):
        decode(b'<meta charset="nonsense"><p>\xe9', html=True)


def test_a_file_over_the_limit_is_refused_and_one_at_it_is_not(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x" * 100)
    assert read(found(path), 100).encoding == "utf-8"
    with pytest.raises(Unreadable, match="Larger than the limit of 99 bytes") as caught:
        read(found(path), 99)
    assert caught.value.reason == "too_large"


def test_a_pdf_is_read_page_by_page(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf([(11, 700, "One page.")], [(11, 700, "Another page.")]))
    document = read(found(path, "pdf"))
    assert [(block.line, block.text) for block in document.blocks] == [(1, "One page."), (2, "Another page.")]
    assert (document.unit, document.encoding) == ("page", "pdf")


@pytest.mark.parametrize(
    ("data", "seconds", "reason"),
    [
        (b" ", 60, "empty"),
        (b"%PDF-1.7", 60, "damaged"),
        (pdf([]), 60, "no_text"),
        (encrypted(pdf([(11, 700, "Secret.")]), "hush"), 60, "encrypted"),
        (pdf([(11, 700, "Slow.")]), 0.001, "too_slow"),
    ],
)
def test_a_pdf_that_can_t_be_read_says_why(tmp_path, data, seconds, reason):
    path = tmp_path / "a.pdf"
    path.write_bytes(data)
    with pytest.raises(Unreadable) as caught:
        read(found(path, "pdf"), pdf_seconds=seconds)
    assert caught.value.reason == reason
    assert reason in REASONS


def test_a_document_without_a_word_is_told(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("```\ncode\n```\n")
    with pytest.raises(Unreadable) as caught:
        read(found(path, "markdown"))
    assert caught.value.reason == "no_text"


def test_a_file_that_vanished_is_told(tmp_path):
    with pytest.raises(Unreadable, match="vanished"):
        read(found(Path(tmp_path / "gone.txt")))
