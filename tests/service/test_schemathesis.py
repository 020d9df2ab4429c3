"""Schemathesis against the real service: what the OpenAPI document says is so, for requests that nobody thought of.

Its coverage phase alone: each boundary of each parameter and body once, always the same ones. For more by hand:
`st run http://…/openapi.json --header 'Authorization: Bearer …'`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from service.schema.routes import OPERATIONS
from tests.service.conftest import Project

LEFT_OUT = "streamEnrichments"
"""Takes the longest, and is streamProjects with the ids of streamEnrichment."""
CONFIGURATION = """
max-stream-events = 1

[generation]
allow-extra-parameters = false  # a parameter or header that means nothing is passed over

[phases.coverage]
unexpected-methods = ["PUT"]  # tests/service/adversary has the others

[parameters]
"path.project_id" = "{project.id}"
"query.project_id" = "{busy.id}"
"query.projects" = ["{busy.id}"]
"path.bom_id" = "{bom}"
"path.job_id" = "{job}"
"path.proposal_id" = "{proposal}"

[[operations]] # no schema tells what the `next` of an earlier page is, which ids are the BOM's, which CSV has parts
include-operation-id = ["readEnrichmentHistory", "startEnrichment", "uploadBom"]
checks.positive_data_acceptance.enabled = false

[[operations]] # nor that a cursor has as many ids as there are keys
include-operation-id = "streamProjects"
checks.positive_data_acceptance.enabled = false
"""


@pytest.fixture
def configuration(project: Project, tmp_path: Path) -> Path:
    """All that is asked for is there, and the streams have something to tell at once."""
    project.role("owner")
    busy = project.another()
    busy.job(status="running")
    file = tmp_path / "schemathesis.toml"
    there = {"bom": project.bom("a", "b"), "job": project.job(), "proposal": project.proposal("T")}
    file.write_text(CONFIGURATION.format(project=project, busy=busy, **there))
    return file


@pytest.mark.timeout(300)
def test_the_service_does_what_its_document_says(service: str, project: Project, configuration: Path) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("st"), f"--config-file={configuration}", "run", f"{service}/openapi.json",
            f"--header=Authorization: Bearer {project.token}", "--phases=coverage", "--seed=7", "--no-color",
            "--continue-on-failure", "--request-timeout=10", f"--exclude-operation-id={LEFT_OUT}",
        ],
        cwd=configuration.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Tested: {len(OPERATIONS) - 2}\n" in done.stdout  # all but that and the document's own
