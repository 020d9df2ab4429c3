"""The worker SDK: report what your work does, and every page that watches the project sees it live.

    async with rowcast.connect() as client:
        async with client.job(project_id, kind="ingestion", title="Reading the manuals") as job:
            async for document in job.track(documents, stage="parsing"):
                ...
                await job.propose(title, body=text, confidence=0.8)

The same without async and await for plain scripts. See docs/workers.md for what is guaranteed.
"""

from rowcast.aio import AsyncJob, AsyncSource
from rowcast.client import AsyncClient, Client, Connection, connect
from rowcast.context import Progress, current_job, progress
from rowcast.core import Proposal
from rowcast.errors import (
    ConfigError,
    DeliveryError,
    JobCancelled,
    JobLost,
    NotRunningError,
    RequestError,
    RowcastError,
)
from rowcast.job import Job, Source
from rowcast.loops import patch_tqdm, tqdm, trange
from rowcast.pool import AsyncPool, Pool
from rowcast.signals import stop_on_sigterm

__all__ = [
    "AsyncClient", "AsyncJob", "AsyncPool", "AsyncSource", "Client", "ConfigError", "Connection", "DeliveryError",
    "Job", "JobCancelled", "JobLost", "NotRunningError", "Pool", "Progress", "Proposal", "RequestError",
    "RowcastError", "Source", "connect", "current_job", "patch_tqdm", "progress", "stop_on_sigterm", "tqdm",
    "trange",
]  # fmt: skip
