'use client'

// A project: what is under way, what there is to decide, and where to put more.

import type { Job } from '@rowcast/client'
import { JobList, Pill, type ProjectFeedState, ProposalList, SourceList, useProjectFeed } from '@rowcast/client/react'
import Link from 'next/link'
import { memo, type ReactNode, useMemo, useState } from 'react'
import { type Acting, json, useAct } from '../act'
import { useCalm } from '../calm'
import { boms, BOMS_LISTED, project, useRead } from '../rows'
import { useSession } from '../session'
import { Choice, Fewer, Section } from './lists'
import { Page } from './Page'
import { Empty, Failure, Loading, NoAccess, Refusal } from './states'
import { Upload } from './Upload'

/** In the order in which they are of interest. */
const UNDER_WAY: readonly Job['status'][] = ['running', 'stalled', 'paused', 'queued']
const REFUSED = new Set(['not_found', 'forbidden', 'access_revoked'])

/** Whether what a feed ended with means that the reader may not see it (any more). */
export const isRefused = (feed: { readonly status: string; readonly reason?: string | null; readonly error: { readonly code: string } | null }): boolean =>
  feed.status === 'ended' && (REFUSED.has(feed.error?.code ?? '') || REFUSED.has(feed.reason ?? ''))

export function Project({ id }: { readonly id: string }): ReactNode {
  return <View id={id} feed={useCalm(useProjectFeed({ projectId: id }))} />
}

interface ViewProps {
  readonly id: string
  readonly feed: ProjectFeedState
}

const View = memo(function View({ id, feed }: ViewProps): ReactNode {
  const { supabase, session } = useSession()
  const { row: known, error, again } = useRead(id, () => project(supabase, id))
  const acting = useAct()
  const { act } = acting
  const { jobs, sources, proposals } = feed
  const active = useMemo(() => UNDER_WAY.flatMap((status) => jobs.filter((job) => job.status === status)), [jobs])
  const ended = useMemo(() => jobs.filter((job) => !UNDER_WAY.includes(job.status)), [jobs])
  const failed = ended.filter((job) => job.status === 'failed').length
  const waiting = proposals.filter((each) => each.status === 'proposed').length

  if (known === null || isRefused(feed)) return <Page title="No access"><NoAccess what="project" /></Page>
  const mayWrite = known?.project_members.some((each) => each.user_id === session.user.id && each.role !== 'viewer') ?? false
  const command = (name: 'cancel' | 'retry') => (job: Job) => act((request) => request(`/api/jobs/${job.jobId}/${name}`, { method: 'POST' }))
  const commands = mayWrite ? { onCancel: command('cancel'), onRetry: command('retry') } : {}
  const title = (job: Job): ReactNode => <Link href={job.bomId ? `/bom?id=${job.bomId}` : `/job?id=${job.jobId}&project=${id}`}>{job.title}</Link>

  return (
    <Page title={known?.name ?? 'Project'} connection={feed}>
      {error && !known ? <Failure title="The project can’t be read" action="Try again" onAction={again}>{error}</Failure> : null}
      <Refusal acting={acting} />
      {!feed.isReady ? <Loading what="The project" /> : (
        <>
          <dl className="strip" aria-label="At a glance">
            <Figure name="Under way" value={active.length} kind={active.length > 0 ? 'accent' : undefined} />
            <Figure name="Failed" value={failed} kind={failed > 0 ? 'bad' : undefined} />
            <Figure name="To decide" value={waiting} kind={waiting > 0 ? 'warn' : undefined} />
            <Figure name="Sources" value={sources.length} />
          </dl>
          <div className="columns">
            <div>
              <Section title="Under way" count={active.length}>
                {active.length > 0 ? (
                  <Fewer rows={active} first={20}>{(rows) => <JobList jobs={rows} label="Under way" renderTitle={title} {...commands} />}</Fewer>
                ) : (
                  <Empty title="Nothing is running">Upload a bill of materials, or ingest a folder: <code>rowcast ingest FOLDER --project {id}</code>. It appears here by itself.</Empty>
                )}
              </Section>
              {ended.length > 0 ? (
                <Section title="Ended" count={ended.length}>
                  <Fewer rows={ended} first={5}>{(rows) => <JobList jobs={rows} label="Ended jobs" renderTitle={title} {...commands} />}</Fewer>
                </Section>
              ) : null}
              <Proposals feed={feed} mayWrite={mayWrite} act={act} />
            </div>
            <div>
              <Boms projectId={id} jobs={jobs} mayWrite={mayWrite} />
              <Section title="Sources" count={sources.length}>
                {sources.length > 0 ? (
                  <Fewer rows={sources} first={12}>{(rows) => <SourceList sources={rows} />}</Fewer>
                ) : <Empty title="No sources yet">Files that are ingested show here, each with its status.</Empty>}
              </Section>
            </div>
          </div>
        </>
      )}
    </Page>
  )
})

