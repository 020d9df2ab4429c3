"""The command `rowcast`, run as people run it."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from uuid import UUID, uuid4

import click
import jwt
import psycopg
import pytest

from devstack.accounts import access_token
from devstack.errors import DevstackError
from devstack.postgres import Postgres
from rowcast.errors import ConfigError
from service import cli
from service.errors import SettingsError
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project, service_environment
from tests.service.handmade import handmade_database

ROWCAST = Path(sys.executable).parent / "rowcast"
PROJECT = "00000000-0000-4000-8000-000000000002"
BOMS = Path(__file__).parents[2] / "examples" / "boms"
PARTS = str(BOMS / "parts.csv")
SECONDS = 60
"""Far more than any command here takes: the bound of one that hangs."""
COMMANDS = ("dev", "serve", "doctor", "init", "token", "ingest", "enrich", "watch")

Environment = dict[str, str]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `rowcast` in an empty directory, in an environment of nothing but what is given."""

    def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROWCAST, *map(str, arguments)], env={"PATH": os.environ["PATH"], **environment}, cwd=tmp_path,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip

    return command


def one_line(done: subprocess.CompletedProcess[str], status: int) -> str:
    """What a command that failed said: one line on stderr, and nothing else."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr.removesuffix("\n")


# Help


def test_help_names_every_command(run: Run) -> None:
    for option in ("--help", "-h"):
        done = run(option)
        assert (done.returncode, done.stderr) == (0, "")
        assert all(re.search(rf"^  {name} ", done.stdout, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps(run: Run, name: str) -> None:
    done = run(name, "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: rowcast {name} ")


def test_without_arguments_it_tells_what_there_is(run: Run) -> None:
    done = run()
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: rowcast ")


def test_the_version_is_the_packages(run: Run) -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"rowcast, version {version('rowcast')}\n")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["serve", "--help"], ["watch", "--help"], ["nonsense"]]
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "service.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = set(re.findall(r"^import time: .*\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "click" in loaded
    assert not loaded & {
        "supabase", "quart", "hypercorn", "realtime", "pydantic", "rich", "httpx", "aiohttp", "psycopg", "jwt", "bs4",
        "service.app", "rowcast", "devstack", "workers",
    }  # fmt: skip


# Errors: one line, and a status


SETTINGS = {
    "SUPABASE_URL": "http://127.0.0.1:1",
    "SUPABASE_SECRET_KEY": "sb_secret_x",
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x",
    "ROWCAST_LOG_LEVEL": "error",  # that there is no database is no error of the command's
}
ERRORS: dict[str, tuple[list[str], Environment, int, str]] = {
    "an unknown command": (["nonsense"], {}, 2, r"No such command 'nonsense'"),
    "an unknown option": (["serve", "--nonsense"], {}, 2, r"No such option.*--nonsense.*\(rowcast serve -h"),
    "serve without its environment": (
        ["serve"], {}, 1,
        r"SUPABASE_URL is not set \(.*\. SUPABASE_SECRET_KEY is not set \(.*\. SUPABASE_PUBLISHABLE_KEY is not set",
    ),
    "serve with a wrong environment": (
        ["serve"], {**SETTINGS, "SUPABASE_URL": "abcd", "ROWCAST_LOG_LEVEL": "loud"}, 1,
        r"SUPABASE_URL must be an http or https address.* ROWCAST_LOG_LEVEL is wrong",
    ),
    "serve with a configuration that is not there": (
        ["serve", "--config", "none.toml"], SETTINGS, 2, r"'none\.toml' does not exist",
    ),
    "serve on no address": (["serve", "--bind", "no.such.host.invalid:1"], SETTINGS, 1, r"Can't listen on no\.such"),
    "serve on no port": (["serve", "--bind", "127.0.0.1:99999"], SETTINGS, 1, r"Can't listen on 127\.0\.0\.1:99999 \("),
    "serve on another machine's address": (
        ["serve", "--bind", "192.0.2.1:8000"], SETTINGS, 1, r"Can't listen on 192\.0\.2\.1:8000 \(",
    ),
    "token without an address": (["token"], {}, 2, r"Missing option '--email'"),
    "token without its environment": (["token", "--email", "a@b"], {}, 1, r"DATABASE_URL is not set; in the devstack"),
    "token without a secret": (
        ["token", "--email", "a@b"], {"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x"}, 1, r"SUPABASE_JWT_SECRET is",
    ),
    "token without a database": (
        ["token", "--email", "a@b"],
        {"DATABASE_URL": "postgresql://u:hush@127.0.0.1:1/x", "SUPABASE_JWT_SECRET": "x" * 40}, 1,
        r"The devstack's .* can't be re(ad|ached): .*[Cc]onnection refused",
    ),
    "ingest without paths": (["ingest", "--project", PROJECT], {}, 2, r"Missing argument 'PATHS\.\.\.'"),
    "ingest without a project": (["ingest", "."], {}, 2, r"Missing option '--project'"),
    "ingest into no UUID": (["ingest", ".", "--project", "7"], {}, 2, r"'--project': '7' is not a valid UUID"),
    "ingest of what is not there": (["ingest", "none", "--project", PROJECT], {}, 2, r"Path 'none' does not exist"),
    "enrich without a catalogue": (["enrich"], {}, 2, r"Missing option '--catalogue'"),
    "enrich with what is not there": (["enrich", "--catalogue", "none"], {}, 2, r"'none' does not exist"),
    "enrich with what is no catalogue": (
        ["enrich", "--catalogue", __file__], {}, 1, r"The catalogue test_cli\.py: This is no table of parts: no",
    ),
    "enrich for no project": (
        ["enrich", __file__, "--catalogue", PARTS], {}, 2, r"Missing option --project: it gets FILE\.",
    ),
    "enrich of nothing": (
        ["enrich", "--project", PROJECT, "--catalogue", PARTS], {}, 2, r"Missing argument FILE: --project gets it\.",
    ),
    "enrich of what is no bill of materials": (
        ["enrich", __file__, "--project", PROJECT, "--catalogue", PARTS],
        {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SECRET_KEY": "sb_secret_x"}, 1, r"This is no table of parts",
    ),
    "enrich without its environment": (
        ["enrich", "--catalogue", PARTS], {}, 1, r"Not set: SUPABASE_URL .* and SUPABASE_SECRET_KEY",
    ),
    "watch of nothing": (["watch", "--url", "http://x"], {}, 2, r"Name a PROJECT to watch, or a bill of materials wi"),
    "watch of two": (["watch", PROJECT, "--bom", PROJECT, "--url", "http://x"], {}, 2, r"Name a PROJECT to watch, or"),
    "watch of no BOM": (["watch", "--bom", "7"], {}, 2, r"'--bom': '7' is not a valid UUID"),
    "watch of no UUID": (["watch", "mine"], {}, 2, r"PROJECT\]?': 'mine' is not a valid UUID"),
    "watch without an address": (["watch", PROJECT], {}, 2, r"Missing option '--url' \(env var: 'ROWCAST_URL'\)"),
    "watch of no address": (["watch", PROJECT, "--url", "there"], {}, 1, r"The service's address must be .*'there'"),
    "watch without a token": (
        ["watch", PROJECT, "--url", "http://127.0.0.1:1"], {}, 1,
        r"Set ROWCAST_TOKEN to an access token, or SUPABASE_URL, .*ROWCAST_DEMO_PASSWORD to sign in with\.",
    ),
    "dev with a port that is none": (["dev", "--gateway-port", "99999"], {}, 2, r"'--gateway-port': 99999 is not in"),
    "dev of a project that is not there": (["dev", "--project-dir", "none"], {}, 2, r"'none' does not exist"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "environment", "status", "said"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_one_line_and_a_status(
    run: Run, arguments: list[str], environment: Environment, status: int, said: str
) -> None:
    line = one_line(run(*arguments, **environment), status)
    assert re.match(r"Error: \S", line)
    assert re.search(said, line)
    assert "hush" not in line


def test_a_port_that_is_taken_is_named(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        line = one_line(run("serve", "--bind", bind, **SETTINGS), 1)
    assert line == f"Error: Can't listen on {bind} (Address already in use); choose another address with --bind."


def test_a_broken_configuration_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hypercorn.toml").write_text("bind = [")
    assert one_line(run("serve", **SETTINGS), 1).startswith("Error: hypercorn.toml is no TOML: ")


def test_ingest_without_its_environment_names_what_is_missing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A\n\nText about tables.\n")
    line = one_line(run("ingest", "a.md", "--project", PROJECT), 1)
    assert "SUPABASE_URL" in line
    assert "SUPABASE_SECRET_KEY" in line


def test_nothing_runs_where_nothing_was_started(run: Run) -> None:
    done = run("dev", "--data-dir", "none", "--stop")
    assert (done.returncode, done.stdout) == (0, "Nothing runs on none.\n")


# What an exception becomes


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (SettingsError("A is\n  not set."), 1, "Error: A is not set."),
        (ConfigError("Not set: A."), 1, "Error: Not set: A."),
        (DevstackError("Port 1 is taken."), 1, "Error: Port 1 is taken."),
        (FileNotFoundError(2, "No such file or directory", "x"), 1, "Error: x: No such file or directory"),
        (click.ClickException("No."), 1, "Error: No."),
        (click.Abort(), 130, "Interrupted."),
        (
            ZeroDivisionError("division\nby zero"), 70,
            "Error: ZeroDivisionError: division by zero (a bug; ROWCAST_DEBUG=1 shows where)",
        ),
    ],
)  # fmt: skip
def test_an_exception_becomes_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, status: int, line: str
) -> None:
    def broken(*, standalone_mode: bool) -> None:
        raise error

    monkeypatch.setattr(cli, "cli", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status
    assert capsys.readouterr().err == f"{line}\n"


def test_a_bug_is_shown_whole_to_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*, standalone_mode: bool) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "cli", broken)
    monkeypatch.setenv("ROWCAST_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_a_missing_extra_is_named() -> None:
    cli.need("watch", "rich")
    with pytest.raises(click.ClickException, match=r"This needs no_such_library: pip install 'rowcast\[watch\]'"):
        cli.need("watch", "rich", "no_such_library")


# Against the real thing


@pytest.fixture
def environment(stack: StackFacts, service: str, project: Project) -> Environment:
    """What a data directory's file `env` says, with a token of the project's member."""
    return {
        **service_environment(stack),
        "DATABASE_URL": stack.database_url,
        "ROWCAST_URL": service,
        "ROWCAST_TOKEN": project.token,
    }


def email_of(project: Project) -> str:
    row = project.database.execute("select email from auth.users where id = %s", [project.user_id]).fetchone()
    assert row is not None
    return str(row[0])


def test_init_writes_what_is_missing_once_and_applies_nothing(run: Run, postgres: Postgres, tmp_path: Path) -> None:
    with handmade_database(postgres) as url:
        done = run("init", DATABASE_URL=url)
        assert (done.returncode, done.stderr) == (0, "")
        [file] = (tmp_path / "supabase" / "migrations").iterdir()
        assert file.name.endswith("_rowcast.sql")
        assert f"Written: supabase/migrations/{file.name}." in done.stdout
        assert "ok   jobs: can be tracked" in done.stdout
        with psycopg.connect(url) as database:
            assert database.execute("select to_regclass('feed_changes')").fetchone() == (None,)
        again = run("init", DATABASE_URL=url)
        assert again.returncode == 1
        assert again.stderr.startswith(f"Nothing is written: supabase/migrations/{file.name} is there already")


def test_init_writes_nothing_where_something_is_in_the_way(run: Run, postgres: Postgres, tmp_path: Path) -> None:
    tables = tmp_path / "tables.toml"
    tables.write_text('[jobs]\ntable = "chores"\n')
    with handmade_database(postgres) as url:
        done = run("init", DATABASE_URL=url, ROWCAST_TABLES="tables.toml")
    assert done.returncode == 1
    assert (
        "FAIL chores: there is no such table\n     → If it is called something else, say so in ROWCAST_T" in done.stdout
    )
    assert done.stderr == "Nothing is written: what says FAIL is in the way.\n"
    assert not (tmp_path / "supabase").exists()
    tables.write_text("[jobs")
    assert "ROWCAST_TABLES names 'tables.toml', which is no TOML" in one_line(
        run("init", DATABASE_URL="postgresql://nowhere", ROWCAST_TABLES="tables.toml"), 1
    )


def test_token_prints_a_users_token_and_nothing_else(run: Run, environment: Environment, project: Project) -> None:
    done = run("token", "--email", email_of(project).upper(), **environment)
    assert (done.returncode, done.stderr) == (0, "")
    claims = jwt.decode(
        done.stdout.strip(), environment["SUPABASE_JWT_SECRET"], algorithms=["HS256"], audience="authenticated"
    )
    assert claims["sub"] == project.user_id


def test_token_for_nobody_is_refused(run: Run, environment: Environment) -> None:
    line = one_line(run("token", "--email", "nobody@example.com", **environment), 1)
    assert "no user nobody@example.com" in line


def test_ingest_into_a_project_that_does_not_exist_is_refused(
    run: Run, environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("# A\n\nText about tables.\n")
    line = one_line(run("ingest", "a.md", "--project", uuid4(), **environment), 1)
    assert "project" in line


def test_ingest_with_a_key_that_the_project_does_not_know_is_refused(
    run: Run, environment: Environment, project: Project, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("# A\n\nText about tables.\n")
    wrong = {**environment, "SUPABASE_SECRET_KEY": "sb_secret_hush"}
    line = one_line(run("ingest", "a.md", "--project", project.id, **wrong), 1)
    assert "Invalid API key" in line
    assert "hush" not in line


def test_ingest_says_that_the_database_is_away_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A\n\nText about tables.\n")
    with subprocess.Popen(
        [ROWCAST, "ingest", tmp_path / "a.md", "--project", PROJECT],
        env={"SUPABASE_URL": f"http://127.0.0.1:{unused_port()}", "SUPABASE_SECRET_KEY": "sb_secret_x"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Can't write to the database (ConnectError")
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "Stopping in order; Ctrl-C again stops at once.\n"
        assert process.stderr.read().split() == ["Interrupted."]
        assert process.wait(SECONDS) == 130


STUBBORN = """
import asyncio, time
from service.cli import ended_in_order

