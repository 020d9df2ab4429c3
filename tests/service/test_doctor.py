"""What `rowcast doctor` finds in a project that is well, and what it says of each thing that is not."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import psycopg
import pytest

from service import doctor
from service.doctor import Finding, Level, clock, examine, key_kinds, publication, retention, tables
from service.settings import Settings
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project, service_environment

SECRET = "a-secret-of-a-test-of-32-characters"


async def found(stack: StackFacts, token: str | None = None, **changed: str) -> dict[str, Finding]:
    settings = Settings.from_environment({**service_environment(stack), **changed})
    return {finding.about: finding async for finding in examine(settings, token)}


def bad(findings: dict[str, Finding]) -> list[str]:
    return [about for about, finding in findings.items() if finding.level is not Level.OK]


# On the real parts


async def test_a_project_that_is_well_has_nothing_to_mend(stack: StackFacts, project: Project) -> None:
    findings = await found(stack, project.token)
    assert bad(findings) == []
    assert list(findings) == [
        "Supabase", "API keys", "access tokens", "your token", "migrations", "clocks", "tracking",
        "row level security", "publication", "change log", "Realtime",
    ]  # fmt: skip
    assert "delivered a test change" in findings["Realtime"].seen


async def test_a_project_that_is_not_there(stack: StackFacts) -> None:
    [finding] = (await found(stack, SUPABASE_URL=f"http://127.0.0.1:{unused_port()}")).values()
    assert finding.level is Level.FAIL
    assert "can't be reached" in finding.seen


async def test_an_address_of_something_else(stack: StackFacts, service: str) -> None:
    """The service's own, as when both were copied."""
    [finding] = (await found(stack, SUPABASE_URL=service)).values()
    assert finding.level is Level.FAIL
    assert finding.seen == f"{service} answers HTTP 404, but not as a Supabase project does"
    assert "SUPABASE_URL" in finding.advice


@pytest.mark.parametrize(
    ("variable", "value", "about", "seen"),
    [
        ("SUPABASE_PUBLISHABLE_KEY", "sb_publishable_other", "Supabase", "the publishable key is not accepted"),
        ("SUPABASE_SECRET_KEY", "sb_secret_other", "API keys", "the secret key is not accepted"),
        (
            "SUPABASE_JWT_SECRET",
            "",
            "access tokens",
            "nothing to verify them with: the JWKS is empty, and SUPABASE_JWT",
        ),
    ],
)
async def test_a_setting_that_is_wrong_is_named(
    stack: StackFacts, variable: str, value: str, about: str, seen: str
) -> None:
    finding = (await found(stack, **{variable: value}))[about]
    assert finding.level is Level.FAIL
    assert finding.seen.startswith(seen)
    assert variable in finding.advice


async def test_a_token_that_would_be_refused(stack: StackFacts, project: Project) -> None:
    findings = await found(stack, project.token, SUPABASE_JWT_ISSUER="https://another.example")
    assert bad(findings) == ["your token"]
    assert "iss" in findings["your token"].advice


def legacy(secret: str, **variables: str) -> Settings:
    keys = {f"SUPABASE_{name}_KEY": jwt.encode({"role": role}, secret)
            for name, role in (("SECRET", "service_role"), ("PUBLISHABLE", "anon"))}  # fmt: skip
    return Settings.from_environment({"SUPABASE_URL": "https://a.example", **keys, **variables})


def test_legacy_keys_are_told_from_new_ones_and_from_those_of_another_project() -> None:
    assert key_kinds(legacy(SECRET)).seen.startswith("legacy: secret and publishable")
    assert key_kinds(legacy(SECRET, SUPABASE_JWT_SECRET=SECRET)).level is Level.OK
    finding = key_kinds(legacy(SECRET, SUPABASE_JWT_SECRET="another secret of 32 characters.."))
    assert finding.level is Level.FAIL
    assert "not signed with SUPABASE_JWT_SECRET" in finding.seen


@contextmanager
def harmed(stack: StackFacts, harm: str, mend: str) -> Iterator[None]:
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        database.execute(harm)  # type: ignore[arg-type]
        try:
            yield
        finally:
            database.execute(mend)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("function", "seen"),
    [
        ("rowcast_diagnosis", "the database does not know rowcast's functions"),
        ("stall_jobs", "not all are applied: the database does not know stall_jobs"),
    ],
)
async def test_a_database_without_the_migrations(stack: StackFacts, function: str, seen: str) -> None:
    with harmed(stack, f"alter function {function} rename to hidden", f"alter function hidden rename to {function}"):
        finding = (await found(stack))["migrations"]
    assert (finding.level, finding.seen) == (Level.FAIL, seen)
    assert "supabase db push" in finding.advice


