// The pipeline feed: stages, workers and counters of one job, or of all active jobs of a project.

import { Edited } from './edit.js'
import type { Feed, Problem } from './feed.js'
import type { PipelineProgress, PipelinesStreamEvent, PipelineStreamEvent } from './events.gen.js'

export interface PipelineJob {
  readonly jobId: string
  /** null for a job that ended before it told any. */
  readonly progress: PipelineProgress | null
  readonly outcome: 'running' | 'complete' | 'error'
  readonly error: string | null
}

export interface PipelineData {
  readonly jobs: ReadonlyMap<string, PipelineJob>
}

export type PipelineFeedOptions = { readonly jobId: string } | { readonly projectId: string }
export type AnyPipelineEvent = PipelineStreamEvent | PipelinesStreamEvent

const ROUTE = '/api/v1/admin/ingestion/jobs'

/** It has no ids and is not polled: each message is the whole of what a job's pipeline is. */
export function pipelineFeed(options: PipelineFeedOptions): Feed<PipelineData, AnyPipelineEvent> {
  const only = 'jobId' in options ? options.jobId : null
  const id = encodeURIComponent('jobId' in options ? options.jobId : options.projectId)
  return {
    name: only === null ? `pipelines:${id}` : `pipeline:${id}`,
    initial: { jobs: new Map() },
    greets: false,
    path: only === null ? `${ROUTE}/progress?project_id=${id}` : `${ROUTE}/${id}/progress`,
    reduce: (data, events) => reduce(data, events, only),
    endingOf(told) {
      if (only === null) return null
      if (told.event === 'complete') return { reason: 'completed', error: null }
      return told.event === 'error' ? { reason: 'failed', error: problem(told.data.message) } : null
    },
  }
}

const problem = (message: string): Problem => ({ code: 'job_failed', message })

function reduce(data: PipelineData, events: readonly AnyPipelineEvent[], only: string | null): PipelineData {
  const jobs = new Edited(data.jobs)
  for (const told of events as readonly (AnyPipelineEvent | { event: 'connected' })[]) {
    // of several jobs those that go on are told anew: one that has ended in between is not
    if (told.event === 'connected' && only === null)
      for (const [jobId, { outcome }] of [...jobs.map]) if (outcome === 'running') jobs.delete(jobId)
    if (told.event !== 'pipeline_progress' && told.event !== 'complete' && told.event !== 'error') continue
    const jobId = only ?? ('job_id' in told.data ? told.data.job_id : undefined)
    if (jobId === undefined) continue
    const progress = jobs.map.get(jobId)?.progress ?? null
    if (told.event === 'pipeline_progress') jobs.set(jobId, { jobId, progress: told.data, outcome: 'running', error: null })
    else if (told.event === 'complete') jobs.set(jobId, { jobId, progress, outcome: 'complete', error: null })
    else jobs.set(jobId, { jobId, progress, outcome: 'error', error: told.data.message })
  }
  return jobs.map === data.jobs ? data : { jobs: jobs.map }
}
