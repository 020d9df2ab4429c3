"""The models of answers tell what the code says."""

import re

from service.events.answers import Problem
from tests.conftest import ROOT

CODES = re.compile(r"""(?:ApiError\(\s*\d+,|LimitReached\(\s*"\w+",\s*\d+,)\s*"(\w+)\"""")


def test_every_code_of_an_error_is_told() -> None:
    said = {code for file in (ROOT / "service").rglob("*.py") for code in CODES.findall(file.read_text())}
    told = set(Problem.model_json_schema()["properties"]["error"]["enum"])
    assert told == said | {"internal_error"}  # that of an answer 500, whatever was the matter
