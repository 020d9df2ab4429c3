"""The whole flow on one screen.

PostgreSQL   a commit appends its changes to feed_changes, numbered in order         supabase/migrations
   │
   ├─ Realtime ──▶ RealtimeGeneration   one socket's life: fast, and never trusted    changes/realtime
   └─ REST ──────▶ ChangeLog            heads, catch-ups, snapshots: the authority    changes/log
                        │
                   LogListener          what both bring, each change once, in order   changes/listener
                        │                                                             (changes/sequence)
                 MembershipWatch        whose right to listen is asked anew           streams/membership
                        │                                                             (access/rights)
                      Hub               a topic a key: ring, viewers, replay          feeds/hub
                        │
                     Delivery           translated and encoded once for all viewers   events/*, events/wire
                        │
               Viewer and its Outbox    one a stream: the newest of each row          feeds/outbox
                        │
                     Session            the stream's bytes, first to last             streams/session
                        │
                   GET …/status         access, then Server-Sent Events               streams/sse
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from service.access.belongings import Belongings
from service.access.gate import Gate
from service.access.jwks import KeySet, Verifier
from service.access.limits import Limits
from service.access.members import Members
from service.access.rest import Rest
from service.access.rights import Rights
from service.access.tickets import Tickets
from service.changes.listener import LogListener
from service.changes.log import ChangeLog
from service.changes.realtime import RealtimeGeneration
from service.client import Client
from service.events.enrichment import EnrichmentFeed
from service.events.feed import Feed
from service.events.project import ProjectFeed
from service.feeds.hub import Hub
from service.maintenance import PRUNING_SECONDS, keep
from service.metrics import Metrics
from service.settings import Settings
from service.streams.membership import MembershipWatch
from service.streams.services import Services
from service.tasks import spawn
from supabase import AsyncClient, AsyncClientOptions, acreate_client

FEEDS: dict[str, Feed] = {feed.name: feed for feed in (ProjectFeed(), EnrichmentFeed())}


@dataclass(frozen=True)
class Pipeline:
    """What the application needs of it."""

    log: ChangeLog
    listener: LogListener
    services: Services
    metrics: Metrics


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Pipeline]:
    """The pipeline, connected and following nothing yet."""
    async with Client() as own, Client() as http:
        # What people ask for waits in a line of its own: however much it is, the listener's questions do not wait.
        log = ChangeLog(await _supabase(settings, own))
        asked = log.through(await _supabase(settings, http))
        metrics = Metrics()
        as_service = Rest(http, settings.supabase_url, settings.secret_key)
        members = Members(Rest(http, settings.supabase_url, settings.publishable_key), time.monotonic)
        jwks = KeySet(http, f"{settings.supabase_url}/auth/v1/.well-known/jwks.json", time.monotonic)
        tickets = Tickets(as_service, settings.secret_key, time.time)
        verifier = Verifier(jwks, settings.jwt_secret, settings.issuer, time.time)
        gate = Gate(verifier, members, Belongings(members, as_service), tickets, settings.admin_token)
        rights = Rights(
            gate.confirm,
            members.forget,
            as_service,
            time.monotonic,
            random.random,
            lambda outcome: metrics.rights_asked.labels(outcome).inc(),
        )
        hub = Hub(asked, FEEDS, settings.linger_seconds, settings.outbox_bytes, metrics)
        listener = LogListener(
            log,
            MembershipWatch(rights, hub),
            lambda hearing: RealtimeGeneration(settings.supabase_url, settings.secret_key, hearing),
            random.random,
            metrics,
            settings.heads_seconds,
        )
        hub.bind(listener)
        _read_when_asked(metrics, log, listener)
        services = Services(
            hub,
            asked,
            gate,
            rights,
            Limits(settings.stream_limits),
            settings.trusted_proxies,
            settings.outbox_bytes,
            settings.keepalive_seconds,
            settings.stream_max_age_seconds,
            random.random,
        )
        listener.start()
        stall = partial(log.call, "stall_jobs", {})
        tasks = [
            spawn(rights.keep_asking()),
            spawn(keep("tickets pruned", tickets.prune, PRUNING_SECONDS, random.random)),
            spawn(keep("jobs stalled", stall, settings.stall_seconds, random.random)),
        ]
        if settings.retention_days:
            prune = partial(log.prune, settings.retention_days)
            tasks.append(spawn(keep("changes pruned", prune, PRUNING_SECONDS, random.random)))
        try:
            yield Pipeline(log, listener, services, metrics)
        finally:
            for task in tasks:
                task.cancel()
            await rights.close()
            await listener.stop()
            await hub.close()


async def _supabase(settings: Settings, client: Client) -> AsyncClient:
    return await acreate_client(settings.supabase_url, settings.secret_key, AsyncClientOptions(httpx_client=client))


def _read_when_asked(metrics: Metrics, log: ChangeLog, listener: LogListener) -> None:
    """What is so, rather than has happened, is looked up when somebody measures."""
    loop = asyncio.get_running_loop()
    metrics.database_up.set_function(lambda: log.available)
    metrics.keys_followed.set_function(lambda: listener.keys)
    metrics.keys_live.set_function(lambda: listener.live_keys)
    metrics.tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
