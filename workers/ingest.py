"""Documents into a project: what `rowcast ingest` does, on the worker SDK alone.

One job; one ``ingestion_sources`` row for each file that can be expected to be readable; proposals from what the files
say. A file that can't be read fails alone, with its reason on its row. Nothing is printed.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

import rowcast
from rowcast.rows import NAME_LIMIT, error_text
from workers import payload
from workers.extraction import Candidate, Chunk, Extraction, chunk
from workers.reading import SIZE_LIMIT, Document, Found, PassedOver, Unreadable, find, read

KIND = "ingestion"


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


@dataclass(frozen=True, slots=True)
class _File:
    """A file and its row."""

    found: Found
    source: rowcast.AsyncSource


@dataclass(frozen=True, slots=True)
class _Read(_File):
    document: Document


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
            raise NothingToRead(run.told[0].message if run.told else "The folders are empty.")
        await run.all(job, to_read)
    return Report(job.id, tuple(run.told))


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
        """Takes ``to_read`` through every stage. A run that ends early leaves no source waiting."""
        unfinished: dict[UUID, _File] = {}
        try:
            for found in to_read:
                source = await job.source(_source_name(found.name), found.kind, uri=found.path.as_uri())
                unfinished[source.id] = _File(found, source)
            await self._stages(job, unfinished)
        except BaseException as error:
            with suppress(rowcast.RowcastError):
                for file in unfinished.values():
                    await file.source.failed(f"The run ended before this was done: {error_text(error)}")
            raise

    async def _stages(self, job: rowcast.AsyncJob, unfinished: dict[UUID, _File]) -> None:
        """Files leave ``unfinished`` as they are done with."""
        files: list[_Read] = []
        async for file in job.track(tuple(unfinished.values()), stage="parsing"):
            if (document := await self._parse(file)) is not None:
                files.append(_Read(file.found, file.source, document))
            else:
                del unfinished[file.source.id]
        chunks: list[Chunk] = []
        async for number, read_file in job.track(enumerate(files), stage="chunking", total=len(files)):
            chunks += chunk(number, read_file.document.blocks)
        extraction = Extraction()
        async for piece in job.track(chunks, stage="extraction"):
            await asyncio.to_thread(extraction.add, piece)
        candidates = await asyncio.to_thread(extraction.candidates)
        by_file: list[list[Candidate]] = [[] for _ in files]
        for candidate in candidates:
            by_file[candidate.place.document].append(candidate)
        chunks_of = Counter(piece.document for piece in chunks)
        job.stage("proposing", len(candidates))
        for number, read_file in enumerate(files):
            await self._propose(job, read_file, by_file[number], chunks_of[number])
            del unfinished[read_file.source.id]

    async def _parse(self, file: _File) -> Document | None:
        await file.source.processing()
        try:
            return await asyncio.to_thread(read, file.found, self._size_limit)
        except Unreadable as error:
            reason, message = error.reason, str(error)
        except Exception as error:  # noqa: BLE001 - a parser that trips over one document must not stop the others
            reason, message = "error", error_text(error)
        await file.source.failed(message)
        self.tell(FileReport(file.found.name, file.found.path, "failed", reason, message, file.source.id))
        return None

    async def _propose(self, job: rowcast.AsyncJob, file: _Read, candidates: Sequence[Candidate], chunks: int) -> None:
        name, source = file.found.name, file.source
        await job.propose_many(
            rowcast.Proposal(each.title, each.confidence, each.body(name, file.document.unit), source.id)
            for each in candidates
        )
        job.advance(len(candidates))
        await source.completed()
        self.tell(
            FileReport(
                name, file.found.path, "ingested", source_id=source.id, encoding=file.document.encoding,
                chunks=chunks, proposals=len(candidates),
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
