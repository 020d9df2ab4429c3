"""The TypeScript client as it is built, in Node, against the running service."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devstack.lite import find_node
from tests.conftest import ROOT
from tests.service.conftest import Project

CLIENT = ROOT / "client"
PAGE = ROOT / "tests" / "node" / "page.mjs"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built client's entry, of the sources as they are."""
    directory = tmp_path_factory.mktemp("client")
    (directory / "package.json").write_text('{"type": "module"}')
    tsc = CLIENT / "node_modules" / "typescript" / "bin" / "tsc"
    subprocess.run(
        [find_node(), tsc, "--project", CLIENT / "tsconfig.build.json", "--outDir", directory / "dist"], check=True
    )
    return directory / "dist" / "index.js"


class Page:
    """What a page has heard so far, and what it shows now."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.events: list[dict[str, str]] = []
        self.shows: dict[str, Any] = {}

    def until(self, condition: Callable[["Page"], object]) -> None:
        """Reads on until it is so; the test's own time limit is the limit."""
        assert self._process.stdout is not None
        while not condition(self):
            line = self._process.stdout.readline()
            assert line, f"the page ended, showing {self.shows}"
            self.shows = json.loads(line)
            self.events += self.shows["events"]

    def is_(self, status: str) -> None:
        self.until(lambda page: page.shows.get("status") == status)

    def do(self, command: str, **parameters: str) -> None:
        assert self._process.stdin is not None
        print(json.dumps({"do": command, **parameters}), file=self._process.stdin, flush=True)

    def titles(self) -> set[str]:
        return {job["title"] for job in self.shows["data"]["jobs"]}


@contextmanager
def page(built: Path, service: str, token: str, **feed: str) -> Iterator[Page]:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [find_node(), PAGE, built, service, token, json.dumps(feed)], stdin=pipe, stdout=pipe, text=True
    ) as process:
        try:
            yield Page(process)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait() == 0  # it has let everything go, or Node would stay
        finally:
            process.kill()


def test_a_page_that_is_cut_has_all_that_happened(built: Path, service: str, project: Project) -> None:
    project.source("one.md")
    project.job("before")
    with page(built, service, project.token, kind="projectFeed", projectId=project.id) as watching:
        watching.until(lambda page: page.shows.get("data", {}).get("ready"))
        assert watching.titles() == {"before"}
        assert [source["sourceName"] for source in watching.shows["data"]["sources"]] == ["one.md"]
        for title in ("first", "second"):
            watching.do("cut")
            project.job(title, progress_stage="parsing", progress_current=1, progress_total=4)
            project.proposal(title)
            watching.until(lambda page, title=title: title in page.titles() and page.shows["status"] == "live")
        assert [event["event"] for event in watching.events].count("snapshot") == 1  # the rest was resumed
        watching.until(lambda page: len(page.shows["data"]["proposals"]) == 2)
        [percent] = {job["progress"]["percent"] for job in watching.shows["data"]["jobs"] if job["progress"]}
        assert percent == 25.0


def test_a_page_without_streams_polls_and_goes_on_with_one(built: Path, service: str, project: Project) -> None:
    with page(built, service, project.token, kind="projectFeed", projectId=project.id) as watching:
        watching.is_("live")
        watching.do("block", what="/status")
        watching.is_("polling")
        project.job("while polling")
        watching.until(lambda page: "while polling" in page.titles())
        watching.do("block", what="")
        watching.is_("live")
        project.job("live again")
        watching.until(lambda page: "live again" in page.titles())
        assert watching.titles() == {"while polling", "live again"}


def test_an_enrichment_is_told_each_event_once_to_its_end(built: Path, service: str, project: Project) -> None:
    bom = project.bom("LM358", "x1", None, *(f"R{number}" for number in range(20)))
    run = project.start(bom)
    with page(built, service, project.token, kind="enrichmentFeed", bomId=bom) as watching:
        watching.is_("live")
        while run.batch():
            watching.do("cut")
        watching.is_("ended")
        ids = [event["id"] for event in watching.events if "id" in event]
        names = [event["event"] for event in watching.events]
        assert len(ids) == len(set(ids))
        assert names.count("enrichment.component.completed") == 21
        assert names.count("enrichment.component.failed") == 2
        assert names[-2:] == ["enrichment.completed", "stream_end"]
        assert watching.shows["data"]["state"]["percent_complete"] == 100.0
        assert len(watching.shows["data"]["components"]) == 23
    with page(built, service, project.token, kind="enrichmentFeed", bomId=bom) as late:
        late.is_("ended")
        assert [event["event"] for event in late.events if "enrichment" in event["event"]][-1] == "enrichment.completed"
        assert (late.shows["error"], len(late.shows["data"]["components"])) == (None, 23)


def test_a_page_hears_what_it_may_not_see(built: Path, service: str, project: Project) -> None:
    other = "00000000-0000-4000-8000-0000000000ff"
    with page(built, service, project.token, kind="projectFeed", projectId=other) as watching:
        watching.is_("ended")
        assert watching.shows["error"]["code"] == "not_found"


def test_a_pipeline_ends_with_its_job(built: Path, service: str, project: Project) -> None:
    job = project.job(status="running")
    with page(built, service, project.token, kind="pipelineFeed", jobId=job) as watching:
        watching.until(lambda page: page.shows.get("data", {}).get("jobs"))
        project.execute("update jobs set status = 'completed' where id = %s", job)
        watching.is_("ended")
        assert watching.shows["data"]["jobs"][0]["outcome"] == "complete"
