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
import { Loading, NoAccess } from './states'

export function JobView({ id, projectId }: { readonly id: string; readonly projectId: string }): ReactNode {
  const { supabase, session } = useSession()
  const feed = useProjectFeed({ projectId })
  const { row: of } = useRead(projectId, () => project(supabase, projectId))
  const { act, error } = useAct()
  const job = feed.data.jobs.get(id)
  if (of === null || isRefused(feed) || (feed.isReady && !job)) return <Page title="No access"><NoAccess what="job" /></Page>
  const above = [[of?.name ?? 'Project', `/project?id=${projectId}`]] as const
  if (!job) return <Page title="Job" above={above} connection={feed}><Loading what="The job" /></Page>
  const mayWrite = of?.project_members.some((each) => each.user_id === session.user.id && each.role !== 'viewer') ?? false
  const command = (name: string) => () => act((request) => request(`/api/jobs/${id}/${name}`, { method: 'POST' }))
  return (
    <Page title={job.title} above={above} connection={feed}>
      {error ? <p role="alert" className="wrong">{error}</p> : null}
      <Section title="Status">
        <JobList jobs={[job]} label="This job" {...(mayWrite ? { onCancel: command('cancel'), onRetry: command('retry') } : {})} />
      </Section>
      {job.status === 'queued' ? null : <PipelineProgress key={`${id} ${job.attempt}`} jobId={id} />}
      <Section title="History"><History job={job} /></Section>
    </Page>
  )
}

function History({ job }: { readonly job: Job }): ReactNode {
  const happened: [string, string | null][] = [
    ['Queued', job.createdAt],
    [job.attempt > 1 ? `Begun, for the ${job.attempt}. time` : 'Begun', job.startedAt],
    [job.cancelRequested && job.finishedAt === null ? 'Asked to stop' : 'Last heard of', job.finishedAt === null ? job.updatedAt : null],
    [job.status.charAt(0).toUpperCase() + job.status.slice(1), job.finishedAt],
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
