"""``rowcast doctor``: whether a Supabase project is as the service needs it, and what to do where it is not.

It changes nothing but for one row of the change log, of a feed that nobody can listen to (``rowcast_probe``).
"""

import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt

from service.access.jwks import KeySet, Verifier
from service.access.rest import Rest
from service.access.tokens import LEEWAY_SECONDS
from service.changes.change import FeedKey
from service.changes.realtime import READY_SECONDS, RealtimeGeneration
from service.doctor_direct import MIGRATE, Listening, comes, examine_direct
from service.errors import ApiError, DatabaseRefused, DatabaseUnavailable, in_words
from service.findings import Finding, Level, fail, ok, warn
from service.mode import NO_SUCH_FUNCTION, has_log
from service.settings import Settings, legacy_role
from service.tables import STANDARD, Tables, in_sql

ASK_SECONDS = 10.0
DELIVERY_SECONDS = 10.0
FEED = "doctor"
NEWEST = "stall_jobs"
"""Of the functions that the service calls, one that the newest migration brought."""
TRACKED = {
    "jobs": "project",
    "ingestion_sources": "project",
    "proposed_nodes": "project",
    "project_members": "project",
    "enrichment_events": "enrichment",
    "boms": "enrichment",
}
"""The tables that the feeds are made of."""
OWN = frozenset({"boms", "enrichment_events", "project_members"})
"""Those of them that a database which was there before rowcast need not have."""
SECRET = ("feed_changes", "stream_tickets")
"""Tables that no page may read."""


async def examine(settings: Settings, token: str | None = None) -> AsyncIterator[Finding]:
    """Looks at everything, one after the other; leaves out what can't be seen because of what was found before.

    ``token`` is somebody's access token, to see whether it would be accepted. Raises nothing.
    """
    async with httpx.AsyncClient(base_url=settings.supabase_url, timeout=ASK_SECONDS) as client:
        reached = await _reach(client, settings)
        yield reached
        if reached.level is not Level.OK:
            return
        yield key_kinds(settings)
        async for finding in _tokens(client, settings, token):
            yield finding
        asked_at = time.time()
        try:
            is_logged = await has_log(Rest(client, settings.supabase_url, settings.secret_key))
        except (DatabaseRefused, DatabaseUnavailable):
            is_logged = True  # what is wrong is found by the diagnosis
        if not is_logged:
            async for finding in examine_direct(client, settings):
                yield finding
            return
        diagnosis, finding = await _diagnose(client, settings)
        yield finding
        if diagnosis is None:
            return
        yield clock(datetime.fromisoformat(diagnosis["now"]).timestamp(), (asked_at + time.time()) / 2)
        for finding in (
            *tables(diagnosis, settings.tables),
            publication(diagnosis),
            retention(diagnosis, settings.retention_days),
        ):
            yield finding
        yield await _realtime(client, settings)


async def _reach(client: httpx.AsyncClient, settings: Settings) -> Finding:
    about = "Supabase"
    try:
        answer = await client.get(
            "/rest/v1/projects", params={"limit": "0"}, headers={"apikey": settings.publishable_key}
        )
    except httpx.HTTPError as error:
        why = f"{settings.supabase_url} can't be reached: {in_words(error)}"
        return fail(about, why, "Is SUPABASE_URL right, and is the project running (not paused)?")
    if answer.status_code == httpx.codes.UNAUTHORIZED and not _code(answer):
        # PostgREST's own refusals carry a code; this is the gateway's
        return fail(
            about, "the publishable key is not accepted", "Copy SUPABASE_PUBLISHABLE_KEY from the project's API keys."
        )
    if answer.is_server_error:
        return fail(about, f"REST answers HTTP {answer.status_code}", "Look at the project's health and its API logs.")
    if not _is_rest(answer):
        why = f"{settings.supabase_url} answers HTTP {answer.status_code}, but not as a Supabase project does"
        return fail(about, why, "Is SUPABASE_URL the project's address, as its API settings show it?")
    return ok(about, f"{settings.supabase_url} answers, and takes the publishable key")


def _is_rest(answer: httpx.Response) -> bool:
    """Whether PostgREST has answered: with rows, or with an error that has a code."""
    return _code(answer) != "" if answer.is_error else isinstance(_json(answer), list)


def _code(answer: httpx.Response) -> str:
    """The code in an error of PostgREST, or nothing."""
    said = _json(answer)
    return str(said.get("code") or "") if isinstance(said, dict) else ""


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def key_kinds(settings: Settings) -> Finding:
    """Whether the keys are new or legacy; legacy ones say themselves whether they are of the same project."""
    about = "API keys"
    legacy = [
        name
        for name, key in (("secret", settings.secret_key), ("publishable", settings.publishable_key))
        if legacy_role(key) is not None
    ]
    if not legacy:
        return ok(about, "both are of the new kind (sb_…)")
    for key in (settings.secret_key, settings.publishable_key):
        if settings.jwt_secret is not None and legacy_role(key) is not None and not _signed(key, settings.jwt_secret):
            seen = "a legacy key is not signed with SUPABASE_JWT_SECRET: they are of two projects, or one was rotated"
            return fail(about, seen, "Copy all of them from the same project, or leave SUPABASE_JWT_SECRET out.")
    return ok(about, f"legacy: {' and '.join(legacy)}; Supabase recommends the new kind (sb_…)")