async def work():
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)  # as a thread that reads a file
    print("working", flush=True)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

asyncio.run(ended_in_order(work()))
"""


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")]
)
def test_the_second_signal_waits_for_nothing(number: signal.Signals, status: int, word: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(number)
        assert process.stderr.readline() == "Stopping in order; Ctrl-C again stops at once.\n"
        process.send_signal(number)
        assert process.stderr.read() == f"{word}\n"
        assert process.wait(SECONDS) == status


def test_ingest_of_nothing_readable_fails(run: Run, environment: Environment, project: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("ingest", "empty", "--project", project.id, **environment)
    assert (done.returncode, done.stdout) == (1, "0 ingested, 0 failed, 0 skipped, 0 proposals\n")


def test_a_bill_of_materials_is_enriched_and_its_outcome_told(
    run: Run, environment: Environment, project: Project
) -> None:
    file = BOMS / "hackrf-one-bom.csv"
    done = run("enrich", file, "--project", project.id, "--catalogue", PARTS, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    uploaded, outcome = done.stdout.splitlines()
    assert re.fullmatch(r"hackrf-one-bom\.csv is BOM [0-9a-f-]{36}", uploaded)
    assert outcome == "completed, 100.0 %: 56 enriched, 26 not_found, 75 failed of 157"


def test_an_enrichment_can_be_watched_to_its_end(run: Run, environment: Environment, project: Project) -> None:
    bom = project.bom("LM358", None)
    with watching(environment, "--bom", bom) as watch:
        watch.until("idle: 0 of 2, 0.0 % (0 enriched, 0 not_found, 0 failed)")
        project.start(bom).all()
        assert watch.wait() == 0
        assert watch.errors() == ""
    assert watch.lines[1:] == [
        "started: 2 lines, 1 batches to do",
        "enriched LM358 LM358",
        "failed (no part number) no part number",
        "enriching: 2 of 2, 100.0 % (1 enriched, 0 not_found, 1 failed, batch 1 of 1)",
        "completed: 2 of 2, 100.0 % (1 enriched, 0 not_found, 1 failed, batch 1 of 1)",
        "stream ended: enrichment.completed",
    ]


def test_a_worker_that_waits_for_work_is_terminated_in_order(environment: Environment) -> None:
    with subprocess.Popen(
        [ROWCAST, "enrich", "--catalogue", PARTS],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "Working with 347 parts of parts.csv; Ctrl-C ends it.\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 143
    assert errors == "Stopping in order; Ctrl-C again stops at once.\nTerminated.\n"


def test_a_worker_of_the_queue_does_its_jobs_and_is_terminated_in_order(
    environment: Environment, project: Project, tmp_path: Path
) -> None:
    project.execute("update jobs set status = 'stopped' where finished_at is null")  # what other tests have left
    (tmp_path / "guide.md").write_text("# Leases\n\n**Lease**: how long a job counts as alive.\n")
    bom = project.bom("LM358", None)
    project.call("start_enrichment", bom_id=bom)
    jobs = [
        project.job("Guide", payload='{"paths": ["guide.md"]}'),
        project.job("Nothing", payload='{"paths": ["nothing.md"]}'),
    ]
    with subprocess.Popen(
        [ROWCAST, "worker", "--kinds", "ingestion,bom_enrichment", "--concurrency", "2", "--catalogue", PARTS,
         "--root", tmp_path],
        env={"PYTHONUNBUFFERED": "1", **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        greeting = process.stdout.readline()
        assert greeting == "Working on bom_enrichment and ingestion, 2 at a time; Ctrl-C ends it.\n"
        assert {process.stdout.readline() for _ in range(3)} == {
            "done: Enriching b.csv\n",
            "done: Guide\n",
            "failed: Nothing (NothingToRead: nothing.md: There is nothing at this path.)\n",
        }
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 143
    assert told == "Stopping in order; Ctrl-C again stops at once.\nTerminated.\n"
    rows = project.database.execute("select status from jobs where id = any (%s) order by title", [jobs]).fetchall()
    assert rows == [("completed",), ("failed",)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '--kinds'"),
        (["--kinds", "ingestion,cooking"], "--kinds names 'cooking'; it takes ingestion, bom_enrichment, or both."),
        (["--kinds", ""], "--kinds names ''; it takes"),
        (["--kinds", "ingestion"], "Missing option --root: ingestion reads below one folder and nowhere else."),
        (["--kinds", "bom_enrichment"], "Missing option --catalogue: bom_enrichment looks parts up in one."),
        (["--kinds", "ingestion", "--root", "nowhere"], "Invalid value for '--root'"),
        (["--kinds", "ingestion", "--concurrency", "0"], "Invalid value for '--concurrency'"),
    ],
)
def test_a_worker_that_can_not_be_meant_is_refused(run: Run, arguments: list[str], message: str) -> None:
    assert message in one_line(run("worker", *arguments), 2)


def test_what_is_ingested_can_be_watched_until_it_is_done(
    run: Run, environment: Environment, project: Project, tmp_path: Path
) -> None:
    (tmp_path / "manual.md").write_text("# Tables\n\nA table holds rows. Rows of a table have columns.\n" * 3)
    (tmp_path / "broken.md").write_bytes(b"\x00\x01\x02" * 100)
    with watching(environment, project.id, "--until-done") as watch:
        watch.until("0 sources, 0 jobs, 0 proposals")
        done = run("ingest", "manual.md", "broken.md", "--project", project.id, **environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].startswith("1 ingested, ")
        assert watch.wait() == 0
        assert watch.errors() == ""
    assert "source manual.md completed" in watch.lines
    assert any(re.fullmatch(r"job Ingesting .* completed", line) for line in watch.lines)
    assert any(line.startswith("proposal ") for line in watch.lines)


class Watch:
    """A running `rowcast watch`, and the lines it has written."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, start: str) -> str:
        """The next line that begins like this."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(start):
                return self.lines[-1]
        raise AssertionError(f"it ended without saying {start!r}: {self.lines} {self.errors()}")

    def wait(self) -> int:
        """Its exit status, once it has ended by itself."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(SECONDS)

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()


