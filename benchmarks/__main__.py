"""Everything, one table: what ``make bench`` runs."""

from benchmarks import advance, change_log, enrichment, fanout, idle, projects, realtime, upstream
from benchmarks.run import main

main(
    __doc__ or "", fanout.rows, idle.rows, projects.rows, upstream.rows, enrichment.rows, advance.rows, realtime.rows,
    change_log.rows,
)  # fmt: skip
