"""Writes the generated files, and removes examples of messages that are no more: ``make schema``."""

from pathlib import Path

from service.schema.files import EXAMPLES, generated

ROOT = Path(__file__).parent.parent.parent

if __name__ == "__main__":
    files = generated()
    for path in (ROOT / EXAMPLES).glob("*/*.json"):
        path.unlink()
    for name, contents in files.items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_bytes(contents)
