"""Everything, one table: what ``make bench`` runs."""

from benchmarks import advance, change_log, enrichment, fanout, idle, opening, projects, realtime, slow, storm, upstream
from benchmarks.run import main

SERVICE = (opening.rows, fanout.rows, idle.rows, projects.rows, upstream.rows, storm.rows, slow.rows)
PARTS = (enrichment.rows, advance.rows, realtime.rows, change_log.rows)

main(__doc__ or "", *SERVICE, *PARTS)
