"""A PDF read in a process of its own: the same blocks, the same reasons, and an end to patience and memory."""

import pytest

from tests.workers.pdfs import Text, encrypted, pdf
from workers import apart
from workers.apart import read_pdf
from workers.formats.blocks import Unfit
from workers.formats.pdf import parse

PAGE: list[Text] = [(20, 700, "Leases"), (11, 670, "A lease is a time. \u20ac")]


def unfit(data: bytes, **limits: float) -> tuple[str, str]:
    with pytest.raises(Unfit) as raised:
        read_pdf(data, **limits)  # type: ignore[arg-type]
    return raised.value.reason, str(raised.value)


def test_blocks_come_back_as_they_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    assert read_pdf(pdf(PAGE)) == parse(pdf(PAGE))


def test_so_do_reasons() -> None:
    assert unfit(encrypted(pdf(PAGE), "hush")) == ("encrypted", "It can't be read without its password.")


def test_there_is_an_end_to_patience() -> None:
    assert unfit(pdf(PAGE), seconds=0.001) == ("too_slow", "It could not be read within 0.001 s.")


def test_there_is_an_end_to_memory() -> None:
    assert unfit(pdf(PAGE) + bytes(4 << 20), memory=1 << 20) == (
        "too_large",
        "It takes more than 1 MiB of memory to read.",
    )


def test_a_reader_that_breaks_off_says_nothing_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart.sys, "executable", "/bin/false")
    assert unfit(pdf(PAGE)) == ("damaged", "Its reader broke off (status 1); the PDF is damaged.")
