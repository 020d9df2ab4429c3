// What the types promise to pages; `npm run types` is the test. Nothing here runs.

import { connect, enrichmentFeed, type Feed, pipelineFeed, projectFeed, type Status } from '../src/index.js'
import {
  EnrichmentMonitorPanel, JobList, RowcastProvider, useEnrichmentStream, useFeed, usePipelineProgress, useProjectFeed,
} from '../src/react/index.js'
import { acrossTabs } from '../src/tabs.js'

type Same<One, Other> = (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false
const holds = <_ extends true>(): void => {}

const getToken = (): string => 'token'
const project = connect({ url: '', getToken, feed: projectFeed({ projectId: 'p' }), share: acrossTabs })

export function snapshots(): void {
  const { status, data, reason } = project.getSnapshot()
  holds<Same<typeof status, Status>>()
  holds<Same<typeof reason, string | null>>()
  for (const job of data.jobs.values()) job.progress?.percent?.toFixed()
  // @ts-expect-error a job may have told no progress
  for (const job of data.jobs.values()) job.progress.percent
  // @ts-expect-error what is known is not the page's to change
  data.jobs.set('j', null)
}

export function events(): void {
  project.onEvents((all) => {
    for (const told of all) {
      if (told.event === 'job_update') told.data.status satisfies 'running' | string
      // @ts-expect-error only some events are about a job
      told.data.jobId
      // @ts-expect-error there is no such event
      if (told.event === 'job_done') return
    }
  })
}

export function options(): void {
  // @ts-expect-error a service needs an address
  connect({ getToken, feed: projectFeed({ projectId: 'p' }) })
  // @ts-expect-error a token is text
  connect({ url: '', getToken: () => 7, feed: projectFeed({ projectId: 'p' }) })
  // @ts-expect-error a feed is of something
  projectFeed({})
  // @ts-expect-error a pipeline is of a job or of a project
  pipelineFeed({ bomId: 'b' })
  connect({ url: '', getToken: async () => null, feed: enrichmentFeed({ bomId: 'b' }), pollAfter: 1, pollInterval: 10 })
}

const mine: Feed<number, { event: 'tick'; data: { by: number } }> = {
  name: 'mine', initial: 0, greets: true, path: '/mine', reduce: (sum, all) => all.reduce((one, { data }) => one + data.by, sum),
}

export function Page(): unknown {
  const { state, components, isConnected, isPolling, error, latestEvent, reconnect, retryCount } = useEnrichmentStream({
    bomId: 'b', enabled: true, onStarted: ({ total_items }) => total_items, onProgress: (_, { payload }) => payload.batch?.completed,
    onComponentCompleted: ({ mpn }) => mpn?.length, onComponentFailed: ({ error_message }) => error_message,
    onComplete: ({ percent_complete }) => percent_complete, onError: ({ code, message }) => code + message,
    pollFallbackAfter: 3, pollInterval: 3000,
  })
  holds<Same<typeof isConnected | typeof isPolling, boolean>>()
  holds<Same<typeof retryCount, number>>()
  state.status satisfies string
  components[0]?.enrichment_data?.datasheet_url satisfies string | null | undefined
  error?.code satisfies string | undefined
  latestEvent?.event satisfies string | undefined
  reconnect()
  useFeed(mine).data.toFixed()
  usePipelineProgress({ jobId: 'j' }).progress?.stages['parsing']?.processed
  // @ts-expect-error a hook needs to know which
  useProjectFeed({})
  return (
    // @ts-expect-error a provider needs to know how to get a token
    [<RowcastProvider url="" />, <JobList jobs={useProjectFeed({ projectId: 'p' }).jobs} />, <EnrichmentMonitorPanel bomId="b" />]
  )
}
