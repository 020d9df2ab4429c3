#!/bin/sh
# Ends what `make demo` left running: the worker, then all else.
set -eu
cd "$(dirname "$0")/.."
if [ -f .rowcast/worker.pid ]; then
    kill "$(cat .rowcast/worker.pid)" 2>/dev/null || true # it may have ended by itself
    rm .rowcast/worker.pid
fi
.venv/bin/rowcast dev --stop
