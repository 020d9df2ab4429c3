import { useEffect, useMemo, useRef } from 'react'
import { guarded } from '../connection.js'
import { type EnrichmentData, enrichmentFeed, failure, hasEnded } from '../enrichment.js'
import type { Component, ComponentEvent, EnrichmentEvent, EnrichmentState, EnrichmentStreamEvent } from '../events.gen.js'
import type { Problem } from '../feed.js'
import type { Status } from '../link.js'
import { projectFeed } from '../project.js'
import { useClient } from './provider.js'
import { useFeed, useLatest } from './useFeed.js'

export interface UseEnrichmentStreamOptions {
  readonly bomId: string
  /** The project that it is in: then another run, whoever begins it, is followed too. A stream ends with its run. */
  readonly projectId?: string | undefined
  /** false pauses: what is known stays. */
  readonly enabled?: boolean | undefined
  readonly onStarted?: ((state: EnrichmentState, event: EnrichmentEvent) => void) | undefined
  /** Also of a pause, a resume and a stop. */
  readonly onProgress?: ((state: EnrichmentState, event: EnrichmentEvent) => void) | undefined
  readonly onComponentCompleted?: ((component: Component, event: ComponentEvent) => void) | undefined
  readonly onComponentFailed?: ((component: Component, event: ComponentEvent) => void) | undefined
  /** Once a run, however the page heard of it. */
  readonly onComplete?: ((state: EnrichmentState) => void) | undefined
  /** When the enrichment failed, or nothing more can be heard of it. */
  readonly onError?: ((error: Problem) => void) | undefined
  /** So many tries fail before the state is polled; 3, unless the provider says otherwise. */
  readonly pollFallbackAfter?: number | undefined
  /** In ms; 3000, unless the provider says otherwise. */
  readonly pollInterval?: number | undefined
}

export interface EnrichmentStream {
  /** `connecting` until it is known. */
  readonly state: EnrichmentState
  /** The last 50 that had their outcome, newest first. */
  readonly components: readonly Component[]
  readonly status: Status
  readonly isConnected: boolean
  readonly isPolling: boolean
  readonly error: Problem | null
  readonly latestEvent: EnrichmentStreamEvent | null
  readonly reconnect: () => void
  readonly retryCount: number
}

const UNKNOWN: EnrichmentState = {
  status: 'connecting', total_items: 0, enriched_items: 0, failed_items: 0, not_found_items: 0, pending_items: 0,
  percent_complete: 0, current_stage: null, current_batch: null, total_batches: null, started_at: null,
  completed_at: null, failed_at: null, error_message: null, last_update: null,
}

/** A bill of materials while it is enriched. */
export function useEnrichmentStream(options: UseEnrichmentStreamOptions): EnrichmentStream {
  const { bomId, projectId, enabled, pollFallbackAfter: pollAfter, pollInterval } = options
  const latest = useLatest(options)
  const ended = useRef<string | null>(null) // the run whose end the page has been told of
  const failed = useRef<Problem | null>(null) // what it has been told of else

  const tellEnd = (data: EnrichmentData): void => {
    const { state } = data
    const run = hasEnded(state) && state ? `${bomId} ${state.status} ${state.completed_at ?? state.failed_at ?? ''}` : null
    if (run === ended.current) return
    ended.current = run
    if (run === null || !state) return
    if (state.status === 'completed') latest.current.onComplete?.(state)
    else latest.current.onError?.(failure(state.error_message))
  }

  const used = useFeed(enrichmentFeed({ bomId }), {
    enabled, pollAfter, pollInterval,
    onEvents(events, snapshot) {
      for (const event of events) guarded(() => tellEvent(event, latest.current))
      tellEnd(snapshot.data)
    },
  })
  const { data, status, error, reconnect } = used
  useNextRun(bomId, enabled !== false && status === 'ended' && hasEnded(data.state) ? projectId : undefined, reconnect)

  useEffect(() => tellEnd(data), [data]) // the feed may have ended before this component came
  useEffect(() => {
    if (status !== 'ended' || !error || error === failed.current || hasEnded(data.state)) return
    failed.current = error
    latest.current.onError?.(error)
  }, [status, error])

  return useMemo(
    () => ({
      state: data.state ?? { ...UNKNOWN, status: enabled === false ? 'idle' : 'connecting' },
      components: data.components,
      status,
      isConnected: used.isConnected,
      isPolling: used.isPolling,
      error,
      latestEvent: used.latestEvent,
      reconnect,
      retryCount: used.retryCount,
    }),
    [used, enabled],
  )
}

/** Calls `begin` when the project's feed tells of a run that is under way, once for each; undefined looks at nothing. */
function useNextRun(bomId: string, projectId: string | undefined, begin: () => void): void {
  const client = useClient()
  const known = useRef(new Set<string>()) // the feed of the project may still tell of the run that has just ended
  useEffect(() => {
    if (projectId === undefined) return undefined
    const feed = projectFeed({ projectId })
    const [connection, release] = client.hold(feed, {})
    const look = (): void => {
      for (const { bomId: of, jobId, attempt, status } of connection.getSnapshot().data.jobs.values()) {
        const run = `${jobId} ${attempt} ${status}`
        if (of !== bomId || (status !== 'queued' && status !== 'running') || known.current.has(run)) continue
        known.current.add(run)
        return begin()
      }
    }
    const stops = [connection.subscribe(look), client.activate(feed.name), release]
    look()
    return () => {
      for (const stop of stops) stop()
    }
  }, [client, bomId, projectId, begin])
}

function tellEvent(told: EnrichmentStreamEvent, to: UseEnrichmentStreamOptions): void {
  switch (told.event) {
    case 'enrichment.started':
      return to.onStarted?.(told.data.state, told.data)
    case 'enrichment.progress':
      return to.onProgress?.(told.data.state, told.data)
    case 'enrichment.component.completed':
      return to.onComponentCompleted?.(told.data.component, told.data)
    case 'enrichment.component.failed':
      return to.onComponentFailed?.(told.data.component, told.data)
  }
}
