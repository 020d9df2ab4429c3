#!/bin/sh
# `make demo`: a running stack; a worker that reads the project's own docs, and one that enriches a bill of materials,
# while `rowcast watch` shows it.
set -eu
cd "$(dirname "$0")/.."
bin=.venv/bin

sh devstack/stop.sh >/dev/null
echo "Building the project page ..."
if ! told=$(make --silent web 2>&1); then
    echo "$told" | tail -n 5
    echo "The project page can't be built here, so the demo goes on without it."
fi
echo "Starting PostgreSQL, REST, Auth, Realtime, Studio and the service ..."
$bin/rowcast dev --detach
set -a
. .rowcast/env
set +a

# The work starts once somebody watches, so that nothing happens unseen.
somebody_watches() {
    $bin/python -c '
import os, sys, urllib.request
metrics = urllib.request.urlopen(os.environ["ROWCAST_URL"] + "/metrics").read().decode()
line = f"rowcast_streams_open{{feed=\"{sys.argv[1]}\"}} "
sys.exit(line not in metrics or line + "0.0" in metrics)' "$1"
}
# What a page does: a request of the demo user's. `ask PATH [FILE]` prints one field of the answer.
ask() {
    $bin/python -c '
import os, sys, httpx
path, token, field, *file = sys.argv[1:]
files = {"file": open(file[0], "rb")} if file else None
answer = httpx.post(os.environ["ROWCAST_URL"] + path, headers={"Authorization": f"Bearer {token}"}, files=files, timeout=30)
print(answer.raise_for_status().json()[field])' "$1" "$($bin/rowcast token --email "$ROWCAST_DEMO_EMAIL")" "$2" ${3:+"$3"}
}
echo
echo "\$ rowcast ingest README.md CHANGELOG.md CONTRIBUTING.md docs --project $ROWCAST_DEMO_PROJECT"
echo "\$ rowcast watch $ROWCAST_DEMO_PROJECT"
echo
{
    until somebody_watches project; do sleep 0.2; done
    $bin/rowcast ingest README.md CHANGELOG.md CONTRIBUTING.md docs --project "$ROWCAST_DEMO_PROJECT" >.rowcast/ingest.log 2>&1
} &
worker=$!
$bin/rowcast watch "$ROWCAST_DEMO_PROJECT" --until-done
status=0
wait $worker || status=$?
echo
cat .rowcast/ingest.log
[ $status = 0 ] || exit $status

echo
echo "\$ rowcast enrich --catalogue examples/boms/parts.csv"
$bin/rowcast enrich --catalogue examples/boms/parts.csv >.rowcast/enrich.log 2>&1 &
worker=$!
echo "POST /api/projects/$ROWCAST_DEMO_PROJECT/boms    hackrf-one-bom.csv"
bom=$(ask "/api/projects/$ROWCAST_DEMO_PROJECT/boms" bom_id examples/boms/hackrf-one-bom.csv)
echo "POST /api/boms/$bom/enrichment/start"
echo "\$ rowcast watch --bom $bom"
echo
{
    until somebody_watches enrichment; do sleep 0.2; done
    ask "/api/boms/$bom/enrichment/start" status >/dev/null
} &
$bin/rowcast watch --bom "$bom" --until-done
kill $worker
wait $worker || true

# Whoever uploads a bill of materials on the page, or tries a job again, is not left waiting.
nohup $bin/rowcast worker --kinds ingestion,bom_enrichment --catalogue examples/boms/parts.csv --root . >.rowcast/worker.log 2>&1 &
echo $! >.rowcast/worker.pid
if [ -n "${ROWCAST_WEB_DIR:-}" ]; then
    cat <<TXT

The project page, live. Open it, and upload examples/boms/hackrf-one-bom.csv there:

    $ROWCAST_URL        $ROWCAST_DEMO_EMAIL    $ROWCAST_DEMO_PASSWORD
TXT
fi
cat <<TXT

It goes on running. Look at the rows in Studio, and at the stream as it is (its token is good for an hour):

    $STUDIO_URL
    $ROWCAST_URL/debug#project=$ROWCAST_DEMO_PROJECT&token=$($bin/rowcast token --email "$ROWCAST_DEMO_EMAIL")

Watch the project as a page does, and ingest something of yours in another terminal:

    set -a; . .rowcast/env; set +a
    curl -N "$ROWCAST_URL/api/projects/$ROWCAST_DEMO_PROJECT/status?token=\$($bin/rowcast token --email $ROWCAST_DEMO_EMAIL)"
    $bin/rowcast ingest PATH --project $ROWCAST_DEMO_PROJECT
    $bin/rowcast enrich FILE --project $ROWCAST_DEMO_PROJECT --catalogue examples/boms/parts.csv

\`make stop\` ends it.
TXT
