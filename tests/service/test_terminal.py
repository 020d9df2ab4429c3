"""What a person at the terminal reads."""

import io
from typing import Any

import pytest
from rich.console import Console

from service.terminal import SHOWN_JOBS, SHOWN_PROPOSALS, SHOWN_SOURCES, LiveView, PlainView, describe, one_line
from service.watch import State

PROGRESS = {"stage": "parsing", "current": 3, "total": 7, "message": "page 3", "percent": 42.9, "etaSeconds": None}
JOB = {"type": "job_update", "jobId": "j", "title": "Manuals", "status": "running", "errorMessage": None}
SOURCE = {
    "type": "status_update", "sourceId": "s", "sourceName": "a.md", "status": "pending", "errorMessage": None,
    "updatedAt": "2026-11-21T12:00:00.000Z",
}  # fmt: skip
PROPOSAL = {"type": "new_proposal", "proposalId": "p", "title": "Tables", "confidence": 0.724, "status": "proposed"}
SNAPSHOT = {"type": "snapshot", "part": 1, "last": True, "sources": [], "jobs": [], "proposals": []}
CONNECTED = {"type": "connected", "revision": 7, "live": True}
HOSTILE = "\x1b]0;title\x07\x1b[31mred\x1b[0m\r\nnext\tline\x9b2J\x7f"


def after(*messages: dict[str, Any]) -> State:
    state = State()
    for message in messages:
        state.apply(message)
    return state


# One line a message

