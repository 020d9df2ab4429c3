"""What the project page costs its reader: bytes, the time until it shows a project, and frames while much happens.

    python -m tests.browser.measure

On a devstack of its own, in headless Chromium without a graphics card, with an empty cache each time.
"""

import gzip
import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psycopg

from tests.browser.conftest import EXPORT, PASSWORD, Page, Service, email
from tests.conftest import running_devstack
from tests.service.browser import running_browser
from tests.service.conftest import Project, add_user, service_environment

LOADS = 5
JOBS = 20
EVENTS_A_SECOND = 100
SECONDS = 10
WATCH = """
addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
  if (!window.shown && document.querySelector('.columns')) window.shown = performance.now()
}).observe(document.body, { childList: true, subtree: true }))
new PerformanceObserver((list) => { window.blocked = (window.blocked ?? 0) + list.getEntries()
  .reduce((sum, { duration }) => sum + duration - 50, 0) }).observe({ type: 'longtask', buffered: true })
window.frames_ = []
let last = performance.now()
requestAnimationFrame(function frame(now) { window.frames_.push(now - last); last = now; requestAnimationFrame(frame) })
"""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def sizes(page: str) -> tuple[int, int]:
    """The bytes of a page's scripts, as they are and compressed; not of those for browsers without modules."""
    html = (EXPORT / page).read_text()
    scripts = [EXPORT / name for name in re.findall(r'<script src="/([^"]+)" async', html)]
    return sum(file.stat().st_size for file in scripts), sum(len(gzip.compress(file.read_bytes())) for file in scripts)


def load(page: Page) -> tuple[float, float, float]:
    """ms until something is painted, until the project is there, and for which the page could not answer."""
    page.browser.devtools("Network.clearBrowserCache")
    page.open(f"project?id={page.project.id}")
    page.until(lambda: page.badge == "Live" and page.browser.run("return window.shown"))
    painted, shown, blocked = page.browser.run(
        "const [{ startTime }] = performance.getEntriesByName('first-contentful-paint');"
        "return [startTime, window.shown, window.blocked ?? 0]"
    )
    return painted, shown, blocked


def busy(page: Page) -> float:
    """s for which the page's thread has worked since it was opened."""
    told = page.browser.devtools("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in told if each["name"] == "TaskDuration"))


def frames(page: Page) -> tuple[list[float], float]:
    """ms of each frame while jobs report, and for how many s the page's thread has worked for all."""
    jobs = [page.project.job(f"Job {number}", status="running") for number in range(JOBS)]
    page.sees(f"Job {JOBS - 1}")
    page.browser.devtools("Performance.enable", timeDomain="threadTicks")  # not the time of others on the machine
    page.browser.run("window.frames_.length = 0")
    before = busy(page)
    began = time.monotonic()
    for number in range(EVENTS_A_SECOND * SECONDS):
        page.project.execute(
            "update jobs set progress_current = %s, progress_total = 1000, progress_stage = 'parsing' where id = %s",
            number, jobs[number % JOBS],
        )  # fmt: skip
        time.sleep(max(0.0, began + (number + 1) / EVENTS_A_SECOND - time.monotonic()))
    return list(page.browser.run("return window.frames_")), busy(page) - before


def main() -> None:
    raw, compressed = sizes("project.html")
    say(f"scripts of the project page: {raw / 1024:.0f} KiB, {compressed / 1024:.0f} KiB compressed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        with (
            running_devstack(Path(directory) / "stack") as stack,
            psycopg.connect(stack.database_url, autocommit=True) as database,
        ):
            user, token = add_user(database, stack)
            row = database.execute(
                "with o as (insert into organizations (name) values ('A') returning id), "
                "p as (insert into projects (organization_id, name) select id, 'A' from o returning id) "
                "insert into project_members (project_id, user_id, role) "
                "select id, %s, 'owner' from p returning project_id",
                [user],
            ).fetchone()
            assert row is not None
            project = Project(str(row[0]), token, user, database)
            service = Service({**service_environment(stack), "ROWCAST_WEB_DIR": str(EXPORT)}, Path(directory) / "log")
            service.start()
            session = httpx.post(
                f"{stack.supabase_url}/auth/v1/token?grant_type=password",
                headers={"apikey": stack.publishable_key},
                json={"email": email(project), "password": PASSWORD},
            ).json()
            with running_browser() as browser:
                page = Page(browser, service, project)
                browser.resize(1280)
                page.open("icon.svg")
                browser.run("localStorage.setItem('rowcast-session', arguments[0])", json.dumps(session))
                browser.devtools("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
                loads = [load(page) for _ in range(LOADS)]
                for name, values in zip(("painted", "project shown", "blocked"), zip(*loads, strict=True), strict=True):
                    say(f"{name}: {statistics.median(values):.0f} ms (worst {max(values):.0f})")
                took, worked = frames(page)
                late = sum(ms > 1.5 * 1000 / 60 for ms in took)
                say(
                    f"{EVENTS_A_SECOND} events a second: {len(took) / SECONDS:.0f} frames a second, "
                    f"{late} of {len(took)} late, worst {max(took):.0f} ms; "
                    f"the page works {worked / SECONDS * 100:.0f} % of the time"
                )
            service.kill()


if __name__ == "__main__":
    main()