@contextmanager
def watching(environment: Environment, *arguments: str) -> Iterator[Watch]:
    with subprocess.Popen(
        [ROWCAST, "watch", *arguments], env={"PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
    ) as process:  # fmt: skip
        try:
            yield Watch(process)
        finally:
            process.kill()


def test_watch_tells_what_happens_and_ends_with_ctrl_c(environment: Environment, project: Project) -> None:
    with watching(environment, project.id) as watch:
        watch.until("connected at revision ")
        watch.until("0 sources, 0 jobs, 0 proposals")
        source = project.source("[red]manual[/red].md")
        assert watch.until("source ") == "source [red]manual[/red].md pending"
        project.execute("update ingestion_sources set status = 'completed' where id = %s", source)
        assert watch.until("source ") == "source [red]manual[/red].md completed"
        project.proposal("Größe: \x1b[31mred", 0.5)
        assert watch.until("proposal ") == "proposal Größe:  [31mred (50%)"
        watch.process.send_signal(signal.SIGINT)
        assert watch.wait() == 0
        assert watch.errors() == ""


def test_watch_goes_on_where_the_output_can_not_say_everything(environment: Environment, project: Project) -> None:
    with watching({**environment, "PYTHONIOENCODING": "latin-1"}, project.id) as watch:
        watch.until("0 sources")
        project.proposal("snow \N{SNOWMAN} man")
        assert watch.until("proposal ") == "proposal snow ? man (50%)"


def test_watch_ends_quietly_when_nobody_reads_on(environment: Environment, project: Project) -> None:
    with watching(environment, project.id) as watch:
        watch.until("0 sources")
        assert watch.process.stdout is not None
        watch.process.stdout.close()
        project.proposal("unheard")
        assert watch.process.wait(SECONDS) != 0
        assert watch.errors() == ""


@pytest.mark.parametrize("project_id", [str(UUID(int=1)), PROJECT])
def test_watch_of_a_project_that_is_none_or_anothers_ends(run: Run, environment: Environment, project_id: str) -> None:
    line = one_line(run("watch", project_id, **environment), 1)
    assert line == "Error: The service refused (404): No such project, or it is not yours to see."


def test_watch_with_a_bad_token_ends(run: Run, environment: Environment, project: Project, stack: StackFacts) -> None:
    old = access_token(stack.database_url, stack.jwt_secret, email_of(project), time.time() - 7200)
    for token, said in (("garbage", "The access token is not valid"), (old, "The access token has expired")):
        line = one_line(run("watch", project.id, **{**environment, "ROWCAST_TOKEN": token}), 1)
        assert line.startswith(f"Error: The service refused (401): {said}")
        assert token not in line


def test_watch_of_what_is_no_service_ends(run: Run, environment: Environment, stack: StackFacts) -> None:
    line = one_line(run("watch", PROJECT, **{**environment, "ROWCAST_URL": stack.supabase_url}), 1)
    assert line.startswith("Error: The service refused (404): ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_keeps_trying_while_the_service_is_down(environment: Environment, number: signal.Signals) -> None:
    address = f"127.0.0.1:{unused_port()}"
    with watching({**environment, "ROWCAST_URL": f"http://{address}"}, PROJECT, "--until-done") as watch:
        told = f"no connection ({address}: All connection attempts failed), trying again"
        for _ in range(3):
            assert watch.until("no connection") == told
        watch.process.send_signal(number)
        assert watch.wait() == (0 if number == signal.SIGINT else -signal.SIGTERM)
        assert watch.errors() == ""


def test_watch_in_a_terminal_draws_and_ends_with_ctrl_c(environment: Environment, project: Project) -> None:
    project.job("Manuals of [bold]ships[/bold]", status="running", progress_current=3, progress_total=4)
    for output in in_a_terminal([ROWCAST, "watch", project.id], {**environment, "TERM": "xterm-256color"}):
        if "Manuals of [bold]ships[/bold]" in output and "● live" in output:
            break
    else:
        pytest.fail(f"the picture never came: {output!r}")


def in_a_terminal(command: list[object], environment: Environment) -> Iterator[str]:
    """All that a command has written to a terminal of its own, each time it has written more.

    It gets Ctrl-C when its output is not asked for any more, and must then end in good order.
    """
    master, slave = pty.openpty()
    with subprocess.Popen(
        [str(part) for part in command], env={"COLUMNS": "120", "LINES": "40", **environment},
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(slave)
        output = b""
        try:
            while chunk := read_terminal(master):
                output += chunk
                yield output.decode(errors="replace")
        finally:
            process.send_signal(signal.SIGINT)
            while chunk := read_terminal(master):
                output += chunk
            os.close(master)
            assert process.wait(SECONDS) == 0
            assert b"Traceback" not in output


def read_terminal(master: int) -> bytes:
    try:
        return os.read(master, 1 << 16)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_serve_ends_with_ctrl_c(stack: StackFacts, tmp_path: Path) -> None:
    with subprocess.Popen(
        [ROWCAST, "serve", "--bind", f"127.0.0.1:{unused_port()}"], env=service_environment(stack), cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any("Running on http://127.0.0.1:" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (0, "")
    assert "Traceback" not in errors
