#!/bin/sh
# `make demo`: a running stack, and a worker that reads the project's own docs while `rowcast watch` shows it.
set -eu
cd "$(dirname "$0")/.."
bin=.venv/bin

$bin/rowcast dev --stop >/dev/null
echo "Starting PostgreSQL, REST, Auth, Realtime, Studio and the service ..."
$bin/rowcast dev --detach
set -a
. .rowcast/env
set +a

# The worker starts once somebody watches, so that nothing happens unseen.
somebody_watches() {
    $bin/python -c '
import os, sys, urllib.request
metrics = urllib.request.urlopen(os.environ["ROWCAST_URL"] + "/metrics").read()
line = b"rowcast_streams_open{feed=\"project\"} "
sys.exit(line not in metrics or line + b"0.0" in metrics)'
}
echo
echo "\$ rowcast ingest README.md CHANGELOG.md CONTRIBUTING.md docs --project $ROWCAST_DEMO_PROJECT"
echo "\$ rowcast watch $ROWCAST_DEMO_PROJECT"
echo
{
    until somebody_watches; do sleep 0.2; done
    $bin/rowcast ingest README.md CHANGELOG.md CONTRIBUTING.md docs --project "$ROWCAST_DEMO_PROJECT" >.rowcast/ingest.log 2>&1
} &
worker=$!
$bin/rowcast watch "$ROWCAST_DEMO_PROJECT" --until-done
status=0
wait $worker || status=$?
echo
cat .rowcast/ingest.log
[ $status = 0 ] || exit $status

cat <<TXT

It goes on running. Look at the rows in Studio, and at the stream as it is (its token is good for an hour):

    $STUDIO_URL
    $ROWCAST_URL/debug#project=$ROWCAST_DEMO_PROJECT&token=$($bin/rowcast token --email "$ROWCAST_DEMO_EMAIL")

Watch the project as a page does, and ingest something of yours in another terminal:

    set -a; . .rowcast/env; set +a
    curl -N "$ROWCAST_URL/api/projects/$ROWCAST_DEMO_PROJECT/status?token=\$($bin/rowcast token --email $ROWCAST_DEMO_EMAIL)"
    $bin/rowcast ingest PATH --project $ROWCAST_DEMO_PROJECT

\`make stop\` ends it.
TXT
