"""Documents into a project: what `rowcast ingest` does, on the worker SDK alone.

One job; one ``ingestion_sources`` row for each file that can be expected to be readable; proposals from what the files
say. A file that can't be read fails alone, with its reason on its row. Nothing is printed.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import UUID

import rowcast
from rowcast.rows import NAME_LIMIT, error_text
from workers import payload
from workers.extraction import Candidate, Chunk, Extraction, chunk
from workers.reading import SIZE_LIMIT, Document, Found, PassedOver, Unreadable, find, read

KIND = "ingestion"
PARALLEL = 4
"""Files that are parsed at once."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file. ``reason`` (of ``workers.reading.REASONS``, or "error") and ``message`` say why it
    failed or was skipped; ``encoding`` is what it was read in."""

    name: str
    path: Path
    outcome: Literal["ingested", "failed", "skipped"]
    reason: str | None = None
    message: str | None = None
    source_id: UUID | None = None
    encoding: str | None = None
    chunks: int = 0
    proposals: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run. ``job_id`` is None when there was nothing to read, and so no job."""

    job_id: UUID | None
    files: tuple[FileReport, ...]

    def count(self, outcome: Literal["ingested", "failed", "skipped"]) -> int:
        return sum(file.outcome == outcome for file in self.files)

    @property
    def proposals(self) -> int:
        return sum(file.proposals for file in self.files)


@dataclass(slots=True)
class _File:
    """A file, its row, and what was found in it."""

    name: str
    found: Found
    source: rowcast.AsyncSource
    document: Document = field(init=False)
    chunks: Sequence[Chunk] = ()
    candidates: list[Candidate] = field(default_factory=list)


async def ingest(
    paths: Sequence[Path],
    project_id: UUID,
    *,
    client: rowcast.AsyncClient | None = None,
    on_report: Callable[[FileReport], None] | None = None,
    size_limit: int = SIZE_LIMIT,
) -> Report:
    """Reads the files at and below ``paths`` into the project.

    ``on_report`` hears of each file once its outcome is known; ``size_limit`` is in bytes. Without ``client``,
    :func:`rowcast.connect` makes one from the environment. Files that can't be read are no error: the report
    tells. Raises what the SDK raises: ConfigError, RequestError (an unknown project), DeliveryError; and
    JobCancelled when the job was asked to stop.
    """
    if size_limit < 1:
        raise ValueError(f"size_limit must be at least 1 byte, not {size_limit}")
    run = _Run(on_report, size_limit)
    to_read = await run.find(paths)
    if not to_read:
        return Report(None, tuple(run.told))
    async with AsyncExitStack() as stack:
        if client is None:
            client = await stack.enter_async_context(rowcast.connect())
        asked = payload.payload(paths)  # a worker of the queue can try it again
        job = await stack.enter_async_context(client.job(project_id, kind=KIND, title=_title(to_read), payload=asked))
        await run.all(job, to_read)
    return Report(job.id, tuple(run.told))


async def work(job: rowcast.AsyncJob, root: Path, *, size_limit: int = SIZE_LIMIT) -> Report:
    """Does a claimed job of the queue, which names files and folders below ``root``; see :mod:`workers.payload`.

    Raises, and so fails the job: BadPayload; NothingToRead; what the SDK raises.
    """
    async with job:
        run = _Run(None, size_limit)
        to_read = await run.find(payload.paths(job.row["payload"], root))
        if not to_read:
            raise NothingToRead(_why_nothing(run.told, root))
        await run.all(job, to_read)
    return Report(job.id, tuple(run.told))


def _why_nothing(told: Sequence[FileReport], root: Path) -> str:
    """Of the first path: people see it, and need not know where the worker has its folder."""
    if not told:
        return "The folders are empty."
    return f"{told[0].path.relative_to(root.resolve())}: {told[0].message}"


class NothingToRead(Exception):
    """None of a job's paths leads to a file that can be read."""


