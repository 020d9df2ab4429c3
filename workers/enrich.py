"""Bills of materials, enriched: what `rowcast enrich` does, on the worker SDK alone.

A run is a job of the queue. Its lines come in batches; the parts of a batch are looked up at once and written together,
with one call that also hands out the next batch. Any number of workers share the queue. A worker that dies loses the
batch it was at; the next one goes on after the last that was written. Nothing is printed.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import rowcast
from boms.errors import NotABom
from boms.reading import read
from rowcast.rows import error_text
from workers.catalogue import Catalogue, Facts, Part, normalise

KIND = "bom_enrichment"
LOOK_UP_SECONDS = 30.0
"""How long a provider may take for one part."""
UPLOAD_SECONDS = 60.0
"""How long an upload is tried. What has begun is tried for ever, as the SDK does: somebody sees that it waits."""
POLL_SECONDS = 1.0
"""How long a worker waits before it looks for work again, about."""
ENDED = frozenset({"completed", "failed", "stopped"})


async def enrich(
    path: Path,
    project_id: UUID,
    catalogue: Catalogue,
    *,
    client: rowcast.AsyncClient | None = None,
    on_upload: Callable[[UUID], None] | None = None,
) -> Mapping[str, Any]:
    """Uploads a bill of materials, starts its enrichment, works on it, and waits for its end; its state then.

    ``on_upload`` hears the BOM's id. Without ``client``, :func:`rowcast.connect` makes one from the environment. Raises
    what :func:`upload` does, and what the SDK raises.
    """
    async with _client(client) as using:
        bom_id = await upload(using, project_id, path)
        if on_upload is not None:
            on_upload(bom_id)
        run = UUID((await using.call("start_enrichment", bom_id=bom_id))["run_id"])
        while True:
            worked = await work(using, catalogue, run)
            state: Mapping[str, Any] = (await using.call("enrichment_snapshot", bom_id=bom_id))["rows"]["boms"][0]
            if state["status"] in ENDED:
                return state
            if not worked:  # it is paused, or another worker's
                await asyncio.sleep(POLL_SECONDS)


async def serve(
    catalogue: Catalogue, *, client: rowcast.AsyncClient | None = None, on_start: Callable[[], None] | None = None
) -> None:
    """Works for whoever starts an enrichment, until cancelled. ``client`` and what is raised as in :func:`enrich`."""
    async with _client(client) as using:
        if on_start is not None:
            on_start()
        while True:
            if not await work(using, catalogue):
                # spread, so that workers don't ask in step
                await asyncio.sleep(POLL_SECONDS * (0.75 + random.random() / 2))  # noqa: S311


@asynccontextmanager
async def _client(given: rowcast.AsyncClient | None) -> AsyncIterator[rowcast.AsyncClient]:
    if given is not None:
        yield given
    else:
        async with rowcast.connect() as client:
            yield client


async def upload(client: rowcast.AsyncClient, project_id: UUID, path: Path) -> UUID:
    """Adds the bill of materials in ``path`` to a project; its id.

    Raises OSError, :class:`boms.errors.NotABom`, RequestError for an unknown project, and DeliveryError when the
    database can't be reached in time.
    """
    try:
        bom = read(await asyncio.to_thread(path.read_bytes))
    except NotABom as error:
        raise NotABom(f"{path.name}: {error}") from None
    bom_id = uuid4()
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            await client.call("create_bom", project_id=project_id, filename=path.name, items=bom.items(), bom_id=bom_id)
    except TimeoutError:
        why = f"{path.name} may not have arrived: the database did not answer within {UPLOAD_SECONDS:g} s."
        raise rowcast.DeliveryError(why, unwritten=(path.name,), last_error=None) from None
    return bom_id


async def work(client: rowcast.AsyncClient, catalogue: Catalogue, run: UUID | None = None) -> bool:
    """Takes the next run of the queue, or this one, and works on it for as long as it may; False when there is none."""
    job = await client.claim(KIND, job_id=run)
    if job is not None:
        await work_on(catalogue, job)
    return job is not None


async def work_on(catalogue: Catalogue, job: rowcast.AsyncJob) -> None:
    """Works on a claimed run for as long as it may."""
    async with job:
        told = await job.call("write_batch")
        job.plan({"enriching": 1})
        if told["items"]:
            job.stage("enriching", told["total"], done=told["done"], message=told["message"])
            counted = job.look()["pipeline"]["metrics"]
            for status, count in told["counts"].items():
                if missing := count - counted.get(status, 0):  # what an attempt before this one has done
                    job.count(status, missing)
        async with job.pool(told.get("max_parallel", 1), parts=True) as pool:
            # No items are left, or none are handed out any more: it was paused, stopped, cancelled, or taken over.
            while told["items"]:
                results = await look_up_batch(catalogue, told["items"], pool)
                for result in results:
                    job.count(str(result["status"]))
                job.advance(len(results))
                told = await job.call("write_batch", results=results)
                job.advance(0, message=told.get("message"))


async def look_up_batch(
    catalogue: Catalogue, items: Sequence[Mapping[str, Any]], pool: rowcast.AsyncPool
) -> list[dict[str, object]]:
    """The results of a batch, as ``write_batch`` takes them. A part that several lines name is looked up once."""
    parts = [Part(normalise(item["mpn"] or ""), item["manufacturer"]) for item in items]
    asked = list(dict.fromkeys(part for part in parts if part.mpn))
    found = [each async for each in pool.map(partial(look_up, catalogue), asked, label=lambda part: part.mpn)]
    outcomes = dict(zip(asked, found, strict=True))
    unnamed = _outcome("failed", error="The line has no part number.")
    return [{"id": item["id"], **outcomes.get(part, unnamed)} for item, part in zip(items, parts, strict=True)]


async def look_up(catalogue: Catalogue, part: Part) -> dict[str, object]:
    """Asks for one part. A provider that fails fails the part."""
    limit = asyncio.timeout(LOOK_UP_SECONDS)
    try:
        async with limit:
            facts = await catalogue.find(part)
        told = _outcome("enriched", facts)
        json.dumps(told, allow_nan=False)  # or one part would fail the whole batch
    except Exception as error:  # noqa: BLE001 - whatever a provider raises
        why = f"no answer within {LOOK_UP_SECONDS:g} s" if limit.expired() else error_text(error)
        return _outcome("failed", error=f"{catalogue.name} could not be asked: {why}")
    if facts is None:
        return _outcome("not_found", error=f"{catalogue.name} does not know this part.")
    return told


def _outcome(status: str, facts: Facts | None = None, error: str | None = None) -> dict[str, object]:
    return {"status": status, "enrichment_data": facts and facts.as_data(), "error_message": error}
