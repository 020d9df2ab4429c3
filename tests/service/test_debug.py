"""The page for development, in a real browser against the real service."""

import re
from collections.abc import Iterator

import httpx
import pytest

from service.pages import policy
from tests.conftest import StackFacts
from tests.service.browser import Browser, running_browser
from tests.service.conftest import Project, served, service_environment
from tests.service.sse_server import message

ENTER, TAB = "\ue007", "\ue004"


@pytest.fixture(scope="module")
def service(stack: StackFacts) -> Iterator[str]:
    environment = {**service_environment(stack), "ROWCAST_DEBUG": "1", "ROWCAST_KEEPALIVE_SECONDS": "1"}
    with served(environment) as url:
        yield url


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    """An empty page, whose scripts and policy have nothing to complain of in the end."""
    window.open("about:blank")
    window.log()
    window.resize(1200)
    yield window
    assert window.log() == []


def opened(browser: Browser, service: str, project: Project) -> None:
    """The page, connected by its address."""
    browser.open(f"{service}/debug#project={project.id}&token={project.token}")
    browser.until(lambda: browser.text("#state") == "open")


def frames(browser: Browser) -> list[str]:
    """The raw frames, oldest first."""
    return browser.texts("#frames pre")[::-1]


# What is served


def test_without_development_there_is_no_such_page(stack: StackFacts) -> None:
    with served(service_environment(stack)) as url:
        assert httpx.get(f"{url}/debug").status_code == 404


def test_it_is_one_file_that_needs_nothing_from_elsewhere(service: str) -> None:
    got = httpx.get(f"{service}/debug")
    assert got.status_code == 200
    assert got.headers["Content-Type"] == "text/html; charset=utf-8"
    assert got.headers["Content-Security-Policy"] == policy(got.text)
    assert got.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'sha256-")
    assert got.headers["Referrer-Policy"] == "no-referrer"
    assert got.headers["Cache-Control"] == "no-store"
    assert not re.findall(r"https?:|//[a-z]+\.", got.text)
    assert not re.findall(r"<[a-z]+[^>]*\b(?:on[a-z]+|style|src)=", got.text)


# What it shows


def test_a_stream_is_shown_as_it_is_and_reduced(browser: Browser, service: str, project: Project) -> None:
    job = project.job(
        "Manuals <b>&amp;", status="running", progress_stage="parsing", progress_current=3, progress_total=4
    )
    source = project.source("a.md", "processing")
    opened(browser, service, project)
    browser.until(lambda: len(browser.texts("#rows tbody tr")) == 2)
    project.proposal("Tables", 0.5)
    browser.until(lambda: len(browser.texts("#rows tbody tr")) == 3)
    project.execute("update jobs set status = 'failed', error_message = 'torn' where id = %s", job)
    browser.until(lambda: "torn" in browser.text("#rows"))
    assert browser.texts("#rows h2") == ["Jobs: 1", "Sources: 1", "Proposals: 1"]
    assert browser.texts("#rows [aria-label=Jobs] td") == ["Manuals <b>&amp;", "failed: torn", "parsing 3/4"]
    assert browser.run("return document.querySelector('#rows progress').value") == 75
    assert browser.texts("#rows [aria-label=Sources] td")[:2] == ["a.md", "processing"]
    assert browser.texts("#rows [aria-label=Proposals] td") == ["Tables", "proposed", "50 %"]
    project.execute("delete from ingestion_sources where id = %s", source)
    browser.until(lambda: "Sources: 0" in browser.texts("#rows h2"))

    shown = frames(browser)
    assert shown[0] == f"GET /api/projects/{project.id}/status?snapshot=1"
    assert re.fullmatch(r"retry: [12]\d{3}", shown[1])
    assert shown[2].startswith('data: {"type":"connected",')
    assert re.fullmatch(r'data: \{"type":"snapshot",.*\}\nid: \d+', shown[3])
    assert re.fullmatch(rf'data: {{"type":"source_deleted","sourceId":"{source}"}}\nid: \d+', shown[-1])
    browser.until(lambda: ": keepalive" in frames(browser))
    ids = [int(found[1]) for frame in shown if (found := re.search(r"\nid: (\d+)$", frame))]
    assert ids == sorted(set(ids))
    assert browser.text("#last") == str(ids[-1])
    assert browser.text("#live") == "live"
    assert re.fullmatch("[0-9a-f]{8}", browser.text("#stream"))


