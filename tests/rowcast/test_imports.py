"""`pip install rowcast` brings the SDK alone."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_importing_it_brings_in_nothing_of_the_service_and_of_its_extras():
    named = ["quart", "pydantic", "supabase", "hypercorn", "tqdm", "service", "workers", "boms"]
    program = f"import sys, rowcast; print(*sorted(set({named}) & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.strip() == ""


def test_the_service_is_an_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {name.split(">")[0] for name in project["dependencies"]} == {"click", "httpx"}
    assert any(name.startswith("quart") for name in project["optional-dependencies"]["service"])