def _signed(key: str, secret: str) -> bool:
    try:
        jwt.decode(key, secret, algorithms=["HS256"], options={"verify_exp": False, "verify_aud": False})
    except jwt.PyJWTError:
        return False
    return True


async def _tokens(client: httpx.AsyncClient, settings: Settings, token: str | None) -> AsyncIterator[Finding]:
    about = "access tokens"
    keys = KeySet(client, f"{settings.supabase_url}/auth/v1/.well-known/jwks.json", time.monotonic)
    await keys.refresh()
    ways = [f"{len(keys.keys)} keys of the JWKS"] if keys.keys else []
    ways += ["SUPABASE_JWT_SECRET (HS256)"] if settings.jwt_secret else []
    if not keys.is_certain:
        advice = "Nobody can sign in with ES256 or RS256 tokens until it answers. Is Auth up?"
        yield Finding(Level.WARN if ways else Level.FAIL, about, "the JWKS can't be fetched", advice)
    elif ways:
        yield ok(about, f"verified with {' and '.join(ways)}")
    else:
        yield fail(
            about,
            "nothing to verify them with: the JWKS is empty, and SUPABASE_JWT_SECRET is not set",
            "Set SUPABASE_JWT_SECRET to the project's legacy JWT secret, or move the project to signing keys.",
        )
    if token is not None:
        try:
            await Verifier(keys, settings.jwt_secret, settings.issuer, time.time).verify(token)
        except ApiError as error:
            expected = f"an iss of {settings.issuer}" if settings.issuer else "any iss"
            yield fail("your token", error.message, f"This service expects aud authenticated and {expected}.")
        else:
            yield ok("your token", "would be accepted")


async def _diagnose(client: httpx.AsyncClient, settings: Settings) -> tuple[dict[str, Any] | None, Finding]:
    about = "migrations"
    answer = await _call(client, settings, "rowcast_diagnosis", {})
    if isinstance(answer, httpx.HTTPError):
        return None, fail(about, f"the database can't be asked: {in_words(answer)}", "Try again.")
    if answer.status_code == httpx.codes.OK:
        newest = await _call(client, settings, NEWEST, {"batch": 0})  # which it refuses: nothing is done
        if isinstance(newest, httpx.Response) and _code(newest) in NO_SUCH_FUNCTION:
            return answer.json(), fail(about, f"not all are applied: the database does not know {NEWEST}", MIGRATE)
        return answer.json(), ok(about, "applied")
    code = _code(answer)
    if answer.status_code == httpx.codes.UNAUTHORIZED and not code:
        advice = "Copy SUPABASE_SECRET_KEY from the project's API keys."
        return None, fail("API keys", "the secret key is not accepted", advice)
    if code in NO_SUCH_FUNCTION:
        return None, fail(about, "the database does not know rowcast's functions", MIGRATE)
    return None, fail(about, f"rowcast_diagnosis: HTTP {answer.status_code} {answer.text[:200]}", MIGRATE)


async def _call(
    client: httpx.AsyncClient, settings: Settings, function: str, arguments: Mapping[str, object]
) -> httpx.Response | httpx.HTTPError:
    key = settings.secret_key
    headers = {"apikey": key} | ({"Authorization": f"Bearer {key}"} if legacy_role(key) else {})
    try:
        return await client.post(f"/rest/v1/rpc/{function}", json=arguments, headers=headers)
    except httpx.HTTPError as error:
        return error


def clock(database: float, here: float) -> Finding:
    """``database`` and ``here``: what either clock showed at the same moment, in s since the epoch."""
    about, ahead = "clocks", here - database
    seen = f"this machine's is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the database's"
    advice = "Run NTP on this machine; a token's exp is judged by its clock."
    if abs(ahead) > LEEWAY_SECONDS:
        return fail(about, seen, advice)
    if abs(ahead) > 1:
        return warn(about, f"{seen}; the metric of the lag is off by as much", advice)
    return ok(about, "this machine's and the database's agree")