LINES = [
    (CONNECTED, "connected at revision 7"),
    ({**CONNECTED, "live": False}, "connected at revision 7 (not live yet)"),
    (SNAPSHOT, "1 sources, 1 jobs, 1 proposals"),
    ({**SNAPSHOT, "last": False}, None),
    ({"type": "live", "live": True, "reason": "subscribed"}, "live: subscribed"),
    ({"type": "live", "live": False, "reason": "closed"}, "not live, changes come slower: closed"),
    ({"type": "reset", "reason": "the cursor is too old"}, "reset: the cursor is too old"),
    (SOURCE, "source a.md pending"),
    ({**SOURCE, "status": "failed", "errorMessage": "not UTF-8"}, "source a.md failed: not UTF-8"),
    (JOB, "job Manuals running"),
    ({**JOB, "status": "failed", "errorMessage": "out of paper"}, "job Manuals failed: out of paper"),
    ({"type": "progress_update", "jobId": "j", "progress": PROGRESS}, "job Manuals: parsing 3/7 43 % page 3"),
    ({"type": "progress_update", "jobId": "k", "progress": PROGRESS}, "job k: parsing 3/7 43 % page 3"),
    (
        {"type": "progress_update", "jobId": "j",
         "progress": {**PROGRESS, "stage": None, "total": None, "percent": None, "message": None}},
        "job Manuals: 3/?",
    ),
    (PROPOSAL, "proposal Tables (72%)"),
    ({**PROPOSAL, "confidence": None}, "proposal Tables"),
    ({**PROPOSAL, "type": "proposal_update", "status": "accepted"}, "proposal Tables accepted"),
    ({"type": "stream_end", "reason": "shutdown", "reconnect": True}, "stream ended: shutdown"),
    ({"type": "error", "code": "upstream_unavailable", "message": "No."}, "error upstream_unavailable: No."),
    ({"type": "source_deleted", "sourceId": "s"}, "source s deleted"),
    ({"type": "job_deleted", "jobId": "j"}, "job j deleted"),
    ({"type": "proposal_deleted", "proposalId": "p"}, "proposal p deleted"),
    ({"type": "something_new"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("message", "line"), LINES)
def test_a_message_is_one_line_or_none(message: dict[str, Any], line: str | None) -> None:
    state = after(JOB, SOURCE, PROPOSAL)
    assert describe(message, state) == line
    written: list[str] = []
    with PlainView(written.append) as view:
        view.message(message, state)
    assert written == ([] if line is None else [line])


def test_a_note_is_a_line() -> None:
    written: list[str] = []
    PlainView(written.append).note("no connection (gone), trying again")
    assert written == ["no connection (gone), trying again"]


def test_control_characters_steer_nothing() -> None:
    assert one_line(HOSTILE) == " ]0;title  [31mred [0m  next line 2J "
    assert one_line("naïve, 你好 [x] 🙂") == "naïve, 你好 [x] 🙂"
    written: list[str] = []
    view = PlainView(written.append)
    view.message({**PROPOSAL, "title": HOSTILE}, State())
    view.note(HOSTILE)
    assert all(line.isprintable() for line in written)


# The live picture


def shown(*messages: dict[str, Any], note: str = "", height: int = 60) -> str:
    """The picture after these messages, as it stays when watching ends."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=120, height=height, record=True)
    state = State()
    with LiveView(console) as view:
        for message in messages:
            state.apply(message)
            view.message(message, state)
        if note:
            view.note(note)
    frames = console.export_text().split("live   ")
    assert "Traceback" not in file.getvalue()
    return frames[-1]


def test_the_picture_of_nothing() -> None:
    assert "0 jobs   0 sources   0 proposals" in shown()


def test_the_picture_shows_jobs_sources_and_proposals() -> None:
    picture = shown(CONNECTED, JOB, {"type": "progress_update", "jobId": "j", "progress": PROGRESS}, SOURCE, PROPOSAL)
    assert "1 jobs   1 sources   1 proposals" in picture
    for line in ("Manuals  running", "parsing 3/7 43 % page 3", "pending  a.md", "72%  Tables  proposed"):
        assert line in picture


def test_the_header_says_whether_it_is_live() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=80)
    view = LiveView(console)
    for live, header in ((True, "● live"), (False, "○ not live")):
        view.message({"type": "live", "live": live, "reason": "r"}, after({"type": "live", "live": live}))
        console.print(view._render())
        assert header in file.getvalue()


@pytest.mark.parametrize("text", ["[red]x[/red]", "[/]", "[bold", ":smile:", "\\[x]", "a\\", "[link=http://x]y[/link]"])
def test_markup_in_a_text_is_shown_as_it_is(text: str) -> None:
    picture = shown(
        {**JOB, "title": text, "status": text},
        {"type": "progress_update", "jobId": "j", "progress": {**PROGRESS, "stage": text, "message": text}},
        {**SOURCE, "sourceName": text, "status": text, "errorMessage": text},
        {**PROPOSAL, "title": text, "status": text},
        note=text,
    )
    assert picture.count(text) == 10


def test_control_characters_do_not_reach_the_terminal() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=120)
    view = LiveView(console)
    state = after({**JOB, "title": HOSTILE}, {**SOURCE, "errorMessage": HOSTILE}, {**PROPOSAL, "title": HOSTILE})
    view.message({"type": "stream_end", "reason": HOSTILE, "reconnect": True}, state)
    console.print(view._render())
    assert all(line.isprintable() for line in file.getvalue().split("\n"))
    assert file.getvalue().count("]0;title") == 4


def test_a_job_of_which_little_is_known_is_shown_all_the_same() -> None:
    unknown = {**PROGRESS, "stage": None, "total": None, "percent": None, "message": None}
    assert "3/?" in shown({"type": "progress_update", "jobId": "j", "progress": unknown})
    assert "Manuals" in shown({**SNAPSHOT, "jobs": [{**JOB, "progress": None}]})


@pytest.mark.parametrize(("percent", "status"), [(0.0, "queued"), (100.0, "completed"), (None, "strange")])
def test_any_percent_and_status_can_be_shown(percent: float | None, status: str) -> None:
    progress = {"type": "progress_update", "jobId": "j", "progress": {**PROGRESS, "percent": percent}}
    assert status in shown({**JOB, "status": status}, progress)


def test_a_bar_is_as_long_as_its_percent() -> None:
    def bar(percent: float) -> int:
        console = Console(file=io.StringIO(), color_system=None, no_color=True, width=120, record=True)
        view = LiveView(console)
        progress = {"type": "progress_update", "jobId": "j", "progress": {**PROGRESS, "percent": percent}}
        view.message(JOB, after(progress))
        console.print(view._jobs())
        return console.export_text().count("━")

    assert [bar(percent) for percent in (0.0, 50.0, 100.0)] == [0, 15, 30]


def test_of_many_rows_the_latest_are_shown_and_the_rest_counted() -> None:
    jobs = [{**JOB, "jobId": str(n), "title": f"job-{n:02}", "status": "completed"} for n in range(20)]
    jobs[0]["status"] = "running"
    sources = [
        {**SOURCE, "sourceId": str(n), "sourceName": f"source-{n:02}", "updatedAt": f"2026-11-21T12:00:{59 - n}.000Z"}
        for n in range(20)
    ]
    proposals = [{**PROPOSAL, "proposalId": str(n), "title": f"proposal-{n:02}"} for n in range(20)]
    picture = shown(*jobs, *sources, *proposals)
    assert "job-00" in picture  # still running
    assert sum(f"job-{n:02}" in picture for n in range(20)) == SHOWN_JOBS
    assert [f"source-{n:02}" in picture for n in range(20)] == [True] * SHOWN_SOURCES + [False] * (20 - SHOWN_SOURCES)
    assert [f"proposal-{n:02}" in picture for n in range(20)][-SHOWN_PROPOSALS:] == [True] * SHOWN_PROPOSALS
    assert f"and {20 - SHOWN_SOURCES} more sources" in picture
    assert f"and {20 - SHOWN_PROPOSALS} more proposals" in picture


def test_when_all_rows_fit_nothing_is_said_of_more() -> None:
    sources = [{**SOURCE, "sourceId": str(n)} for n in range(SHOWN_SOURCES)]
    proposals = [{**PROPOSAL, "proposalId": str(n)} for n in range(SHOWN_PROPOSALS)]
    assert " more " not in shown(*sources, *proposals)


def test_what_happens_to_the_stream_is_noted_until_it_is_back() -> None:
    end = {"type": "stream_end", "reason": "shutdown", "reconnect": True}
    assert "stream ended: shutdown" in shown(CONNECTED, end)
    assert "stream ended" not in shown(CONNECTED, end, CONNECTED)
    assert "reset: too old" in shown(CONNECTED, {"type": "reset", "reason": "too old"})
    assert "no connection (gone)" in shown(CONNECTED, note="no connection (gone), trying again")


def test_a_small_terminal_is_no_error() -> None:
    proposals = [{**PROPOSAL, "proposalId": str(n)} for n in range(20)]
    assert shown(JOB, SOURCE, *proposals, height=3)
