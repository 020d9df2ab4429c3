'use client'

// A bill of materials: how its enrichment goes, and its lines.

import { enrichmentFeed } from '@rowcast/client'
import { EnrichmentMonitorPanel, useEnrichmentStream, useFeed } from '@rowcast/client/react'
import { type ReactNode, useRef } from 'react'
import { useAct } from '../act'
import { useLines } from '../lines'
import { bom, project, useRead } from '../rows'
import { useSession } from '../session'
import { Lines } from './Lines'
import { Section } from './lists'
import { Page } from './Page'
import { isRefused } from './Project'
import { Failure, Loading, NoAccess, Refusal } from './states'

const SAY = {
  start: 'Enrich', again: 'Enrich again', pause: 'Pause', resume: 'Resume', stop: 'Stop',
} as const
type Command = keyof typeof SAY
const OFFERED: Record<string, readonly Command[]> = {
  idle: ['start'], enriching: ['pause', 'stop'], paused: ['resume', 'stop'], completed: ['again'], failed: ['again'], stopped: ['again'],
}

export function Bom({ id }: { readonly id: string }): ReactNode {
  const { supabase, session } = useSession()
  const { row, error, again } = useRead(id, () => bom(supabase, id))
  const { row: of } = useRead(row?.project_id ?? null, () => project(supabase, row?.project_id ?? ''))
  const lines = useLines(supabase, id)
  const stream = useEnrichmentStream({
    bomId: id,
    projectId: row?.project_id,
    enabled: row !== null,
    onStarted: lines.reload, // a new run tries again what was not found
    onComplete: lines.reload, // some may have been told while the page was polling
    onComponentCompleted: lines.tell,
    onComponentFailed: lines.tell,
  })
  const acting = useAct()
  const isFirst = useRef(true)
  useFeed(enrichmentFeed({ bomId: id }), {
    enabled: row !== null,
    onEvents(events) {
      const snapshots = events.filter((told) => told.event === 'snapshot')
      for (const { data } of snapshots) data.components.forEach(lines.tell) // newer than the rows that are being read
      if (!isFirst.current && (snapshots.length || events.some(({ event }) => event === 'reset'))) lines.reload() // what was missed is in the rows alone
      if (snapshots.length) isFirst.current = false
    },
  })

  if (row === null || isRefused(stream)) return <Page title="No access"><NoAccess what="bill of materials" /></Page>
  const above = row ? [[of?.name ?? 'Project', `/project?id=${row.project_id}`] as const] : []
  const mayWrite = of?.project_members.some((each) => each.user_id === session.user.id && each.role !== 'viewer') ?? false
  const run = (command: Command): Promise<void> =>
    acting.act((request) => request(`/api/boms/${id}/enrichment/${command === 'again' ? 'start' : command}`, { method: 'POST' }))
  const { state } = stream
  return (
    <Page title={row?.filename ?? 'Bill of materials'} above={above} connection={stream}>
      {error && !row ? <Failure title="It can’t be read" action="Try again" onAction={again}>{error}</Failure> : null}
      <Refusal acting={acting} />
      {!row ? (error ? null : <Loading what="The bill of materials" />) : (
        <>
          {mayWrite && stream.status !== 'connecting' ? (
            <div className="commands">
              {(OFFERED[state.status] ?? []).map((command) => (
                <button key={command} type="button" className={command === 'start' ? 'button primary' : 'button'} onClick={() => void run(command)}>
                  {SAY[command]}
                </button>
              ))}
            </div>
          ) : null}
          {state.current_stage === 'queued' && state.status === 'enriching' ? (
            <p className="notice">Waiting for a worker. If none is running: <code>rowcast enrich --catalogue FILE</code>.</p>
          ) : null}
          <EnrichmentMonitorPanel bomId={id} filename="Enrichment" />
          <Section title="Lines" count={lines.rows.length}>
            {lines.error ? <p role="alert" className="wrong">{lines.error} <button type="button" className="button small" onClick={lines.reload}>Try again</button></p> : null}
            {lines.isReady ? <Lines rows={lines.rows} /> : lines.error ? null : <Loading what="The lines" />}
          </Section>
        </>
      )}
    </Page>
  )
}
