"""The types as the TypeScript compiler sees them: what is on the wire fits, what is not does not."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from service.schema import examples, typescript
from service.schema.catalogue import STREAMS
from service.schema.files import EXAMPLES
from tests.conftest import ROOT

TSC = ROOT / "tests" / "node" / "node_modules" / ".bin" / "tsc"
CLIENT = ROOT / "client"


def compiled(directory: Path, source: str) -> str:
    """What the compiler complains of, in a project with the client's settings and types, strictly."""
    (directory / "src").mkdir()
    for file in ("package.json", "tsconfig.json", "src/events.gen.ts"):
        shutil.copy(CLIENT / file, directory / file)
    (directory / "src" / "check.ts").write_text(source)
    done = subprocess.run([TSC, "--project", directory], capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.stdout


def golden() -> str:
    """Each example as a literal, which may have no field too many, of its stream's type."""
    names = [name for stream in STREAMS for name in (f"{stream.model}Events", f"{stream.model}Message")]
    lines = [f'import type {{ {", ".join(names)} }} from "./events.gen.js"']
    for stream in STREAMS:
        for file in sorted((ROOT / EXAMPLES / stream.name).glob("*.json")):
            data = file.read_text()
            lines.append(f"export const _{len(lines)}: {stream.model}Events[{json.dumps(file.stem)}] = {data}")
            lines.append(f"export const _{len(lines)}: {stream.model}Message = {data}")
    lines.append('import type { SocketMessage, SocketOperation } from "./events.gen.js"')
    for file in sorted((ROOT / EXAMPLES / "socket").glob("*.json")):
        kind = "SocketOperation" if file.stem in ("auth", "subscribe", "unsubscribe") else "SocketMessage"
        lines.append(f"export const _{len(lines)}: {kind} = {file.read_text()}")
    return "\n".join(lines)


USE = """
import type { PipelineStreamEvent, ProjectStreamEvent } from "./events.gen.js"
import { projectEventNames } from "./events.gen.js"

export function told(message: ProjectMessage): string | number | null {
  switch (message.type) {
    case "connected": return message.revision
    case "snapshot": return message.jobs.map((job) => job.progress?.percent ?? 0).length
    case "status_update": return message.errorMessage
    case "progress_update": return message.progress.etaSeconds
    case "job_update": return message.status === "stalled" ? message.attempt : message.title
    case "new_proposal": case "proposal_update": return message.confidence
    case "source_deleted": return message.sourceId
    case "job_deleted": return message.jobId
    case "proposal_deleted": return message.proposalId
    case "live": case "reset": return message.reason
    case "reauth": return message.expiresAt
    case "error": return message.code
    case "stream_end": return message.reconnect ? message.reason : null
    default: { const none: never = message; return none }
  }
}

export function happened(message: EnrichmentMessage): number | undefined {
  if ("component" in message) return message.component.mpn?.length
  if ("event_type" in message) return message.payload.batch?.completed
  return message.type === "snapshot" ? message.components.length : undefined
}

export function stands({ event, data }: PipelineStreamEvent): number | string | undefined {
  if (event === "pipeline_progress") return data.stages["parsing"]?.progress_percent
  return event === "error" ? data.job_id : event
}

export function listen(source: EventSource, take: (event: ProjectStreamEvent) => void): void {
  for (const event of projectEventNames)
    source.addEventListener(event, ({ data }) => take({ event, data: JSON.parse(data) } as ProjectStreamEvent))
}

// @ts-expect-error there is no such type
export const odd: ProjectMessage["type"] = "nothing"
// @ts-expect-error a status is one of the database's
export const wrong: Extract<ProjectMessage, { type: "job_update" }>["status"] = "done"
// @ts-expect-error a field is missing
export const torn: ProjectMessage = { type: "job_deleted" }
// @ts-expect-error a field is too many
export const more: ProjectMessage = { type: "job_deleted", jobId: "", projectId: "" }
// @ts-expect-error what may be null must be looked at
export const percent = ({ progress }: Extract<ProjectMessage, { type: "progress_update" }>): number => progress.percent
"""


def test_pages_can_tell_messages_apart_and_what_is_on_the_wire_fits(tmp_path: Path) -> None:
    assert compiled(tmp_path, golden() + USE) == ""


def test_what_is_not_on_the_wire_does_not_fit(tmp_path: Path) -> None:
    told = json.loads(examples.project()["job_update"])
    torn = {name: value for name, value in told.items() if name != "cancelRequested"}
    source = f"""
import type {{ JobUpdate }} from "./events.gen.js"
export const torn: JobUpdate = {json.dumps(torn)}
export const more: JobUpdate = {json.dumps({**told, "percent": 1})}
"""
    complaints = compiled(tmp_path, source)
    assert "'cancelRequested' is missing" in complaints
    assert """'"percent"' does not exist""" in complaints


@pytest.mark.parametrize(
    ("schema", "type_"),
    [
        ({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "(string | null)[]"),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, "number"),
        ({"type": "object", "additionalProperties": {"type": "boolean"}}, "Record<string, boolean>"),
        ({}, "unknown"),
    ],
)
def test_a_type(schema: dict[str, object], type_: str) -> None:
    assert typescript._type(schema) == type_


def test_a_type_that_nobody_has_thought_of_is_no_silence() -> None:
    with pytest.raises(ValueError, match="'tuple' is not written yet"):
        typescript._type({"type": "tuple"})
