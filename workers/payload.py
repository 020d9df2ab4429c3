"""What a queued ingestion job is asked to do: ``{"paths": ["manuals/a.md", …]}``, files and folders below a root.

Whoever may queue jobs names the paths, and what is read ends up where members of the project see it. So nothing outside
the root is read, by whatever links the way there may go.
"""

from collections.abc import Sequence
from pathlib import Path

from rowcast.rows import clean

PATHS_LIMIT = 10_000
SHAPE = '{"paths": ["folder/file.md", …]}'


class BadPayload(ValueError):
    """The job's payload can't be what was meant. The message names the field and what would be right; members of the
    project read it, so it tells nothing of the machine."""


def payload(paths: Sequence[Path]) -> dict[str, object]:
    """The payload that asks for ``paths``, wherever the reader's working directory is."""
    return {"paths": [clean(str(path.absolute())) for path in paths]}


def paths(payload: object, root: Path) -> list[Path]:
    """The paths that ``payload`` asks for; relative ones begin at ``root``. Raises :class:`BadPayload`."""
    if not isinstance(payload, dict) or "paths" not in payload:
        raise BadPayload(f"payload must be like {SHAPE}")
    if unknown := sorted(payload.keys() - {"paths"}):
        raise BadPayload(f"payload has a field {unknown[0][:100]!r}, which nobody knows; it must be like {SHAPE}")
    given = payload["paths"]
    if not isinstance(given, list) or not 1 <= len(given) <= PATHS_LIMIT:
        raise BadPayload(f"paths must be a list of 1 to {PATHS_LIMIT:,} paths, like {SHAPE}")
    real_root = root.resolve(strict=True)
    return [_below(real_root, number, path) for number, path in enumerate(given)]


def _below(root: Path, number: int, path: object) -> Path:
    if not isinstance(path, str) or not path.strip() or "\x00" in path:
        raise BadPayload(f"paths[{number}] must be the path of a file or folder, not {str(path)[:100]!r}")
    try:
        real = (root / path).resolve()
    except (OSError, RuntimeError) as error:  # a name that is too long, a loop of links
        raise BadPayload(f"paths[{number}] can't be a path here: {path[:100]!r}") from error
    if not real.is_relative_to(root):
        raise BadPayload(f"paths[{number}] is outside the folder that this worker reads: {path[:100]!r}")
    return real