def tables(diagnosis: Mapping[str, Any], mapped: Tables = STANDARD) -> Iterator[Finding]:
    """Tracking and row level security. ``diagnosis`` is what ``rowcast_diagnosis`` returns.

    A database without enrichment_events was there before rowcast: it need not have the tables of OWN, and what has the
    name of one is its own.
    """
    found: Mapping[str, Mapping[str, Any]] = diagnosis["tables"]
    theirs = {mapped.ours[name].there if name in mapped.ours else name: feed for name, feed in TRACKED.items()}
    is_adopted = "enrichment_events" not in found and found.keys() & mapped.there.keys()
    tracked = {name: feed for name, feed in theirs.items() if not (is_adopted and name in OWN)}
    missing = [name for name in (*tracked, *SECRET) if name not in found]
    if missing:
        yield fail("tables", f"missing: {_list(missing)}", MIGRATE)
    about = "tracking"
    wrong = [name for name, feed in tracked.items() if name in found and found[name]["feed"] != feed]
    off = [name for name in tracked if name in found and found[name]["disabled"]]
    if wrong:
        track = f"rowcast.track('public.{in_sql(wrong[0])}', feed => '{tracked[wrong[0]]}', …)"
        advice = f"select {track}: see docs/database.md."
        yield fail(about, f"changes of these tables are not in their feed: {_list(wrong)}", advice)
    if off:
        advice = f"alter table {in_sql(off[0])} enable trigger all; select rowcast.restart('{tracked[off[0]]}');"
        yield fail(about, f"triggers are disabled, changes are lost: {_list(off)}", advice)
    if not wrong and not off:
        yield ok(about, f"{len(tracked)} tables")
    about = "row level security"
    unprotected = [name for name in (*tracked, *SECRET) if name in found and not found[name]["rls"]]
    open_to = [
        f"{name} ({_list(found[name]['read_by'])})" for name in SECRET if name in found and found[name]["read_by"]
    ]
    if unprotected:
        advice = f"alter table public.{in_sql(unprotected[0])} enable row level security;"
        yield fail(about, f"off, so everybody may read: {_list(unprotected)}", advice)
    if open_to:
        advice = f"revoke all on public.{', public.'.join(SECRET)} from anon, authenticated;"
        yield fail(about, f"pages may read what is the service's alone: {_list(open_to)}", advice)
    if not unprotected and not open_to:
        yield ok(about, "on")


def publication(diagnosis: Mapping[str, Any]) -> Finding:
    """Whether Realtime is told of the change log."""
    about, published = "publication", diagnosis["publication"]
    without = "streams work, a second late, by reading the database"
    if published is None:
        advice = "create publication supabase_realtime for table public.feed_changes;"
        return warn(about, f"there is no supabase_realtime: {without}", advice)
    log = diagnosis["tables"].get("feed_changes", {"published": False})
    if not log["published"]:
        advice = "alter publication supabase_realtime add table public.feed_changes;"
        return warn(about, f"feed_changes is not in supabase_realtime: {without}", advice)
    if not published["inserts"]:
        advice = "alter publication supabase_realtime set (publish = 'insert, update, delete, truncate');"
        return warn(about, f"supabase_realtime leaves out inserts: {without}", advice)
    return ok(about, "supabase_realtime has the change log")


def retention(diagnosis: Mapping[str, Any], days: float) -> Finding:
    """Whether the change log is pruned; ``days`` is what the service is set to keep, 0 if it does not prune."""
    about = "change log"
    if diagnosis["oldest_change"] is None:
        return ok(about, "empty")
    # The newest change of each key stays for ever, so an old one alone proves nothing.
    age = datetime.fromisoformat(diagnosis["now"]) - datetime.fromisoformat(diagnosis["oldest_change"])
    seen = f"reaches back {age.days} days at most"
    if days == 0 and age > timedelta(days=30):
        advice = "Prune it: select prune_feed_changes() in a job of pg_cron, or ROWCAST_RETENTION_DAYS above 0."
        return warn(about, f"{seen}, and this service does not prune it", advice)
    return ok(about, seen)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


async def _realtime(client: httpx.AsyncClient, settings: Settings) -> Finding:
    about = "Realtime"
    slower = "Until then streams work a second late, by reading the database."
    key = FeedKey(FEED, str(uuid4()))
    listening = Listening()
    generation = RealtimeGeneration(settings.supabase_url, settings.secret_key, listening)
    try:
        try:
            await generation.open()
        except Exception as error:  # noqa: BLE001 - whatever stops the connection is what there is to tell
            advice = f"Is Realtime enabled for the project, and are WebSockets let through? {slower}"
            return warn(about, f"can't connect: {in_words(error)}", advice)
        generation.join(key)
        if not await comes(listening.subscribed, generation, READY_SECONDS):
            advice = f"Look at the project's Realtime logs: its replication slots, its limits. {slower}"
            return warn(about, "does not subscribe to the database", advice)
        began = time.perf_counter()
        answer = await _call(client, settings, "rowcast_probe", {"key": key.key})
        if isinstance(answer, httpx.HTTPError) or not answer.is_success:
            return fail(about, "no test change can be written", MIGRATE)
        if not await comes(listening.heard, generation, DELIVERY_SECONDS):
            advice = f"Is feed_changes in the publication, and the project within its message limits? {slower}"
            return warn(about, "did not deliver a test change", advice)
        return ok(about, f"delivered a test change in {(time.perf_counter() - began) * 1000:.0f} ms")
    finally:
        await generation.close()
