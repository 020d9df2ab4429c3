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

In a database without a change log (direct mode; ``mode`` chooses) a DirectListener (changes/direct) stands in the place
of the first three: it reads the tables themselves again and again, as who looks at them, and tells what differs.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import httpx

from service.access.belongings import Belongings
from service.access.gate import Gate
from service.access.jwks import KeySet, Verifier
from service.access.limits import Limits
from service.access.members import Members
from service.access.readers import Readers
from service.access.rest import Rest
from service.access.rights import Rights
from service.access.tickets import Tickets
from service.changes.change import Reader
from service.changes.direct import DirectListener, nudges
from service.changes.listener import LogListener
from service.changes.log import ChangeLog
from service.changes.realtime import RealtimeGeneration
from service.changes.rows import Rows
from service.client import Client
from service.events.enrichment import EnrichmentFeed
from service.events.feed import Feed
from service.events.project import ProjectFeed
from service.feeds.hub import Hub
from service.maintenance import PRUNING_SECONDS, keep
from service.metrics import Metrics
from service.mode import Mode, Modes, Upstream, has_log
from service.settings import Settings
from service.streams.membership import MembershipWatch
from service.streams.services import Services
from service.tasks import spawn
from supabase import AsyncClient, AsyncClientOptions, acreate_client

FEEDS: dict[str, Feed] = {feed.name: feed for feed in (ProjectFeed(), EnrichmentFeed())}
DIRECT_FEEDS: dict[str, Feed] = {feed.name: feed for feed in (ProjectFeed(exact=False),)}


class Pipeline:
    """What the application needs of it: the parts of whichever mode the service is in."""

    def __init__(self, modes: Modes, metrics: Metrics) -> None:
        self._modes = modes
        self.metrics = metrics

    @property
    def mode(self) -> Mode | None:
        """None until the database has said which."""
        return self._modes.mode

    @property
    def log(self) -> ChangeLog | DirectListener:
        return self._modes.current.log

    @property
    def listener(self) -> LogListener | DirectListener:
        return self._modes.current.listener

    @property
    def services(self) -> Services:
        return self._modes.current.services


@dataclass(frozen=True)
class _Shared:
    """What both modes are made of. ``own`` and ``http`` ask as the service, and each waits in a line of its own."""

    settings: Settings
    own: Client
    http: Client
    metrics: Metrics
    verifier: Verifier
    limits: Limits
    as_service: Rest
    as_user: Rest

    def rights(self, gate: Gate, members: Members) -> Rights:
        return Rights(
            gate.confirm,
            members.forget,
            self.as_service,
            time.monotonic,
            random.random,
            lambda outcome: self.metrics.rights_asked.labels(outcome).inc(),
        )

    def services(self, hub: Hub, database: ChangeLog, gate: Gate, rights: Rights, *, reads_as_user: bool) -> Services:
        settings = self.settings
        return Services(
            hub,
            database,
            gate,
            rights,
            self.limits,
            settings.trusted_proxies,
            settings.outbox_bytes,
            settings.keepalive_seconds,
            settings.stream_max_age_seconds,
            random.random,
            reads_as_user,
        )


@asynccontextmanager
async def running(settings: Settings, proxy: httpx.Proxy | None = None) -> AsyncIterator[Pipeline]:
    """The pipeline, connected by way of the ``proxy`` and following nothing yet."""
    async with Client(proxy=proxy) as own, Client(proxy=proxy) as http:
        jwks = KeySet(http, f"{settings.supabase_url}/auth/v1/.well-known/jwks.json", time.monotonic)
        shared = _Shared(
            settings,
            own,
            http,
            Metrics(),
            Verifier(jwks, settings.jwt_secret, settings.issuer, time.time),
            Limits(settings.stream_limits),
            Rest(http, settings.supabase_url, settings.secret_key),
            Rest(http, settings.supabase_url, settings.publishable_key),
        )
        # What people ask for waits in a line of its own: however much it is, the listener's questions do not wait.
        log = ChangeLog(await _supabase(settings, own), tables=settings.tables)
        asked = log.through(await _supabase(settings, http))
        tickets = Tickets(shared.as_service, settings.secret_key, time.time)
        logged, direct = _logged(shared, log, asked, tickets), _direct(shared, asked, tickets)
        tasks = [spawn(logged.rights.keep_asking()), spawn(direct.rights.keep_asking())]
        modes = Modes(
            logged,
            direct,
            partial(has_log, Rest(own, settings.supabase_url, settings.secret_key)),
            lambda: tasks.extend(spawn(work) for work in _maintenance(settings, log, tickets)),
            settings.reread_seconds,
            random.random,
        )
        _read_when_asked(shared.metrics, modes)
        await modes.start()
        try:
            yield Pipeline(modes, shared.metrics)
        finally:
            for task in tasks:
                task.cancel()
            await modes.close()


