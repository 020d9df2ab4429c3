import builtins
import io

import pytest
from rich.console import Console

from rowcast.bar import Bars, duration
from rowcast.errors import ConfigError

PROJECT = "b1c7c8ab-5c0a-4a1e-9d3e-000000000001"


def drawn(bars):
    console = Console(file=io.StringIO(), width=120)
    console.print(bars.render())
    return console.file.getvalue()


def test_a_job_under_way_is_drawn_and_its_end_is_said(connect):
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    bars = Bars(console)
    with connect() as client:
        client._writer.bars = bars
        with client.job(PROJECT, kind="test", title="[Manuals]") as job:
            job.stage("reading", 4)
            job.advance(message="a.md")
            line = drawn(bars)
            assert "[Manuals]" in line
            assert "25 %" in line
            assert "reading 1/4" in line
            assert "a.md" in line
            job.stage("counting")
            job.advance(1000)
            assert "counting 1,000" in drawn(bars)
    assert drawn(bars).strip() == ""
    assert "[Manuals]: completed" in console.file.getvalue()


def test_without_a_terminal_nothing_is_drawn(connect):
    console = Console(file=io.StringIO())
    with connect() as client:
        client._writer.bars = Bars(console)
        with client.job(PROJECT, kind="test", title="Manuals") as job:
            job.advance()
    assert console.file.getvalue() == ""


def test_without_rich_it_says_what_to_install(connect, monkeypatch):
    def refuse(name, *args, **options):
        if name.startswith("rich"):
            raise ImportError(name)
        return real(name, *args, **options)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match=r"pip install 'rowcast\[bar\]'"):
        connect(bar=True)


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [(None, ""), (0, "0 s left"), (59_400, "59 s left"), (61_000, "1 min 01 s left"), (3_720_000, "1 h 02 min left")],
)
def test_how_long_is_left(milliseconds, said):
    assert duration(milliseconds) == said


def test_a_terminal_that_is_gone_ends_no_job(connect, server):
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(5, "Input/output error")

    with connect() as client:
        client._writer.bars = Bars(Console(file=Gone(), width=120))
        client._writer.bars._console._force_terminal = True
        with client.job(PROJECT, kind="test", title="T") as job:
            pass
    assert server.row("jobs", job.id)["status"] == "completed"
