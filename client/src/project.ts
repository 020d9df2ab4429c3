// The project feed: sources, jobs and proposals of one project.

import { Edited } from './edit.js'
import type { Feed } from './feed.js'
import type {
  Job, ProjectEventsAnswer, ProjectMessage, ProjectSnapshotAnswer, ProjectStreamEvent, Progress, Proposal, Source,
} from './events.gen.js'

export interface ProjectData {
  /** Whether a snapshot has come: before, the maps are empty because nothing is known. */
  readonly ready: boolean
  readonly sources: ReadonlyMap<string, Source>
  readonly jobs: ReadonlyMap<string, Job>
  readonly proposals: ReadonlyMap<string, Proposal>
  /** Of jobs that are about to come: an insert is told as its progress first. */
  readonly early: ReadonlyMap<string, Progress>
  /** A snapshot whose last part has not come. */
  readonly arriving: Rows | null
}

interface Rows {
  readonly sources: readonly Source[]
  readonly jobs: readonly Job[]
  readonly proposals: readonly Proposal[]
}

const none = <V>(): ReadonlyMap<string, V> => new Map()
const EMPTY: ProjectData = { ready: false, sources: none(), jobs: none(), proposals: none(), early: none(), arriving: null }

export interface ProjectFeedOptions {
  readonly projectId: string
  /** Only events of these types. */
  readonly types?: readonly string[] | undefined
}

export function projectFeed({ projectId, types }: ProjectFeedOptions): Feed<ProjectData, ProjectStreamEvent> {
  const base = `/api/projects/${encodeURIComponent(projectId)}`
  const narrowed = types?.length ? `&types=${types.map(encodeURIComponent).join(',')}` : ''
  return {
    name: `project:${projectId}${narrowed}`,
    initial: EMPTY,
    greets: true,
    path: `${base}/status?snapshot=1${narrowed}`,
    reduce,
    pollPath: (since) => `${base}/snapshot${since === null ? '' : `?since=${since}`}`,
    polled(answer) {
      const told = answer as ProjectEventsAnswer | ProjectSnapshotAnswer
      const messages: ProjectMessage[] = 'events' in told ? told.events : [{ type: 'snapshot', part: 1, last: true, ...told }]
      const wanted = messages.filter(({ type }) => !narrowed || type === 'snapshot' || type === 'reset' || types?.includes(type))
      return { events: wanted.map((data) => ({ event: data.type, data }) as ProjectStreamEvent), cursor: String(told.revision) }
    },
  }
}

function reduce(data: ProjectData, events: readonly ProjectStreamEvent[]): ProjectData {
  const sources = new Edited(data.sources)
  const jobs = new Edited(data.jobs)
  const proposals = new Edited(data.proposals)
  const early = new Edited(data.early)
  let { ready, arriving } = data
  for (const { event, data: told } of events) {
    switch (event) {
      case 'snapshot': {
        const before = told.part > 1 && arriving ? arriving : { sources: [], jobs: [], proposals: [] }
        arriving = {
          sources: [...before.sources, ...told.sources],
          jobs: [...before.jobs, ...told.jobs],
          proposals: [...before.proposals, ...told.proposals],
        }
        if (told.last) {
          sources.replace(new Map(arriving.sources.map((each) => [each.sourceId, each])))
          jobs.replace(new Map(arriving.jobs.map((each) => [each.jobId, each])))
          proposals.replace(new Map(arriving.proposals.map((each) => [each.proposalId, each])))
          early.replace(none())
          arriving = null
          ready = true
        }
        break
      }
      case 'status_update': {
        const { type: _, ...source } = told
        sources.set(told.sourceId, source)
        break
      }
      case 'source_deleted':
        sources.delete(told.sourceId)
        break
      case 'progress_update': {
        const job = jobs.map.get(told.jobId)
        if (job) jobs.set(told.jobId, { ...job, progress: told.progress })
        else early.set(told.jobId, told.progress)
        break
      }
      case 'job_update': {
        const { type: _, ...fields } = told
        const progress = jobs.map.get(told.jobId)?.progress ?? early.map.get(told.jobId) ?? null
        early.delete(told.jobId)
        jobs.set(told.jobId, { ...fields, progress })
        break
      }
      case 'job_deleted':
        jobs.delete(told.jobId)
        early.delete(told.jobId)
        break
      case 'new_proposal': {
        const { type: _, ...fields } = told
        proposals.set(told.proposalId, { updatedAt: told.createdAt, ...fields })
        break
      }
      case 'proposal_update': {
        const { type: _, ...proposal } = told
        proposals.set(told.proposalId, proposal)
        break
      }
      case 'proposal_deleted':
        proposals.delete(told.proposalId)
        break
    }
  }
  const after: ProjectData = {
    ready, sources: sources.map, jobs: jobs.map, proposals: proposals.map, early: early.map, arriving,
  }
  return (Object.keys(after) as (keyof ProjectData)[]).every((name) => after[name] === data[name]) ? data : after
}