class _Run:
    def __init__(self, on_report: Callable[[FileReport], None] | None, size_limit: int) -> None:
        self.told: list[FileReport] = []
        self._on_report = on_report
        self._size_limit = size_limit

    async def find(self, paths: Sequence[Path]) -> list[Found]:
        """The files to read at and below ``paths``; the others are told."""
        found = await asyncio.to_thread(lambda: list(find(paths)))
        for each in found:
            if isinstance(each, PassedOver):
                self.tell(FileReport(each.name, each.path, "skipped", each.reason, each.message))
        return [each for each in found if isinstance(each, Found)]

    def tell(self, report: FileReport) -> None:
        self.told.append(report)
        if self._on_report is not None:
            self._on_report(report)

    async def all(self, job: rowcast.AsyncJob, to_read: Sequence[Found]) -> None:
        """Takes ``to_read`` through every stage, from behind the last file that an earlier attempt was done with."""
        places = [each.path.as_uri() for each in to_read]  # names may be equal
        if job.checkpointed in places:
            to_read = to_read[places.index(job.checkpointed) + 1 :]
        sources = [await job.source(_source_name(each.name), each.kind, uri=each.path.as_uri()) for each in to_read]
        unread = [_File(found.name, found, source) for found, source in zip(to_read, sources, strict=True)]
        job.plan({"parsing": 20, "chunking": 1, "extraction": 10, "proposing": 20})  # as measured on docs and manuals
        async with job.pool(PARALLEL) as pool:
            files = [file async for file in pool.map(self._parse, unread, "parsing") if file is not None]
        async for number, file in job.track(tuple(enumerate(files)), "chunking"):
            file.chunks = chunk(number, file.document.blocks)
        extraction = Extraction()
        async for piece in job.track([piece for file in files for piece in file.chunks], "extraction"):
            await asyncio.to_thread(extraction.add, piece)
        candidates = await asyncio.to_thread(extraction.candidates)
        for candidate in candidates:
            files[candidate.place.document].candidates.append(candidate)
        job.stage("proposing", len(candidates))
        for file in files:
            await self._propose(job, file)

    async def _parse(self, file: _File) -> _File | None:
        await file.source.processing()
        try:
            file.document = await asyncio.to_thread(read, file.found, self._size_limit)
        except Unreadable as error:
            reason, message = error.reason, str(error)
        except Exception as error:  # noqa: BLE001 - a parser that trips over one document must not stop the others
            reason, message = "error", error_text(error)
        else:
            return file
        await file.source.failed(message)
        rowcast.progress().log(f"{file.name}: {message}", "warning")
        self.tell(FileReport(file.name, file.found.path, "failed", reason, message, file.source.id))
        return None

    async def _propose(self, job: rowcast.AsyncJob, file: _File) -> None:
        found, document = file.candidates, file.document
        await job.propose_many(
            rowcast.Proposal(each.title, each.confidence, each.body(file.name, document.unit), file.source.id)
            for each in found
        )
        job.advance(len(found))
        job.count("entities_total", len(found))
        await file.source.completed()
        job.checkpoint(file.found.path.as_uri())
        self.tell(
            FileReport(
                file.name, file.found.path, "ingested", source_id=file.source.id, encoding=document.encoding,
                chunks=len(file.chunks), proposals=len(found),
            )
        )  # fmt: skip


def _source_name(name: str) -> str:
    """``name`` as a row can hold it: the end of a path tells more than its beginning."""
    name = name if len(name) <= NAME_LIMIT else f"…{name[1 - NAME_LIMIT :]}"
    return name if name.strip() else repr(name)


def _title(files: Sequence[Found]) -> str:
    roots = list(dict.fromkeys(found.name.partition("/")[0] for found in files))
    named = roots[0] if len(roots) == 1 else f"{roots[0]} and {len(roots) - 1} more"
    return f"Ingesting {named[:200]} ({len(files)} file{'s' if len(files) > 1 else ''})"
