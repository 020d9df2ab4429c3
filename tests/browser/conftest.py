"""The built project page, served by the service, in a real browser."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, StackFacts, unused_port
from tests.service.browser import Browser, running_browser
from tests.service.conftest import Project, answers, service_environment
from tests.service.conftest import project as project  # noqa: PLC0414 # so that it is a fixture here too

EXPORT = ROOT / "web" / "out"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
PASSWORD = "a-test-password"  # what tests.service.conftest signs users up with


class Service:
    """A service that can be killed and started again at the same address."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{unused_port()}"

    def start(self) -> None:
        command = [sys.executable, "-m", "service.cli", "serve", "--bind", self.url.removeprefix("http://")]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        while not answers(f"{self.url}/readyz"):
            if self._process.poll() is not None:
                raise RuntimeError(f"the service did not start: {self._log.read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Ends it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def streams(self, feed: str) -> int:
        """How many are open."""
        name = f'rowcast_streams_open{{feed="{feed}"}} '
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return int(sum(float(line.removeprefix(name)) for line in lines if line.startswith(name)))


@pytest.fixture(scope="session")
def export() -> Path:
    if not (EXPORT / "index.html").is_file():
        if os.environ.get("CI"):
            raise RuntimeError("`make web` has not built the page")
        pytest.skip("needs the built page: make web")
    return EXPORT


@pytest.fixture(scope="session")
def service(stack: StackFacts, export: Path) -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as directory:
        environment = {**service_environment(stack), "ROWCAST_WEB_DIR": str(export)}
        running = Service(environment, Path(directory) / "log")
        running.start()
        yield running
        running.kill()


@pytest.fixture
def worker(stack: StackFacts, service: Service) -> Iterator[None]:
    """Works on what the page starts."""
    command = [sys.executable, "-m", "service.cli", "worker", "--kinds", "bom_enrichment", "--catalogue"]
    command += [str(ROOT / "examples" / "boms" / "parts.csv")]
    with subprocess.Popen(command, env=worker_environment(stack), stdout=subprocess.DEVNULL) as process:
        yield
        process.terminate()


def worker_environment(stack: StackFacts) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "SUPABASE_URL": stack.supabase_url, "SUPABASE_SECRET_KEY": stack.secret_key}


@pytest.fixture(scope="session")
def window() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


def network(browser: Browser, *, offline: bool = False, latency: int = 0, throughput: int = -1) -> None:
    """``latency`` in ms, ``throughput`` in bytes/s each way, or -1 for what there is."""
    browser.devtools("Network.enable")  # or the page is told that it is offline, and all its requests get through
    browser.devtools(
        "Network.emulateNetworkConditions",
        offline=offline, latency=latency, downloadThroughput=throughput, uploadThroughput=throughput,
    )  # fmt: skip


class Page:
    """The page as its reader has it before them: signed in as the project's owner, whoever that is."""

    def __init__(self, browser: Browser, service: Service, project: Project) -> None:
        self.browser = browser
        self.service = service
        self.project = project

    def open(self, path: str) -> None:
        self.browser.open(f"{self.service.url}/{path}")

    def open_project(self) -> None:
        self.open(f"project?id={self.project.id}")
        self.sees("Live", ".top")
        self.sees("At a glance", "[aria-label='At a glance']", attribute="aria-label")

    def open_bom(self, bom: str) -> None:
        self.open(f"bom?id={bom}")
        self.until(lambda: self.browser.text(".lines") != "")

    def sees(self, text: str, selector: str = "body", attribute: str | None = None) -> None:
        """Returns once a text is there to see."""
        if attribute is None:
            self.until(lambda: text in self.browser.text(selector))
        else:
            self.until(lambda: self.browser.run(
                "return document.querySelector(arguments[0])?.getAttribute(arguments[1])", selector, attribute
            ) == text)  # fmt: skip

    def until(self, condition: Callable[[], object]) -> None:
        self.browser.until(condition)

    @property
    def badge(self) -> str:
        """How what one sees comes to the page, in a word."""
        return self.browser.text(".top [role=status]").split("\n")[0].split(".")[0].strip()

    def press(self, label: str, within: str = "body") -> None:
        """Clicks the first button or link that is called so."""
        script = """
          const called = (each) => [each.firstChild?.textContent.trim(), each.innerText.trim()].includes(arguments[1])
          const found = [...document.querySelectorAll(`${arguments[0]} :is(button, a)`)].find(called)
          found?.click()
          return found !== undefined"""
        self.until(lambda: self.browser.run(script, within, label))

    def violations(self) -> list[str]:
        """What axe-core has against the page as it is."""
        self.browser.run(AXE.read_text())
        found: list[str] = self.browser.run(
            "return axe.run().then(({ violations }) => violations.map("
            "({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => target + failureSummary).join()}`))"
        )
        return found


@pytest.fixture
def reader(window: Browser, service: Service, project: Project) -> Iterator[Page]:
    """An owner before the page, not signed in, in one tab of 1280 pixels."""
    project.role("owner")
    for handle in window.tabs[1:]:
        window.switch(handle)
        window.close()
    window.switch(window.tabs[0])
    window.resize(1280)
    window.open(service.url)
    window.run("localStorage.clear()")
    window.open(f"{service.url}/icon.svg")  # the page's origin, and no page
    window.log()
    yield Page(window, service, project)
    network(window)


def email(project: Project) -> str:
    [[found]] = project.database.execute("select email from auth.users where id = %s", [project.user_id])
    return str(found)


@pytest.fixture
def page(reader: Page, stack: StackFacts) -> Page:
    """An owner before the page, signed in."""
    answer = httpx.post(
        f"{stack.supabase_url}/auth/v1/token?grant_type=password",
        headers={"apikey": stack.publishable_key},
        json={"email": email(reader.project), "password": PASSWORD},
    )
    assert answer.status_code == httpx.codes.OK
    reader.browser.run("localStorage.setItem('rowcast-session', arguments[0])", answer.text)
    return reader