def _logged(shared: _Shared, log: ChangeLog, asked: ChangeLog, tickets: Tickets) -> Upstream:
    """By the change log. ``log`` is for the listener alone, ``asked`` for what people want."""
    settings = shared.settings
    members = Members(shared.as_user, time.monotonic)
    belongings = Belongings(members, shared.as_service, settings.tables)
    gate = Gate(shared.verifier, members, belongings, tickets, settings.admin_token)
    rights = shared.rights(gate, members)
    hub = Hub(asked, FEEDS, settings.linger_seconds, settings.outbox_bytes, shared.metrics)
    listener = LogListener(
        log,
        MembershipWatch(rights, hub),
        lambda hearing: RealtimeGeneration(settings.supabase_url, settings.secret_key, hearing),
        random.random,
        shared.metrics,
        settings.heads_seconds,
        settings.tables,
    )
    hub.bind(listener)
    listener.start()
    return Upstream(log, listener, rights, shared.services(hub, asked, gate, rights, reads_as_user=False))


def _direct(shared: _Shared, asked: ChangeLog, tickets: Tickets) -> Upstream:
    """By the tables themselves, read as the users who look at them."""
    settings = shared.settings
    members = Readers(shared.as_user, time.monotonic, settings.tables)
    belongings = Belongings(members, shared.as_service, settings.tables)
    gate = Gate(shared.verifier, members, belongings, tickets, settings.admin_token)
    rights = shared.rights(gate, members)
    bindings = nudges(settings.tables)
    listener = DirectListener(
        _rows(settings, shared.own),
        _rows(settings, shared.http),
        lambda hearing: RealtimeGeneration(settings.supabase_url, settings.secret_key, hearing, bindings),
        random.random,
        shared.metrics,
        settings.reread_seconds,
    )
    hub = Hub(listener, DIRECT_FEEDS, settings.linger_seconds, settings.outbox_bytes, shared.metrics)
    hub.bind(listener)
    listener.bind(hub)
    return Upstream(listener, listener, rights, shared.services(hub, asked, gate, rights, reads_as_user=True))


def _rows(settings: Settings, http: Client) -> Rows:
    """Rows asked for on these connections, as whoever reads them."""
    as_service = Rest(http, settings.supabase_url, settings.secret_key)
    as_user = Rest(http, settings.supabase_url, settings.publishable_key)

    async def ask(table: str, parameters: Mapping[str, str], reader: Reader | None) -> object:
        if reader is None:
            return await as_service.ask("GET", table, parameters)
        return await as_user.ask("GET", table, parameters, bearer=reader.token)

    return Rows(ask, settings.tables)


def _maintenance(settings: Settings, log: ChangeLog, tickets: Tickets) -> list[Coroutine[None, None, None]]:
    stall = partial(log.call, "stall_jobs", {})
    work = [
        keep("tickets pruned", tickets.prune, PRUNING_SECONDS, random.random),
        keep("lost jobs found", stall, settings.stall_seconds, random.random),
    ]
    if settings.retention_days:
        prune = partial(log.prune, settings.retention_days)
        work.append(keep("changes pruned", prune, PRUNING_SECONDS, random.random))
    return work


async def _supabase(settings: Settings, client: Client) -> AsyncClient:
    return await acreate_client(settings.supabase_url, settings.secret_key, AsyncClientOptions(httpx_client=client))


def _read_when_asked(metrics: Metrics, modes: Modes) -> None:
    """What is so, rather than has happened, is looked up when somebody measures."""
    loop = asyncio.get_running_loop()
    metrics.database_up.set_function(lambda: modes.current.log.available)
    metrics.keys_followed.set_function(lambda: modes.current.listener.keys)
    metrics.keys_live.set_function(lambda: modes.current.listener.live_keys)
    metrics.tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
