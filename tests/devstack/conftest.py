import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.devstack.programs import processes_of


@pytest.fixture
def directory(scratch: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A path for a data directory, with a blank and a quote in its name, on which nothing is left running."""
    path = scratch / f"{request.node.name}'s own"
    yield path
    left = processes_of(path)
    for pid in left:
        psutil.Process(pid).kill()
    shutil.rmtree(path, ignore_errors=True)
    assert left == {}