async def test_a_realtime_that_delivers_nothing(stack: StackFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DELIVERY_SECONDS", 0.5)
    with harmed(
        stack,
        "alter publication supabase_realtime drop table feed_changes",
        "alter publication supabase_realtime add table feed_changes",
    ):
        findings = await found(stack)
    assert bad(findings) == ["publication", "Realtime"]
    assert findings["Realtime"].level is Level.WARN  # streams still work


# What the findings say


WELL: dict[str, Any] = {
    "now": "2026-11-21T12:00:00+00:00",
    "publication": {"all_tables": False, "inserts": True},
    "oldest_change": "2026-11-20T12:00:00+00:00",
    "tables": {
        name: {"feed": doctor.TRACKED.get(name), "disabled": False, "published": True, "rls": True, "read_by": []}
        for name in (*doctor.TRACKED, *doctor.SECRET)
    },
}


def changed(table: str, **fields: object) -> dict[str, Any]:
    return {**WELL, "tables": {**WELL["tables"], table: {**WELL["tables"][table], **fields}}}


@pytest.mark.parametrize(
    ("diagnosis", "about", "seen", "advice"),
    [
        (
            changed("jobs", feed=None),
            "tracking",
            "not in their feed: jobs",
            "rowcast.track('public.jobs', feed => 'project'",
        ),
        (
            changed("boms", disabled=True),
            "tracking",
            "disabled, changes are lost: boms",
            "rowcast.restart('enrichment')",
        ),
        (changed("jobs", rls=False), "row level security", "may read: jobs", "alter table public.jobs enable"),
        (changed("feed_changes", read_by=["anon"]), "row level security", "feed_changes (anon)", "revoke all on"),
        ({**WELL, "tables": {}}, "tables", "missing: jobs, ", "supabase db push"),
    ],
)
def test_what_is_wrong_with_a_table_and_what_to_do(
    diagnosis: dict[str, Any], about: str, seen: str, advice: str
) -> None:
    [finding] = [finding for finding in tables(diagnosis) if finding.level is not Level.OK]
    assert (finding.level, finding.about) == (Level.FAIL, about)
    assert seen in finding.seen
    assert advice in finding.advice


def test_tables_that_are_well() -> None:
    assert {finding.level for finding in tables(WELL)} == {Level.OK}


def test_an_adopted_databases_own_tables_of_our_names_are_nobodys_business() -> None:
    adopted = changed("project_members", feed=None, rls=False)
    del adopted["tables"]["enrichment_events"]
    assert {finding.level for finding in tables(adopted)} == {Level.OK}


@pytest.mark.parametrize(
    ("diagnosis", "seen", "advice"),
    [
        ({**WELL, "publication": None}, "there is no supabase_realtime", "create publication"),
        (changed("feed_changes", published=False), "feed_changes is not in", "add table public.feed_changes"),
        ({**WELL, "publication": {"all_tables": True, "inserts": False}}, "leaves out inserts", "set (publish ="),
    ],
)
def test_what_is_wrong_with_the_publication(diagnosis: dict[str, Any], seen: str, advice: str) -> None:
    finding = publication(diagnosis)
    assert finding.level is Level.WARN
    assert seen in finding.seen
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("here", "level"), [(0.0, Level.OK), (0.9, Level.OK), (-3.0, Level.WARN), (6.0, Level.FAIL), (-6.0, Level.FAIL)]
)
def test_clocks_that_disagree(here: float, level: Level) -> None:
    assert clock(0.0, here).level is level


def test_a_change_log_that_nobody_prunes() -> None:
    old = {**WELL, "oldest_change": "2026-09-01T00:00:00+00:00"}
    assert retention(old, 0).level is Level.WARN
    assert retention(old, 7).level is Level.OK
    assert retention({**WELL, "oldest_change": None}, 0).level is Level.OK


# The command


def test_the_command_tells_each_finding_and_ends_with_1_when_something_must_be_mended(stack: StackFacts) -> None:
    def run(**changed: str) -> "subprocess.CompletedProcess[str]":
        environment = {**service_environment(stack), **changed}
        return subprocess.run(
            [sys.executable, "-m", "service.cli", "doctor"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    well = run()
    assert (well.returncode, well.stderr) == (0, "")
    assert well.stdout.splitlines()[-1].startswith("ok   Realtime: delivered")
    ill = run(SUPABASE_SECRET_KEY="sb_secret_other")
    assert ill.returncode == 1
    assert "FAIL API keys: the secret key is not accepted\n     → Copy SUPABASE_SECRET_KEY" in ill.stdout
    assert ill.stderr == "What says FAIL must be mended before the service can work.\n"