function Figure({ name, value, kind }: { readonly name: string; readonly value: number; readonly kind?: string | undefined }): ReactNode {
  return <div data-kind={kind}><dt>{name}</dt><dd>{value.toLocaleString('en')}</dd></div>
}

const WHICH = [['proposed', 'To decide'], ['accepted', 'Accepted'], ['rejected', 'Rejected']] as const

interface ProposalsProps {
  readonly feed: ProjectFeedState
  readonly mayWrite: boolean
  readonly act: Acting['act']
}

function Proposals({ feed, mayWrite, act }: ProposalsProps): ReactNode {
  const [which, setWhich] = useState<(typeof WHICH)[number][0]>('proposed')
  const rows = useMemo(() => feed.proposals.filter((each) => each.status === which), [feed.proposals, which])
  const decide = mayWrite
    ? { onDecide: (one: { readonly proposalId: string }, status: string) => act((request) => request(`/api/proposals/${one.proposalId}`, json('PATCH', { status }))) }
    : {}
  return (
    <Section title="Proposals" count={rows.length} aside={<Choice label="Which proposals" value={which} options={WHICH} onChange={setWhich} />}>
      {rows.length > 0 ? (
        <Fewer key={which} rows={rows} first={10}>{(some) => <ProposalList proposals={some} {...decide} />}</Fewer>
      ) : which === 'proposed' ? <Empty title="Nothing to decide">What workers find in sources is proposed here, for you to accept or reject.</Empty> : (
        <Empty title={`None ${which} yet`}>Decisions are kept here.</Empty>
      )}
    </Section>
  )
}

interface BomsProps {
  readonly projectId: string
  readonly jobs: readonly Job[]
  readonly mayWrite: boolean
}

function Boms({ projectId, jobs, mayWrite }: BomsProps): ReactNode {
  const { supabase } = useSession()
  const runs = useMemo(() => new Map(jobs.filter((job) => job.bomId !== null).map((job) => [job.bomId, job] as const).reverse()), [jobs])
  const { row: found, error, again } = useRead(`${projectId} ${runs.size}`, () => boms(supabase, projectId)) // a BOM that is new here comes with a job
  return (
    <Section title="Bills of materials" {...(found ? { count: found.length } : {})}>
      {mayWrite ? <Upload projectId={projectId} onTaken={again} /> : null}
      {error ? <p role="alert" className="wrong">{error} <button type="button" className="button small" onClick={again}>Try again</button></p> : null}
      {found || error ? null : <Loading what="Bills of materials" />}
      {found?.length === 0 ? <Empty title="None yet">The parts of a bill of materials are looked up while you watch.</Empty> : null}
      {found && found.length > 0 ? (
        <Fewer rows={found} first={8}>
          {(rows) => (
            <ul className="rows">
              {rows.map((each) => (
                <li key={each.id}>
                  <Link href={`/bom?id=${each.id}`}>{each.filename}</Link>
                  <span>
                    <span className="muted">{each.total_items.toLocaleString('en')} {each.total_items === 1 ? 'line' : 'lines'}</span> <Pill status={runs.get(each.id)?.status ?? each.status} />
                  </span>
                </li>
              ))}
            </ul>
          )}
        </Fewer>
      ) : null}
      {found?.length === BOMS_LISTED ? <p className="muted">These are the {BOMS_LISTED} newest.</p> : null}
    </Section>
  )
}
