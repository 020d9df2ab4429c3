"""What people do on the project page."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.conftest import PASSWORD, Page, email, worker_environment
from tests.conftest import ROOT, StackFacts

HACKRF = ROOT / "examples" / "boms" / "hackrf-one-bom.csv"
PICTURES = os.environ.get("ROWCAST_PICTURES")
"""A folder that gets pictures of the pages, for people to look at."""


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.browser.screenshot(Path(PICTURES) / f"{name}.png")


def figures(page: Page) -> dict[str, str]:
    """The numbers of an enrichment by their names."""
    return dict(text.split("\n") for text in page.browser.texts(".rowcast-figures > div"))


def sign_in(page: Page, password: str) -> None:
    page.open("")
    page.sees("Sign in", "form")
    page.browser.type("input[name=email]", email(page.project))
    page.browser.type("input[name=password]", f"{password}\ue007")


def test_from_signing_in_to_the_last_outcome(reader: Page, worker: None) -> None:
    sign_in(reader, "not the password")
    reader.sees("That e-mail and password do not go together.")
    assert reader.violations() == []
    reader.browser.log()  # the browser notes the refusal itself
    sign_in(reader, PASSWORD)
    reader.sees("you are owner", ".cards")
    assert reader.violations() == []
    reader.press("Test", ".cards")
    reader.sees("Nothing is running")
    assert reader.badge == "Live"

    reader.browser.type("input[type=file]", str(HACKRF))
    reader.sees("hackrf-one-bom.csv", "h1")
    reader.until(lambda: (figures(reader).get("Items"), figures(reader).get("Pending")) == ("157", "0"))
    told = {"Items": "157", "Enriched": "56", "Not found": "26", "Failed": "75", "Pending": "0", "Found": "35.7 %"}
    assert told.items() <= figures(reader).items()
    reader.sees("Enrich again")
    reader.until(lambda: reader.badge == "Ended")

    # its lines
    reader.sees("157 of 157", ".tools")
    for name, count in (("Enriched", 56), ("Not found", 26), ("Failed", 75), ("Pending", 0), ("All", 157)):
        reader.press(name, ".tools")
        reader.sees(f"{count} of 157", ".tools")
    reader.press("Part", ".lines")
    parts = [text for text in reader.browser.texts(".line b") if text != "No part number"]
    assert parts == sorted(parts, key=str.lower)
    reader.press("Part", ".lines")
    reader.sees("↓", ".lines")
    reader.browser.type("input[type=search]", "max2837")
    reader.sees("1 of 157", ".tools")
    assert reader.browser.texts(".line b") == ["MAX2837ETM+T"]
    assert reader.violations() == []

    reader.press("Test", ".top")
    reader.sees("157 lines Completed")
    reader.sees("Enriching hackrf-one-bom.csv", "[aria-label='Ended jobs']")
    assert reader.browser.log() == []


def test_a_run_is_begun_paused_resumed_stopped_and_begun_again(page: Page) -> None:
    project = page.project
    bom = project.bom("a", "x", *(f"P{number}" for number in range(20)))
    page.open_bom(bom)
    page.press("Enrich", ".commands")
    page.sees("Waiting for a worker", ".notice")
    run = project.claimed(bom)
    run.batch()
    page.until(lambda: figures(page).get("Pending") == "12")
    page.press("Pause", ".commands")
    page.press("Resume", ".commands")
    page.press("Stop", ".commands")
    page.sees("Stopped", ".rowcast-stages")

    page.press("Enrich again", ".commands")
    page.sees("Waiting for a worker", ".notice")
    project.claimed(bom).all()
    page.until(lambda: page.badge == "Ended" and figures(page)["Not found"] == "1")
    page.press("Enrich again", ".commands")  # of a stream that has ended
    page.until(lambda: page.badge == "Live")
    page.sees("Waiting for a worker", ".notice")
    project.claimed(bom).all()
    page.until(lambda: page.badge == "Ended" and figures(page)["Pending"] == "0")
    page.press("Enriched", ".tools")
    page.sees("21 of 22", ".tools")

    begun_elsewhere = project.start(bom)
    page.until(lambda: page.badge == "Live")
    page.sees("Pause", ".commands")
    begun_elsewhere.all()
    page.until(lambda: page.badge == "Ended" and figures(page)["Pending"] == "0")


def test_an_ingestion_is_seen_as_it_happens(page: Page, stack: StackFacts) -> None:
    page.open_project()
    command = [sys.executable, "-m", "service.cli", "ingest", "README.md", "docs", "--project", page.project.id]
    with subprocess.Popen(command, cwd=ROOT, env=worker_environment(stack), stdout=subprocess.DEVNULL) as ingestion:
        page.until(
            lambda: page.browser.run("return !!document.querySelector('[aria-label=\"Under way\"] [role=progressbar]')")
        )
        page.sees("Completed", "[aria-label='Ended jobs']")
        assert ingestion.wait() == 0
    [[sources, proposals]] = page.project.database.execute(
        "select (select count(*) from ingestion_sources where project_id = %(id)s), "
        "(select count(*) from proposed_nodes where project_id = %(id)s)",
        {"id": page.project.id},
    )
    page.sees(f"Sources\n{sources}", "[aria-label='At a glance']")
    page.sees(f"To decide\n{proposals}", "[aria-label='At a glance']")
    assert page.violations() == []

    page.browser.run("document.querySelector('[aria-label=\"Ended jobs\"] a').click()")
    page.sees("Extraction", "[aria-label=Stages]")
    page.sees("100 %")
    page.sees("Begun", "[aria-label=History]")
    assert page.violations() == []
    assert page.browser.log() == []


def test_jobs_are_cancelled_and_retried_and_proposals_decided_upon(page: Page) -> None:
    project = page.project
    running = project.job(
        "Long one",
        status="running",
        progress_stage="parsing",
        progress_current=3,
        progress_total=4,
        lease_until="2100-01-01",
    )
    project.job("Broken one", status="failed", error_message="The file is torn.")
    proposal = project.proposal("Tables of parts", 0.9)
    page.open_project()
    page.sees("The file is torn.", "[aria-label='Ended jobs']")
    page.sees("3 of 4, 75 %", "[aria-label='Under way']")
    page.press("Cancel", "[aria-label='Under way']")
    page.sees("Stopping", "[aria-label='Under way']")
    page.press("Retry", "[aria-label='Ended jobs']")
    page.sees("Broken one", "[aria-label='Under way']")
    page.press("Accept", "[aria-label=Proposals]")
    page.sees("Nothing to decide")
    page.press("Accepted", "[aria-label=Proposals]")
    page.sees("Tables of parts", "[aria-label=Proposals]")
    [[asked]] = project.database.execute("select cancel_requested_at is not null from jobs where id = %s", [running])
    [[status]] = project.database.execute("select status from proposed_nodes where id = %s", [proposal])
    assert (asked, status) == (True, "accepted")


def test_a_viewer_sees_all_and_is_offered_nothing_to_change(page: Page) -> None:
    page.project.role("viewer")
    page.project.job("Broken one", status="failed", error_message="The file is torn.")
    page.project.proposal("Tables of parts")
    page.open_project()
    page.sees("Tables of parts")
    page.sees("Broken one")
    assert page.browser.texts("main button, main input") == ["To decide", "Accepted", "Rejected"]


def test_a_file_that_is_none_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "notes.csv"
    file.write_text("a,b\n1,2\n")
    page.open_project()
    page.browser.type("input[type=file]", str(file))
    page.sees("notes.csv:", ".wrong")
    assert page.violations() == []


def test_what_is_not_there_is_told_so(page: Page) -> None:
    for path in ("project?id=x", "project", "bom?id=00000000-0000-4000-8000-00000000000f", "job?id=1"):
        page.open(path)
        page.sees("There is no such")
    assert page.violations() == []
    page.press("Your projects", "main")
    page.sees("you are owner", ".cards")


def test_a_mistyped_address_is_told_so(page: Page) -> None:
    page.open("projects")
    page.sees("There is no such page")
    assert page.violations() == []
    page.press("Your projects", "main")
    page.sees("you are owner", ".cards")


def test_twenty_thousand_lines_are_held_and_a_few_drawn(page: Page) -> None:
    bom = page.project.bom(*(f"P{number:05}" for number in range(1, 20_001)))
    page.open_bom(bom)
    page.sees("20,000 of 20,000", ".tools")
    assert 10 <= len(page.browser.texts(".line")) <= 40
    page.browser.run("document.querySelector('.lines .body').scrollTop = 1e9")
    page.sees("P20000", ".lines")
    assert len(page.browser.texts(".line")) <= 40
    page.browser.type("input[type=search]", "p12345")
    page.sees("1 of 20,000", ".tools")
    page.sees("P12345", ".lines")


@pytest.mark.parametrize("dark", [False, True])
def test_pages_fit_any_width_in_light_and_dark(page: Page, dark: bool) -> None:
    project = page.project
    project.execute("update projects set name = 'Radio board' where id = %s", project.id)
    page.browser.run("localStorage.setItem('rowcast-session', localStorage.getItem('rowcast-session')"
                     ".replaceAll(arguments[0], 'ada@example.com'))", email(project))  # fmt: skip
    project.job("Ingesting manuals (312 files)", status="running", progress_stage="parsing", progress_current=118,
                progress_total=312, progress_message="manuals/power/tps54331.pdf")  # fmt: skip
    project.job("Ingesting drawings (48 files)", status="queued")
    project.job("Ingesting minutes", status="failed", error_message="minutes-3.md is not UTF-8: byte 0xE9 at 120.")
    for name, status in (("manuals/power/tps54331.pdf", "processing"), ("manuals/lm358.pdf", "completed")):
        project.source(name, status)
    for number, title in enumerate(("Buck converter, 3 A", "Dual op amp, 3 to 32 V", "Thread of the M3 spacers")):
        project.proposal(title, 0.91 - number / 10)
    bom = project.bom("LM358DR", "xTPS54331DR", None, *(f"RC0402FR-07{value}KL" for value in range(10, 60)))
    project.execute("update boms set filename = 'radio-board-bom.csv' where id = %s", bom)
    run = project.start(bom)
    for _ in range(3):
        run.batch()
    for name in ("project", "bom"):
        (page.open_project if name == "project" else lambda: page.open_bom(bom))()
        page.until(lambda: page.badge == "Live")
        for width in (390, 820, 1280):
            page.browser.resize(width, dark=dark)
            picture(page, f"{name}-{width}-{'dark' if dark else 'light'}")
            assert page.browser.run("return document.documentElement.scrollWidth") <= width
            assert page.violations() == [], (name, width)