def test_the_token_stays_out_of_addresses(browser: Browser, service: str, project: Project) -> None:
    opened(browser, service, project)
    assert browser.address == f"{service}/debug#project={project.id}"
    asked = browser.run("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert not any(project.token in name for name in asked)
    browser.ask("refresh")
    browser.until(lambda: browser.text("#state") == "open")  # this tab remembers it


def test_cut_and_resume_tell_what_was_missed(browser: Browser, service: str, project: Project) -> None:
    opened(browser, service, project)
    browser.until(lambda: browser.text("#last") != "none")
    last = browser.text("#last")
    browser.click("#cut")
    assert browser.text("#state") == "cut"
    project.proposal("while away")
    browser.click("#resume")
    browser.until(lambda: "while away" in browser.text("#rows"))
    assert f"GET /api/projects/{project.id}/status  Last-Event-ID: {last}" in frames(browser)
    assert browser.text("#connections") == "2"


def test_reset_shows_a_reset_with_its_snapshot(browser: Browser, service: str, project: Project) -> None:
    project.proposal("there")
    opened(browser, service, project)
    browser.click("#reset")
    browser.until(lambda: any('"type":"reset"' in frame for frame in frames(browser)))
    browser.until(lambda: browser.text("#connections") == "2" and "there" in browser.text("#rows"))


def test_snapshot_begins_anew(browser: Browser, service: str, project: Project) -> None:
    opened(browser, service, project)
    browser.until(lambda: browser.text("#last") != "none")
    browser.click("#snapshot")
    browser.until(lambda: sum('"type":"snapshot"' in frame for frame in frames(browser)) == 2)
    assert not any("Last-Event-ID" in frame for frame in frames(browser))


def test_it_is_used_by_hand_and_keyboard(browser: Browser, service: str, project: Project) -> None:
    browser.open(f"{service}/debug")
    assert browser.text("#state") == "not connected"
    browser.run("document.querySelector('#project').focus(); sessionStorage.clear()")
    browser.type("#project", project.id)
    browser.press(TAB)
    browser.type("#token", project.token)
    browser.press(TAB)
    browser.type("#types", "new_proposal")
    browser.press(ENTER)
    browser.until(lambda: browser.text("#state") == "open")
    browser.until(lambda: any("&types=new_proposal" in frame for frame in frames(browser)))
    order = []
    for _ in range(7):
        browser.press(TAB)
        order.append(browser.run("return document.activeElement.innerText"))
    assert order[:6] == ["Connect", "Cut", "Resume", "Snapshot", "Reset", "Clear"]


def test_a_refusal_is_shown_and_not_repeated(browser: Browser, service: str, project: Project) -> None:
    browser.open(f"{service}/debug#project={project.id}&token=nonsense")
    browser.until(lambda: browser.text("#state") == "ended")
    browser.until(lambda: any(frame.startswith('HTTP 401  {"error":"invalid_token"') for frame in frames(browser)))
    assert browser.text("#connections") == "1"
    browser.log()  # the browser itself notes an answer of 401


# Bounds, and the odd: told by a service that does what a script says


def flood(browser: Browser, service: str, chunks: str) -> None:
    """Has the page take text as if it were a stream's."""
    browser.open(f"{service}/debug")
    browser.run("for (const frame of new Parser().push(arguments[0])) take(frame)", chunks)


def test_only_the_last_frames_are_kept_and_long_ones_are_cut(browser: Browser, service: str) -> None:
    flood(browser, service, "".join(f": {number}\n\n" for number in range(2000)) + f": {'x' * 10_000}\n\n")
    browser.until(lambda: len(browser.texts("#frames li")) == 500)
    shown = frames(browser)
    assert shown[0] == ": 1501"
    assert shown[-1] == ": " + "x" * 4094 + "\n… 5906 characters more"
    assert browser.text("#count") == "2001"
    browser.click("#clear")
    browser.until(lambda: frames(browser) == [])


def test_many_rows_are_counted_and_the_newest_shown(browser: Browser, service: str) -> None:
    told = [
        message("new_proposal", proposalId=str(number), title=f"p{number}", confidence=None, status="proposed").decode()
        for number in range(1000)
    ]
    flood(browser, service, "".join(told).replace("}\n", "}\n\n"))
    browser.until(lambda: "Proposals: 1000" in browser.texts("#rows h2"))
    assert len(browser.texts("#rows tbody tr")) == 200
    assert "and 800 older ones" in browser.text("#rows")
    assert browser.texts("#rows tbody td")[0] == "p999"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_frames_are_read_however_they_arrive(browser: Browser, service: str, end: str) -> None:
    lines = [": a", "", "id: 7", "data: x", "data:  y", "", "data", "", "event:e", "id", "data:z:z", "", ""]
    browser.open(f"{service}/debug")
    read = browser.run(
        """
        const pieces = (size) => arguments[0].match(new RegExp(`[^]{1,${size}}`, "g"))
        return [1, 2, 3, 1000].map((size) => {
          const parser = new Parser()
          return pieces(size).flatMap((piece) => parser.push(piece)).map(({ event, id, data }) => [event, id, data])
        })""",
        end.join(lines) + "!",
    )
    assert read == [[["", None, []], ["", "7", ["x", " y"]], ["", None, [""]], ["e", "", ["z:z"]]]] * 4


def scripted(browser: Browser, service: str, *answers: tuple[int, dict[str, str], str]) -> None:
    """The page, connected to answers that a script gives one after the other: status, headers, body."""
    browser.open(f"{service}/debug")
    browser.run(
        """
        const [answers] = arguments
        window.asked = []
        window.fetch = async (address, { headers }) => {
          asked.push(headers["Last-Event-ID"] ?? null)
          const [status, its, body] = answers.shift() ?? [404, {}, "the script is over"]
          return new Response(body, { status, headers: its })
        }""",
        answers,
    )
    browser.type("#project", "p")
    browser.type("#token", "t" + ENTER)
    browser.until(lambda: browser.text("#state") == "ended")


def asked_with(browser: Browser) -> list[str | None]:
    """The Last-Event-ID of each request."""
    ids: list[str | None] = browser.run("return asked")
    return ids


QUICK = "retry: 20\n\n"


def test_it_comes_back_with_its_last_id_until_it_is_told_not_to(browser: Browser, service: str) -> None:
    end = message("stream_end", reason="shutdown", reconnect=True).decode() + "\n"
    last = message("stream_end", reason="access_revoked", reconnect=False).decode() + "\n"
    scripted(
        browser, service, (200, {}, QUICK), (200, {}, f"id: 7\n\n{end}"), (503, {"Retry-After": "0"}, "busy"),
        (200, {}, ": not a word\n\ndata: {not json\n\n"), (200, {}, last),
    )  # fmt: skip
    assert asked_with(browser) == [None, None, "7", "7", "7"]
    assert browser.text("#retry") == "20 ms"
    browser.until(lambda: "HTTP 503  busy" in frames(browser))
    assert any(frame.startswith("SyntaxError: ") for frame in frames(browser))


def test_what_it_is_told_never_becomes_markup(browser: Browser, service: str) -> None:
    evil = "<img src=x onerror=alert(1)>"
    told = message("new_proposal", proposalId="1", title=evil, confidence=0.5, status=evil).decode() + "\n"
    flood(browser, service, told)
    browser.until(lambda: evil in browser.text("#rows"))
    assert browser.run("return document.images.length") == 0


# On every screen


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_every_width_in_light_and_dark(browser: Browser, service: str, width: int, dark: bool) -> None:
    browser.resize(width, dark=dark)
    long = "x" * 300
    flood(browser, service, message("new_proposal", 7, proposalId="1", title=long, confidence=1, status=long).decode())
    browser.until(lambda: long in browser.text("#rows"))
    assert browser.run("return document.documentElement.scrollWidth") <= width
    small = "return [...document.querySelectorAll('button')].filter((each) => each.offsetHeight < 40).length"
    assert browser.run(small) == 0
    back, text = (
        browser.run("return getComputedStyle(document.body)[arguments[0]].match(/\\d+/g).map(Number)", name)
        for name in ("backgroundColor", "color")
    )
    assert (sum(back) < sum(text)) is dark
