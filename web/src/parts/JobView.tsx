'use client'

// One job: how far it is, what happens inside it, and what has happened to it.

import type { Job } from '@rowcast/client'
import { JobList, PipelineProgress, useProjectFeed } from '@rowcast/client/react'
import type { ReactNode } from 'react'
import { useAct } from '../act'
import { project, useRead } from '../rows'
import { useSession } from '../session'
import { Section } from './lists'
import { Page } from './Page'
import { isRefused } from './Project'
import { Loading, NoAccess, Refusal } from './states'

export function JobView({ id, projectId }: { readonly id: string; readonly projectId: string }): ReactNode {
  const { supabase, session } = useSession()
  const feed = useProjectFeed({ projectId })
  const { row: of } = useRead(projectId, () => project(supabase, projectId))
  const acting = useAct()
  const job = feed.data.jobs.get(id)
  if (of === null || isRefused(feed) || (feed.isReady && !job)) return <Page title="No access"><NoAccess what="job" /></Page>
  const above = [[of?.name ?? 'Project', `/project?id=${projectId}`]] as const
  if (!job) return <Page title="Job" above={above} connection={feed}><Loading what="The job" /></Page>
  const mayWrite = of?.project_members.some((each) => each.user_id === session.user.id && each.role !== 'viewer') ?? false
  const command = (name: string) => () => acting.act((request) => request(`/api/jobs/${id}/${name}`, { method: 'POST' }))
  return (
    <Page title={job.title} above={above} connection={feed}>
      <Refusal acting={acting} />
      <Section title="Status">
        <JobList jobs={[job]} label="This job" renderTitle={what} {...(mayWrite ? { onCancel: command('cancel'), onRetry: command('retry') } : {})} />
      </Section>
      {job.status === 'queued' ? null : <PipelineProgress jobId={id} attempt={job.attempt} />}
      <Section title="History"><History job={job} /></Section>
    </Page>
  )
}

const sentence = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1).replaceAll('_', ' ')

/** The page's own title says which job it is. */
const what = ({ kind, attempt }: Job): string => sentence(kind) + (attempt > 1 ? `, attempt ${attempt}` : '')

function History({ job }: { readonly job: Job }): ReactNode {
  const happened: [string, string | null][] = [
    ['Queued', job.createdAt],
    [job.attempt > 1 ? `Begun, attempt ${job.attempt}` : 'Begun', job.startedAt],
    [job.cancelRequested && job.finishedAt === null ? 'Asked to stop' : 'Last heard of', job.finishedAt === null ? job.updatedAt : null],
    [sentence(job.status), job.finishedAt],
  ]
  return (
    <ol className="rows">
      {happened.map(([what, when]) => when === null ? null : (
        <li key={what}>
          <span>{what}</span>
          <time className="muted" dateTime={when}>{new Date(when).toLocaleString()}</time>
        </li>
      ))}
    </ol>
  )
}
