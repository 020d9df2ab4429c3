import { useMemo } from 'react'
import { guarded } from '../connection.js'
import type { Job, ProjectStreamEvent, Proposal, Source } from '../events.gen.js'
import { type ProjectData, projectFeed, type ProjectFeedOptions } from '../project.js'
import type { FeedOptions } from './client.js'
import { type UsedFeed, useFeed } from './useFeed.js'

export interface UseProjectFeedOptions extends ProjectFeedOptions, FeedOptions {
  readonly enabled?: boolean | undefined
  /** Each event as it comes, once. */
  readonly onEvent?: ((event: ProjectStreamEvent) => void) | undefined
}

export interface ProjectFeedState extends UsedFeed<ProjectData, ProjectStreamEvent> {
  /** Whether the lists are known: until then they are empty. */
  readonly isReady: boolean
  readonly sources: readonly Source[]
  /** Newest first. */
  readonly jobs: readonly Job[]
  /** Newest first. */
  readonly proposals: readonly Proposal[]
}

/** A project's sources, jobs and proposals, as they are now. */
export function useProjectFeed({ projectId, types, onEvent, ...options }: UseProjectFeedOptions): ProjectFeedState {
  const onEvents = onEvent && ((events: readonly ProjectStreamEvent[]) => events.forEach((event) => guarded(() => onEvent(event))))
  const used = useFeed(projectFeed({ projectId, types }), { ...options, onEvents })
  const { data } = used
  const sources = useMemo(() => [...data.sources.values()], [data.sources])
  const jobs = useMemo(() => newestFirst(data.jobs), [data.jobs])
  const proposals = useMemo(() => newestFirst(data.proposals), [data.proposals])
  return useMemo(() => ({ ...used, isReady: data.ready, sources, jobs, proposals }), [used, data.ready, sources, jobs, proposals])
}

function newestFirst<Row extends { readonly createdAt: string }>(rows: ReadonlyMap<string, Row>): Row[] {
  return [...rows.values()].sort((one, other) => (one.createdAt < other.createdAt ? 1 : one.createdAt > other.createdAt ? -1 : 0))
}
