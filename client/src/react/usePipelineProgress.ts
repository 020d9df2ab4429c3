import { useEffect, useMemo, useRef } from 'react'
import type { PipelineProgress } from '../events.gen.js'
import type { Problem } from '../feed.js'
import type { Status } from '../link.js'
import { pipelineFeed, type PipelineFeedOptions, type PipelineJob } from '../pipeline.js'
import { useFeed, useLatest } from './useFeed.js'

/** `jobId` for one job, `projectId` for all that are active in a project. */
export type UsePipelineProgressOptions = PipelineFeedOptions & {
  /** Of the one job, where it is known: a stream ends with its attempt, and the next one's is followed too. */
  readonly attempt?: number | undefined
  readonly enabled?: boolean | undefined
  readonly onComplete?: ((jobId: string) => void) | undefined
  readonly onError?: ((message: string, jobId: string) => void) | undefined
}

export interface PipelineProgressState {
  /** The one job's; null until it is known, and for a project. */
  readonly progress: PipelineProgress | null
  readonly jobs: readonly PipelineJob[]
  readonly status: Status
  readonly isConnected: boolean
  readonly error: Problem | null
  readonly retryCount: number
  readonly reconnect: () => void
}

/** The stages, workers and counters of a job, or of a project's jobs. */
export function usePipelineProgress(options: UsePipelineProgressOptions): PipelineProgressState {
  const latest = useLatest(options)
  const only = 'jobId' in options ? options.jobId : null
  const { attempt, enabled = true } = options
  const used = useFeed(pipelineFeed(options), { enabled })
  const { data, status, isConnected, error, retryCount, reconnect } = used
  const followed = useRef(attempt)
  useEffect(() => {
    if (!enabled || status !== 'ended' || attempt === followed.current) return
    followed.current = attempt
    reconnect()
  }, [enabled, status, attempt, reconnect])
  const jobs = useMemo(() => [...data.jobs.values()], [data])
  const ended = useRef<ReadonlySet<string>>(new Set()) // what the page has been told of
  useEffect(() => {
    const now = jobs.filter(({ outcome }) => outcome !== 'running')
    const news = now.filter((job) => !ended.current.has(end(job)))
    ended.current = new Set(now.map(end))
    for (const { jobId, outcome, error: message } of news) {
      if (outcome === 'complete') latest.current.onComplete?.(jobId)
      else latest.current.onError?.(message ?? '', jobId)
    }
  }, [jobs, latest])
  const progress = only === null ? null : (data.jobs.get(only)?.progress ?? null)
  return useMemo(
    () => ({ progress, jobs, status, isConnected, error, retryCount, reconnect }),
    [progress, jobs, status, isConnected, error, retryCount, reconnect],
  )
}

const end = ({ jobId, outcome }: PipelineJob): string => `${jobId} ${outcome}`
