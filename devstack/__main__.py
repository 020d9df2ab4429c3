"""``python -m devstack``: the devstack alone, without the service, in the foreground.

Prints its addresses and keys as NAME=value lines and an empty line once everything is up; SIGINT or SIGTERM ends it.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from devstack.errors import DEFAULT_DIRECTORY, DevstackError
from devstack.stack import Devstack, until_signalled


def environment(stack: Devstack) -> dict[str, str]:
    """What a program needs to know to work with a running devstack."""
    keys = stack.state.keys
    return {
        "SUPABASE_URL": stack.supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": keys.publishable,
        "SUPABASE_SECRET_KEY": keys.secret,
        "SUPABASE_JWT_SECRET": keys.jwt_secret,
        # Supabase Lite's access tokens name no issuer.
        "SUPABASE_JWT_ISSUER": "",
        "DATABASE_URL": stack.database_url,
        "STUDIO_URL": stack.studio_url,
    }


async def run(directory: Path, project: Path, ports: dict[str, int], *, faults: bool) -> None:
    async with Devstack(directory, project, ports, faults=faults) as stack:
        if stack.leftovers:
            sys.stderr.write(f"Cleaned up after a crash: {', '.join(stack.leftovers)}.\n")
        for name, value in environment(stack).items():
            sys.stdout.write(f"{name}={value}\n")
        sys.stdout.write("\n")
        sys.stdout.flush()
        await stack.watch()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m devstack", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=DEFAULT_DIRECTORY)
    parser.add_argument("--project-dir", type=Path, default=Path.cwd(), help="the directory that has supabase/")
    parser.add_argument("--faults", action="store_true", help="let Realtime be made to fail (see docs/devstack.md)")
    for name in ("gateway", "database", "studio"):
        parser.add_argument(f"--{name}-port", type=int)
    arguments = vars(parser.parse_args())
    ports = {name: port for name in ("gateway", "database", "studio") if (port := arguments[f"{name}_port"])}
    try:
        directory, project, faults = arguments["data_dir"], arguments["project_dir"], arguments["faults"]
        asyncio.run(until_signalled(run(directory, project, ports, faults=faults)))
    except (DevstackError, OSError) as error:
        sys.exit(f"devstack: {error}")


if __name__ == "__main__":
    main()
